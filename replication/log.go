// Package replication is a log of opaque records, kept whole by several members: directories, best on disks of their own, all
// of which hold it where there are up to three, and some of which hold each part of it where there are more. It has never heard
// of pages.
//
// # What it promises
//
// Append gives records numbers and order; Next returns a record when it is durable on every current member, of more than three on
// three of them, never before and never out of order. What Next has returned survives a crash at any moment, byte for byte, and
// the loss of fewer current members than Options.MinReplicas, of more than three members two at most, and where it is kept in
// shards as many as have parity. What it has not returned is after a crash either there, whole and in order, or not there; of the
// not yet returned ones never a later without the earlier. Damage to durable bytes is repaired from another member or reported as
// ErrCorrupt; it is never taken for the torn end of an unfinished write.
//
// A member that fails to write or to sync, or does not answer, is left out: the open segment is sealed where the last record
// ends that was acknowledged, and the next one begins on the members that are left. A member that comes back is brought up to date in
// the background before it counts again. With fewer than Options.MinReplicas members the log halts: it takes no records, keeps
// serving reads, and goes on by itself. See the files leave.go and bringup.go, and package roster for why no start can take a
// member that lacks something for one that has all.
//
// Sealed segments are kept as whole copies or as the shards of a Reed-Solomon code; see the file arrange.go. What is damaged is
// healed when it is read, and everything is read again and again; see heal.go and scrub.go.
//
// # How it goes
//
//	Append ─► queue ─► commit loop ─► lays out a batch ─┬─► member 0: write, sync ─┬─► Next
//	                                                    ├─► member 1: write, sync ─┤
//	                                                    └─► member 2: write, sync ─┘
//
// One goroutine, the commit loop, takes what is queued and lays it out; one goroutine for each member writes it and syncs;
// when all writers of the segment have, the batch is visible. The commit loop alone changes who the members are. What goes on in
// the background is the custodian's. All methods are safe for concurrent use, but for what is said at each.
//
// # What goes again
//
// A log grows until somebody saves a checkpoint, files on up to three members that stand for the records up to some number; then
// Drop takes segments away that hold only such records. What they held can be had no more: reads and Replay say ErrDropped,
// and who needs it restores the checkpoint. See the file checkpoint.go for the order in which that reaches the disks. A
// checkpoint that cannot be written leaves the one before, and the log as it is.
//
// Opening believes headers, footers and lengths. Verify reads everything.
//
// The bytes on disk are the business of package segment. Left to others: what records mean, which of them are still
// needed, and the checksum of what is read by position.
package replication

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"pagevault/internal/clock"
	"pagevault/replication/segment"
)

// Log is an open log. Open starts its goroutines, one for the commit loop, one for each member and those of the custodian; Close
// ends them, but for one that hangs in a disk.
//
// Invariants: a record is in queue, in the batch of the commit loop, or in ready, or was returned by Next, and only moves
// in this order. queued is the sum of the bytes of the records in queue and batch. Once failed is set, nothing is written.
type Log struct {
	o      Options
	store  segment.StoreID
	index  index
	files  files
	keeper keeper

	custodian *custodian
	healer    healer
	scrubber  scrubber
	arranger  arranger
	seats     seats

	given     []given   // what Open was given
	present   []*member // of those, the members that are current; what follows is about them, in the same order
	held      []found   // what they hold
	plans     []*plan   // what Open makes of it
	repairing int64     // bytes of segments of which a copy is not whole, though others are

	last LSN // of recovery

	membership atomic.Pointer[membership] // see now

	// Owned by the commit loop.
	writers []*member // the members that write the open segment
	batch   []*Record // that are being written
	tail    SegmentID // the open segment, 0 if there is none
	layout  segment.Writer
	buffers segment.Buffers
	wrote   int64          // how far the open segment may have been written by attempts that failed
	created segment.Header // of the segment that was created last
	tried   uint64         // the highest epoch that a member may have been given
	results chan result    // of steps, between two of them
	asked   []*member      // memory for ask
	stall   clock.Timer    // of steps that take long

	quit    chan struct{} // closed when the log is being closed
	stopped chan struct{} // closed when the commit loop has ended
	closed  sync.Once
	closing error // what Close returns

	work    sync.Cond // the commit loop waits for: queue not empty, rotate, or closing
	space   sync.Cond // Append waits for: room below QueueBytes, failed or closing
	durable sync.Cond // Next, Release and Rotate wait for: ready not empty, through, rotated, failed or drained
	mu      struct {
		sync.Mutex
		next     LSN
		queue    []*Record // appended and not yet taken, from head on
		head     int
		queued   int64     // bytes appended and not yet durable
		ready    []*Record // durable and not yet returned by Next
		appended bool      // Append was called, so Replay may not be
		rotate   uint64    // how many times Rotate was called
		rotated  uint64    // calls of Rotate whose segment is sealed
		closing  bool
		drained  bool // closing, and everything queued was made durable
		ended    bool // the commit loop has
		failed   error

		unavailable *UnavailableError // too few members can be written
		halting     bool              // that is because members fail, and not only because fewer are current than are asked for
		suspects    failures          // what memberFailed was told
		changes     []*change         // that somebody waits for

		through LSN // of the newest record that is durable
		batches int64
		records int64
	}
}

