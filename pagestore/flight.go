package pagestore

import (
	"cmp"
	"sync"

	"pagevault/internal/digest"
	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// flight is what was handed to the log and is not in the index yet, plus the fingerprints of what was applied lately.
// Together with the index it shows the sequencer the store as it will be when everything enqueued is applied.
//
// Fingerprints outlive their record's application for the sake of contents that are being prepared: one whose look-ups
// began before the record was applied missed it in the index and must find it here, or the chunk would be stored twice.
type flight struct {
	maxFingerprints int
	mu              struct {
		sync.Mutex
		moved   *sync.Cond // applied grew, failed or halted was set, the oldest content was released, or the store is closing
		applied replication.LSN
		failed  error
		halted  error // why the log takes no records now; nil while it does. See halt.go

		abandoned replication.LSN // the newest record that was in flight at a halt: its update was told so
		landing   func()          // to be called once abandoned is applied, with the lock; nil: nothing

		waiting []*pending // enqueued and not applied, in order
		rows    map[string]flyingRow
		heads   map[VolumeID]head // also of volumes with nothing in flight: a cache
		gens    map[generation]flyingGen

		chunks    map[digest.Digest]chunkRef
		regions   map[digest.Digest]pagemap.Entry
		nextFrame pagemap.FrameID // those from here on were not enqueued, though chunks and regions may name them
		trail     []fingerprints  // what chunks and regions hold, in order of enqueueing
		forgot    replication.LSN // the fingerprints of records up to here are gone from both

		oldest, newest *Content // outstanding contents, in the order they looked at the index
		entered        uint64   // how many contents have ever
	}
}

// flyingRow is a row of the caller's as a record in flight leaves it.
type flyingRow struct {
	value   []byte
	deleted bool
	lsn     replication.LSN
}

// generation names a generation of a volume.
type generation struct {
	volume VolumeID
	gen    Gen
}

// flyingGen is a generation as a record in flight leaves it: frozen or thawed.
type flyingGen struct {
	frozen bool
	lsn    replication.LSN
}

// head is what the sequencer needs to know of a volume.
type head struct {
	gen Gen // the current one; 0: there is no such volume
	lsn replication.LSN
}

// fingerprints names what one record brought.
type fingerprints struct {
	lsn     replication.LSN
	chunks  []digest.Digest
	regions []digest.Digest
}

const (
	// maxFingerprints bounds the fingerprints that are kept for contents being prepared, to some 50 MB. It is a GiB of new
	// chunks: only a content held that long must look at the index again.
	maxFingerprints = 1 << 18
	// maxHeads bounds the volumes whose heads are kept without being in flight.
	maxHeads = 1 << 13
)

func (f *flight) init() {
	f.maxFingerprints = maxFingerprints
	m := &f.mu
	m.moved = sync.NewCond(&m.Mutex)
	m.rows = make(map[string]flyingRow)
	m.heads = make(map[VolumeID]head)
	m.gens = make(map[generation]flyingGen)
	m.chunks = make(map[digest.Digest]chunkRef)
	m.regions = make(map[digest.Digest]pagemap.Entry)
}

// enter adds c, which is about to look at the index, to the outstanding contents.
func (f *flight) enter(c *Content) {
	m := &f.mu
	m.Lock()
	defer m.Unlock()
	m.entered++
	c.entered, c.since, c.prev, c.next = m.entered, m.applied, m.newest, nil
	if m.newest != nil {
		m.newest.next = c
	} else {
		m.oldest = c
	}
	m.newest = c
}

// leave removes c from the outstanding contents.
func (f *flight) leave(c *Content) {
	m := &f.mu
	m.Lock()
	defer m.Unlock()
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		m.oldest = c.next
		m.moved.Broadcast() // for drain
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		m.newest = c.prev
	}
	c.prev, c.next = nil, nil
	f.forgetLocked()
}

// forgetLocked drops the fingerprints that nobody can miss any more: those that are in the index and were when the
// oldest outstanding content looked. If that leaves too many it drops those that are in the index, whoever may miss
// them: a content that does is told by forgot, and looks again.
func (f *flight) forgetLocked() {
	m := &f.mu
	seen := m.applied
	if m.oldest != nil {
		seen = min(seen, m.oldest.since)
	}
	for len(m.trail) > 0 {
		t := &m.trail[0]
		if t.lsn > seen && (t.lsn > m.applied || len(m.chunks)+len(m.regions) <= f.maxFingerprints) {
			return
		}
		for i := range t.chunks {
			delete(m.chunks, t.chunks[i])
		}
		for i := range t.regions {
			delete(m.regions, t.regions[i])
		}
		m.forgot = t.lsn
		m.trail = m.trail[1:]
	}
}

