package replication

import (
	"fmt"
	"io"

	"pagevault/internal/invariant"
	"pagevault/replication/segment"
)

// batchBytesMax bounds what is written between two syncs: four records of 4 MiB. A disk that writes 400 MB/s needs 40 ms
// for that and some 3 ms for the sync, so larger batches would add waiting and hardly any speed.
const batchBytesMax = 16<<20 + 64<<10

// Append enqueues r behind every record of earlier calls and returns its number. It returns before r is durable: that is
// what Next tells. Append blocks while more than Options.QueueBytes are waiting for the disks. r, and the bytes it points
// to, belong to the log until Next returns r; see Release for a caller that cannot wait for that.
//
// While too few members can be written the error is an *UnavailableError, and nothing is enqueued. What was enqueued before
// stays so, in memory of the log's own, and is durable when members work again.
//
// The checksums are computed here, before the lock, by the goroutine that brings the record.
func (l *Log) Append(r *Record) (LSN, error) {
	r.sum()
	size := r.bytes()
	if size > int64(l.o.MaxRecordBytes) {
		return 0, fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, size, l.o.MaxRecordBytes)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.mu.failed == nil && l.mu.unavailable == nil && !l.mu.closing && l.mu.queued > 0 && l.mu.queued+size > l.o.QueueBytes {
		l.space.Wait()
	}
	switch {
	case l.mu.failed != nil:
		return 0, l.mu.failed
	case l.mu.unavailable != nil:
		return 0, l.mu.unavailable
	case l.mu.closing:
		return 0, ErrClosed
	}
	l.enqueueLocked(r)
	return r.LSN, nil
}

// sum makes sure of the checksums.
func (r *Record) sum() {
	if !r.summed {
		r.Prepare()
	}
	r.summed = false // holds for one Append
	r.metaCRC = segment.Checksum(0, r.Meta)
}

func (l *Log) enqueueLocked(r *Record) {
	l.mu.appended = true
	r.LSN = l.mu.next
	l.mu.next++
	l.mu.queue = append(l.mu.queue, r)
	l.mu.queued += r.bytes()
	l.work.Signal()
}

func (r *Record) bytes() int64 { return segment.RecordBytes(int64(len(r.Meta)), r.dataLen) }

// Next waits for records that have become durable on every member and returns all there are, in the order of Append, in
// buf's memory from its start. No record is returned twice. After the log has failed Next first returns what was durable
// before, then the failure, for ever; after Close it returns io.EOF when nothing is left.
func (l *Log) Next(buf []*Record) ([]*Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.mu.ready) == 0 && l.mu.failed == nil && !l.mu.drained {
		l.durable.Wait()
	}
	if len(l.mu.ready) > 0 {
		buf = append(buf[:0], l.mu.ready...)
		clear(l.mu.ready)
		l.mu.ready = l.mu.ready[:0]
		return buf, nil
	}
	if l.mu.failed != nil {
		return buf[:0], l.mu.failed
	}
	return buf[:0], io.EOF
}

// Release waits until the log no longer reads the bytes of record lsn, which Append has returned: until the record is
// durable, too few members can be written, or the log has failed or closed. A caller that stops waiting for Next needs it before it uses the bytes for
// something else: under the checksums made by Append, members would write whatever they find there.
func (l *Log) Release(lsn LSN) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.mu.through < lsn && l.mu.failed == nil && l.mu.unavailable == nil && !l.mu.drained {
		l.durable.Wait()
	}
}

// commitLoop is the one goroutine that orders writes and changes who the members are. It owns tail, layout and buffers, and
// writers: the members that write the open segment. While it waits for the disks with one batch, the next one collects in the
// queue.
func (l *Log) commitLoop() {
	defer close(l.stopped)
	err := l.commitAll()
	if err != nil {
		l.fail(err)
	}
	l.mu.Lock()
	l.mu.drained = err == nil
	changes := l.mu.changes
	l.mu.changes, l.mu.ended = nil, true
	l.mu.Unlock()
	l.durable.Broadcast()
	for _, c := range changes {
		c.done <- ErrClosed
	}
}

// commitAll makes durable what is appended, until the log is closed or fails.
func (l *Log) commitAll() error {
	var batch []*Record
	for {
		if err := l.attend(); err != nil {
			return err
		}
		var fresh bool
		var rotate uint64
		batch, fresh, rotate = l.take(batch[:0])
		switch {
		case rotate > 0:
			if err := l.seal(); err != nil {
				return err
			}
			l.rotatedTo(rotate)
		case len(batch) > 0:
			if err := l.commit(batch, fresh); err != nil {
				return err
			}
			l.publish(batch)
			clear(batch)
		case !l.disturbed():
			return l.seal() // the log is closing
		}
	}
}