// StoreID returns the name of the log: random, made when the log was created, in every member's MEMBER file and in every
// segment.
func (l *Log) StoreID() [16]byte { return l.store }

// LastLSN returns the number of the last record that Open found; 0 if the log was empty.
func (l *Log) LastLSN() LSN { return l.last }

// Failed returns why the log takes no more records, or nil while it does.
func (l *Log) Failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.failed
}

// Available returns nil, or an *UnavailableError while too few members can be written. What ends the log's life as one that
// takes records is told by Failed.
func (l *Log) Available() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.unavailable == nil {
		return nil
	}
	return l.mu.unavailable
}

// Close lets no more records in, waits until those queued are durable, seals the open segment and releases the members.
// A Next that waits gets what is left and then io.EOF. Close returns the failure if the log has failed, before or during
// it. Later calls return the same.
func (l *Log) Close() error {
	l.closed.Do(func() {
		l.mu.Lock()
		l.mu.closing = true
		l.mu.Unlock()
		l.custodian.stop()
		l.work.Signal()
		l.space.Broadcast()
		close(l.quit)
		<-l.stopped
		l.custodian.wait()
		l.keeper.settle()
		l.files.close()
		l.closing = l.release()
		if failed := l.Failed(); failed != ErrReadOnly {
			l.closing = errors.Join(failed, l.closing)
		}
	})
	return l.closing
}

// release ends the goroutines of the members and closes their directories. One that hangs in its disk is left to it.
func (l *Log) release() error {
	var errs []error
	all := l.seats.open(l.now())
	for i := range l.given {
		if m := l.given[i].m; !slices.Contains(all, m) {
			all = append(all, m)
		}
	}
	for _, m := range all {
		if m.stop() {
			errs = append(errs, m.release())
		} else {
			m.leaveToDisk()
		}
	}
	return errors.Join(errs...)
}

// Stats counts what the log holds and has done since Open.
func (l *Log) Stats() Stats {
	var s Stats
	l.index.stats(&s)
	l.healStats(&s)
	l.arrangeStats(&s)
	k := l.keeper.current()
	s.CheckpointLSN, s.CheckpointBytes = k.LSN, k.Bytes()
	for _, r := range k.Dropped {
		s.DroppedSegments += int(r.To-r.From) + 1
	}
	ms := l.now()
	s.MinReplicas, s.Redundancy = max(ms.least(), l.wanted(ms)), Redundancy{ms.roster.K, ms.roster.M}
	for _, m := range ms.all() {
		s.Syncs += m.syncs.Load()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Records, s.Batches, s.Queued = l.mu.records, l.mu.batches, l.mu.queued
	return s
}