// enqueuedLocked reports whether all frames of the runs were enqueued. A record that could not be enqueued takes back
// the names it has brought, so only the sequencer, which waits for that, may use names before.
func (f *flight) enqueuedLocked(runs pagemap.Entry) bool {
	for _, r := range runs {
		if r.Frame >= f.mu.nextFrame {
			return false
		}
	}
	return true
}

// launched records that p was enqueued, with what its transaction leaves behind and the frame that comes next. The
// sequencer is held.
func (f *flight) launched(p *pending, tx *Tx, next pagemap.FrameID) {
	m := &f.mu
	m.Lock()
	defer m.Unlock()
	m.nextFrame = next
	lsn := p.record.LSN
	if len(p.names.chunks)+len(p.names.regions) > 0 {
		p.names.lsn = lsn
		m.trail = append(m.trail, p.names)
		p.names = fingerprints{}
	}
	if len(m.heads)+len(tx.heads) > maxHeads {
		for v, h := range m.heads {
			if h.lsn <= m.applied {
				delete(m.heads, v)
			}
		}
	}
	for v, h := range tx.heads {
		m.heads[v] = head{h.gen, lsn}
	}
	switch {
	case m.applied >= lsn: // the log and the index were faster than this goroutine
	case m.failed != nil:
		p.finishLocked(m.failed)
	default:
		m.waiting = append(m.waiting, p)
		for k, r := range tx.rows {
			r.lsn = lsn
			m.rows[k] = r
			p.rows = append(p.rows, k)
		}
		for k, frozen := range tx.gens {
			m.gens[k] = flyingGen{frozen, lsn}
			p.gens = append(p.gens, k)
		}
		if m.halted != nil { // since Append, nearly always; see Update
			f.abandonLocked(p)
		}
	}
	f.forgetLocked()
}

// landed records that the index holds every record up to and including lsn, and wakes those who wait.
func (f *flight) landed(lsn replication.LSN, records []*replication.Record) {
	m := &f.mu
	m.Lock()
	defer m.Unlock()
	m.applied = lsn
	n := 0
	for n < len(m.waiting) && m.waiting[n].record.LSN <= lsn {
		p := m.waiting[n]
		for _, k := range p.rows {
			if m.rows[k].lsn == p.record.LSN {
				delete(m.rows, k)
			}
		}
		for _, k := range p.gens {
			if m.gens[k].lsn == p.record.LSN {
				delete(m.gens, k)
			}
		}
		n++
	}
	clear(m.waiting[:n])
	m.waiting = m.waiting[n:]
	for _, r := range records {
		r.User.(*pending).finishLocked(nil)
	}
	if m.landing != nil && m.applied >= m.abandoned {
		m.landing()
		m.landing = nil
	}
	f.forgetLocked()
	m.moved.Broadcast()
}

// finishLocked tells the goroutine that waits for p. Only the first call counts: a record may be applied after the
// store has given up on it, or the log has halted.
func (p *pending) finishLocked(err error) {
	if !p.finished {
		p.finished = true
		p.done <- err
	}
}

// crashed fails everything that waits now or later.
func (f *flight) crashed(err error) {
	m := &f.mu
	m.Lock()
	defer m.Unlock()
	if m.failed == nil {
		m.failed = err
	}
	for _, p := range m.waiting {
		p.finishLocked(err)
	}
	m.waiting = nil
	m.moved.Broadcast()
}

// busy reports whether anybody waits for a record to be applied.
func (f *flight) busy() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.mu.waiting) > 0
}

// await returns when the record lsn is applied, or with the error that says it will not be, or not soon.
func (f *flight) await(lsn replication.LSN) error {
	m := &f.mu
	m.Lock()
	defer m.Unlock()
	for m.applied < lsn && m.failed == nil && m.halted == nil {
		m.moved.Wait()
	}
	if m.applied >= lsn {
		return nil
	}
	return cmp.Or(m.failed, m.halted)
}

// newcomer returns the place of the content that was the last to begin to look, for drain.
func (f *flight) newcomer() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.entered
}

// drain returns when every content up to last, which newcomer has returned, has been released and every record that was
// enqueued until then is applied. It returns an error if that will not be, or not soon: the store has failed or is being
// closed, or the log halts.
func (s *Store) drain(last uint64) error {
	m := &s.flight.mu
	m.Lock()
	for m.oldest != nil && m.oldest.entered <= last {
		if err := cmp.Or(s.unusable(), m.halted); err != nil {
			m.Unlock()
			return err
		}
		m.moved.Wait()
	}
	m.Unlock()
	s.seq.Lock()
	enqueued := s.seq.last
	s.seq.Unlock()
	return s.flight.await(enqueued)
}

// wake lets those who wait see that the store is being closed.
func (f *flight) wake() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.moved.Broadcast()
}