// take waits for records and appends to batch the next ones that go to the disks together: all that are queued, but no
// more than batchBytesMax and no more than fit into one segment. fresh says that this must be a new segment. If the open
// segment is to be sealed first, rotate is the number of the call of Rotate that wants it, and the batch is empty. The batch
// is also empty when a member has failed or the membership is to change, and when the log is closing and nothing is queued.
func (l *Log) take(batch []*Record) (_ []*Record, fresh bool, rotate uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.mu.head == len(l.mu.queue) && !l.mu.closing && l.mu.rotate == l.mu.rotated && !l.disturbedLocked() {
		l.work.Wait()
	}
	if l.disturbedLocked() {
		return batch, false, 0
	}
	if l.mu.rotate > l.mu.rotated {
		return batch, false, l.mu.rotate
	}
	var bytes int64
	for l.mu.head < len(l.mu.queue) {
		r := l.mu.queue[l.mu.head]
		size := r.bytes()
		if len(batch) == 0 {
			fresh = !l.fits(1, size, false)
		} else if bytes+size > batchBytesMax || !l.fits(len(batch)+1, bytes+size, fresh) {
			break
		}
		batch, bytes = append(batch, r), bytes+size
		l.mu.queue[l.mu.head] = nil
		l.mu.head++
	}
	// Slide what is left to the front once half the memory is behind it.
	if l.mu.head*2 >= len(l.mu.queue) {
		n := copy(l.mu.queue, l.mu.queue[l.mu.head:])
		clear(l.mu.queue[n:])
		l.mu.queue, l.mu.head = l.mu.queue[:n], 0
	}
	return batch, fresh, 0
}

// Rotate seals the open segment, if there is one, so that every record which Next has returned before the call lies in a
// sealed segment when it returns. The next record opens a new segment. The error is the
// log's failure, ErrClosed, or an *UnavailableError while too few members can be written.
func (l *Log) Rotate() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closing && l.mu.failed == nil {
		return ErrClosed
	}
	l.mu.rotate++
	mine := l.mu.rotate
	l.work.Signal()
	for l.mu.rotated < mine && l.mu.failed == nil && l.mu.unavailable == nil && !l.mu.drained {
		l.durable.Wait()
	}
	switch {
	case l.mu.rotated >= mine:
		return nil
	case l.mu.failed == nil && l.mu.unavailable != nil:
		return l.mu.unavailable
	}
	return l.mu.failed // nil: Close has sealed it
}

// rotatedTo lets the calls of Rotate up to number n return.
func (l *Log) rotatedTo(n uint64) {
	l.mu.Lock()
	l.mu.rotated = n
	l.mu.Unlock()
	l.durable.Broadcast()
}

// fits reports whether n more records of the given bytes in all leave the open segment, or else a fresh one, within
// SegmentBytes, with its footer.
func (l *Log) fits(n int, bytes int64, fresh bool) bool {
	if fresh {
		return segment.FileBytes(segment.HeaderBytes+bytes, n) <= l.o.SegmentBytes
	}
	return l.tail != 0 && segment.FileBytes(l.layout.End()+bytes, l.layout.Count()+n) <= l.o.SegmentBytes
}

// commit writes batch to the writers, sealing the open segment first if a fresh one is wanted, and returns when all of them
// have synced it. Only then may anyone be told: an acknowledged record is on the disk of every current member, or of as many as
// there are copies where there are more. When a writer fails, the segment ends where the batch begins, since nobody knows what
// the writer that is left out has of it, and the batch goes to the next one.
func (l *Log) commit(batch []*Record, fresh bool) error {
	l.batch = batch
	defer func() { l.batch = nil }()
	for {
		if fresh || l.tail == 0 {
			if err := l.seal(); err != nil {
				return err
			}
			if err := l.create(batch[0].LSN); err != nil {
				return err
			}
		}
		durable := l.layout.Mark()
		l.layOut(batch)
		f := l.onWriters(step{op: opWrite, segment: l.tail, offset: durable.End(), buffers: l.buffers.Slices()})
		if len(f) == 0 {
			return nil
		}
		l.wrote = max(l.wrote, l.layout.End())
		l.layout.Rewind(durable)
		if err := l.leaveOut(f); err != nil {
			return err
		}
		fresh = true
	}
}

// layOut lays batch out behind what the open segment holds.
func (l *Log) layOut(batch []*Record) {
	durable := l.layout.End()
	l.buffers.Reset()
	for _, r := range batch {
		if invariant.Enabled {
			r.checkUnchanged()
		}
		src := segment.Source{LSN: r.LSN, Meta: r.Meta, Data: r.Data, DataLen: r.dataLen, MetaCRC: r.metaCRC, DataCRC: r.dataCRC}
		r.At = Position{Segment: l.tail, Offset: l.layout.Append(&l.buffers, &src, durable)}
	}
}

