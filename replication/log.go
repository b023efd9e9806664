// Package replication is a log of opaque records, kept whole by several members: directories, best on disks of their own,
// that hold the same bytes. It has never heard of pages.
//
// # What it promises
//
// Append gives records numbers and order; Next returns a record when it is durable on every member, never before and never
// out of order. What Next has returned survives a crash at any moment, byte for byte, as long as one member has it. What it
// has not returned is after a crash either there, whole and in order, or not there; of the not yet returned ones never a
// later without the earlier. Damage to durable bytes is repaired from another member or reported as ErrCorrupt; it is never
// taken for the torn end of an unfinished write.
//
// Any failure to write or sync on any member ends the log's life as one that takes records: it fails for good, says which
// member did what, and keeps serving reads.
//
// # How it goes
//
//	Append ─► queue ─► commit loop ─► lays out a batch ─┬─► member 0: write, sync ─┬─► Next
//	                                                    ├─► member 1: write, sync ─┤
//	                                                    └─► member 2: write, sync ─┘
//
// One goroutine, the commit loop, takes what is queued and lays it out; one goroutine for each member writes it and syncs;
// when all of them have, the batch is visible. All methods are safe for concurrent use, but for what is said at each.
//
// # What goes again
//
// A log grows until somebody saves a checkpoint, files on every member that stand for the records up to some number; then
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
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/replication/roster"
	"pagevault/replication/segment"
)

// Log is an open log. Open starts its goroutines, one for the commit loop and one for each member; Close ends them.
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

	last LSN // of recovery

	membership atomic.Pointer[membership] // see now
	halted     chan struct{}              // see Halted

	// Owned by the commit loop.
	writers []*member      // the members that are written; a failed one would be dropped by sealing and going on without
	tail    SegmentID      // the open segment, 0 if there is none
	layout  segment.Writer // of tail
	buffers segment.Buffers
	steps   sync.WaitGroup

	running sync.WaitGroup // the members' goroutines
	stopped chan struct{}  // closed when the commit loop has ended
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
		failed   error
		suspect  error // what memberFailed was told first
		through  LSN   // of the newest record that is durable
		batches  int64
		records  int64
	}
}

// Open opens the log that the members hold, repairing what a crash or a bad copy has left, or creates an empty one where
// all directories are empty. The order of the members is part of the log. See the file recover.go for what is repaired.
func Open(members []Member, o Options) (*Log, error) {
	l, err := newLog(members, o)
	if err != nil {
		return nil, err
	}
	if err := l.open(); err != nil {
		return nil, errors.Join(err, l.release())
	}
	return l, nil
}

// newLog returns a log that is not open.
func newLog(members []Member, o Options) (*Log, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	l := &Log{o: o, stopped: make(chan struct{})}
	l.work.L, l.space.L, l.durable.L = &l.mu, &l.mu, &l.mu
	l.halted = make(chan struct{})
	ms := &membership{current: setOf(len(members))}
	for i, m := range members {
		if m.FS == nil {
			m.FS = vfs.Default
		}
		ms.members = append(ms.members, &member{fs: m.FS, dir: m.Dir, number: i, steps: make(chan step), done: &l.steps, space: reservation{limit: o.SegmentBytes}})
	}
	l.membership.Store(ms)
	l.custodian = newCustodian(l)
	return l, nil
}

// open is Open in steps: look before touching anything, lock, look again, and only then make, repair and start.
func (l *Log) open() error {
	if _, err := identify(l.now().members); err != nil {
		return err
	}
	for _, m := range l.now().members {
		if err := m.acquire(); err != nil {
			return err
		}
	}
	found, err := identify(l.now().members)
	if err != nil {
		return err
	}
	var done Recovery
	if err := l.form(found, &done); err != nil {
		return err
	}
	if err := l.recover(found, &done); err != nil {
		return err
	}
	l.last = done.Last
	l.mu.next = done.Last + 1
	l.files.init(l)
	l.writers = l.now().members
	for _, m := range l.now().members {
		l.running.Go(m.run)
	}
	go l.commitLoop()
	if !l.o.Passive {
		l.custodian.start()
	}
	if l.o.Events.Recovered != nil {
		l.o.Events.Recovered(done)
	}
	return nil
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
func (l *Log) Available() error { return nil }

// Halted returns a channel that is closed when too few members can be written, or is closed already while that is so. After
// each time that ends there is a new channel.
func (l *Log) Halted() <-chan struct{} { return l.halted }

// memberFailed tells the commit loop that a member cannot be relied on. It may be called from anywhere, with or without the
// member being written just now, and does not wait.
func (l *Log) memberFailed(m *member, _ roster.Reason, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.suspect == nil {
		l.mu.suspect = fmt.Errorf("member %s: %w", m.dir, err)
		l.work.Signal()
	}
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
		<-l.stopped
		l.custodian.wait()
		l.keeper.settle()
		for _, m := range l.now().members {
			close(m.steps)
		}
		l.running.Wait()
		l.files.close()
		l.closing = l.release()
		if failed := l.Failed(); failed != ErrReadOnly {
			l.closing = errors.Join(failed, l.closing)
		}
	})
	return l.closing
}

func (l *Log) release() error {
	var errs []error
	for _, m := range l.now().members {
		errs = append(errs, m.release())
	}
	return errors.Join(errs...)
}

// Members describes the members, in order.
func (l *Log) Members() []MemberStatus {
	out := make([]MemberStatus, len(l.now().members))
	for i, m := range l.now().members {
		out[i] = m.status()
		out[i].State = Current
	}
	return out
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
	s.MinReplicas, s.Redundancy = ms.least(), Redundancy{ms.roster.K, ms.roster.M}
	for _, m := range ms.members {
		s.Syncs += m.syncs.Load()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Records, s.Batches, s.Queued = l.mu.records, l.mu.batches, l.mu.queued
	return s
}