// checkUnchanged finds callers that write to memory they have lent to the log.
func (r *Record) checkUnchanged() {
	crc := uint32(0)
	for _, p := range r.Data {
		crc = segment.Checksum(crc, p)
	}
	invariant.Check(crc == r.dataCRC && segment.Checksum(0, r.Meta) == r.metaCRC, "record %d was changed while it belonged to the log", r.LSN)
}

// publish lets Next and ReadAt see batch.
func (l *Log) publish(batch []*Record) {
	l.index.grow(l.layout.Count(), l.layout.End(), l.layout.DataBytes())
	l.buffers.Reset()
	l.mu.Lock()
	for _, r := range batch {
		l.mu.queued -= r.bytes()
	}
	l.mu.ready = append(l.mu.ready, batch...)
	l.mu.through = batch[len(batch)-1].LSN
	l.mu.batches++
	l.mu.records += int64(len(batch))
	l.mu.Unlock()
	l.durable.Broadcast()
	l.space.Broadcast()
}

// fail ends the log's life as a log that takes records. What is durable stays readable and is still delivered by Next;
// what is queued is dropped, since nobody was promised anything about it.
func (l *Log) fail(err error) {
	l.mu.Lock()
	l.mu.failed = fmt.Errorf("log takes no more records: %w", err)
	clear(l.mu.queue)
	l.mu.queue, l.mu.head, l.mu.queued = nil, 0, 0
	err = l.mu.failed
	l.mu.Unlock()
	l.durable.Broadcast()
	l.space.Broadcast()
	if l.o.Events.Failed != nil {
		l.o.Events.Failed(err)
	}
}

// create opens the next segment on its writers: create, write the header, sync the file, sync the directory. It returns when
// all have done so, so that no record lies in a file that a crash could take away whole. After a failure it does so again,
// with the same header, since members may have it.
func (l *Log) create(first LSN) error {
	newest, _ := l.index.end()
	h := segment.Header{Store: l.store, ID: newest + 1, First: first, Created: l.o.Clock.Now().UnixNano()}
	if l.created.ID == h.ID && l.created.First == h.First {
		h = l.created
	}
	l.created = h
	for must := Set(0); ; {
		ms := l.now()
		l.writers = l.writers[:0]
		for _, m := range ms.each(l.placeWriters(ms, must)) {
			l.writers = append(l.writers, m)
		}
		f := l.onWriters(step{op: opCreate, segment: h.ID, buffers: [][]byte{h.Append(nil)}})
		if len(f) == 0 {
			break
		}
		for _, m := range l.writers { // who has the file gets it again: it must not be left behind
			must = must.With(m.number)
		}
		if err := l.leaveOut(f); err != nil {
			return err
		}
	}
	l.layout.Reset(h)
	l.wrote = 0
	l.index.add(indexed{id: h.ID, first: first, end: segment.HeaderBytes, length: segment.HeaderBytes, holders: l.writing()})
	l.tail = h.ID
	return nil
}

// writing returns the set of the writers.
func (l *Log) writing() (s Set) {
	for _, m := range l.writers {
		s = s.With(m.number)
	}
	return s
}

// seal makes the open segment, if there is one, immutable on every writer: footer, sync, rename, sync of the directory, in
// that order, so that a segment under its final name is whole. Where writes have failed there may be bytes behind the last
// record; the footer then lies behind those, too. A segment without a record is forgotten instead: the next one has its number.
func (l *Log) seal() error {
	if l.tail == 0 {
		return nil
	}
	if l.layout.Count() == 0 {
		l.index.forgetTail()
		l.tail = 0
		return nil
	}
	start := l.o.Clock.Now()
	footer := l.layout.AppendFooter(nil, l.wrote)
	for {
		f := l.onWriters(step{op: opSeal, segment: l.tail, offset: l.layout.End(), buffers: [][]byte{footer}})
		if len(f) == 0 {
			break
		}
		if err := l.leaveOut(f); err != nil {
			return err
		}
	}
	length := l.layout.End() + int64(len(footer))
	sealed := SealedSegment{ID: l.tail, First: l.layout.Header().First, Bytes: length}
	sealed.Last = sealed.First + LSN(l.layout.Count()) - 1
	sealed.Took = l.o.Clock.Now().Sub(start)
	l.index.seal(length, l.writing())
	l.tail = 0
	if l.o.Events.Sealed != nil {
		l.o.Events.Sealed(sealed)
	}
	return nil
}

// onWriters has every writer take a step, and returns those that have failed.
func (l *Log) onWriters(s step) failures {
	f := l.ask(l.writers, s)
	if len(f) == 0 {
		l.resume()
	}
	return f
}
