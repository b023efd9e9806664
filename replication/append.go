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
// The checksums are computed here, before the lock, by the goroutine that brings the record.
func (l *Log) Append(r *Record) (LSN, error) {
	r.sum()
	size := r.bytes()
	if size > int64(l.o.MaxRecordBytes) {
		return 0, fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, size, l.o.MaxRecordBytes)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.mu.failed == nil && !l.mu.closing && l.mu.queued > 0 && l.mu.queued+size > l.o.QueueBytes {
		l.space.Wait()
	}
	switch {
	case l.mu.failed != nil:
		return 0, l.mu.failed
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
// durable, or the log has failed or closed. A caller that stops waiting for Next needs it before it uses the bytes for
// something else: under the checksums made by Append, members would write whatever they find there.
func (l *Log) Release(lsn LSN) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.mu.through < lsn && l.mu.failed == nil && !l.mu.drained {
		l.durable.Wait()
	}
}

// commitLoop is the one goroutine that orders writes. It owns tail, layout and buffers, and current: the members that are
// written. While it waits for the disks with one batch, the next one collects in the queue.
func (l *Log) commitLoop() {
	defer close(l.stopped)
	var batch []*Record
	for {
		var fresh bool
		var rotate uint64
		if err := l.suspected(); err != nil {
			l.fail(err)
			return
		}
		if batch, fresh, rotate = l.take(batch[:0]); rotate > 0 {
			if err := l.seal(); err != nil {
				l.fail(err)
				return
			}
			l.rotatedTo(rotate)
			continue
		}
		if len(batch) == 0 && l.suspected() != nil {
			continue
		}
		if len(batch) == 0 {
			break
		}
		if err := l.commit(batch, fresh); err != nil {
			l.fail(err)
			return
		}
		l.publish(batch)
		clear(batch)
	}
	if err := l.seal(); err != nil {
		l.fail(err)
		return
	}
	l.mu.Lock()
	l.mu.drained = true
	l.mu.Unlock()
	l.durable.Broadcast()
}

// take waits for records and appends to batch the next ones that go to the disks together: all that are queued, but no
// more than batchBytesMax and no more than fit into one segment. fresh says that this must be a new segment. If the open
// segment is to be sealed first, rotate is the number of the call of Rotate that wants it, and the batch is empty. The batch
// is also empty when the log is closing and nothing is queued.
func (l *Log) take(batch []*Record) (_ []*Record, fresh bool, rotate uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.mu.head == len(l.mu.queue) && !l.mu.closing && l.mu.rotate == l.mu.rotated && l.mu.suspect == nil {
		l.work.Wait()
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
// sealed segment when it returns. The next record opens a new segment. The error is the log's failure, or ErrClosed.
func (l *Log) Rotate() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closing && l.mu.failed == nil {
		return ErrClosed
	}
	l.mu.rotate++
	mine := l.mu.rotate
	l.work.Signal()
	for l.mu.rotated < mine && l.mu.failed == nil && !l.mu.drained {
		l.durable.Wait()
	}
	if l.mu.rotated >= mine {
		return nil
	}
	return l.mu.failed // nil: Close has sealed it
}

// suspected returns what memberFailed was told.
func (l *Log) suspected() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.suspect
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

// commit writes batch to every current member, sealing the open segment first if a fresh one is wanted, and returns when
// all of them have synced it. Only then may anyone be told: an acknowledged record is on every member's disk.
func (l *Log) commit(batch []*Record, fresh bool) error {
	if fresh {
		if err := l.seal(); err != nil {
			return err
		}
		if err := l.create(batch[0].LSN); err != nil {
			return err
		}
	}
	durable := l.layout.End()
	l.buffers.Reset()
	for _, r := range batch {
		if invariant.Enabled {
			r.checkUnchanged()
		}
		src := segment.Source{LSN: r.LSN, Meta: r.Meta, Data: r.Data, DataLen: r.dataLen, MetaCRC: r.metaCRC, DataCRC: r.dataCRC}
		r.At = Position{Segment: l.tail, Offset: l.layout.Append(&l.buffers, &src, durable)}
	}
	return l.onCurrent(step{op: opWrite, segment: l.tail, buffers: l.buffers.Slices()})
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
//
// Dropping the member instead, and going on in a new segment with the others, would happen where fail is called.
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

// create opens the next segment on every current member: create, write the header, sync the file, sync the directory. It
// returns when all have done so, so that no record lies in a file that a crash could take away whole.
func (l *Log) create(first LSN) error {
	newest, _ := l.index.end()
	h := segment.Header{Store: l.store, ID: newest + 1, First: first, Created: l.o.Clock.Now().UnixNano()}
	if err := l.onCurrent(step{op: opCreate, segment: h.ID, buffers: [][]byte{h.Append(nil)}}); err != nil {
		return err
	}
	l.layout.Reset(h)
	l.index.add(indexed{id: h.ID, first: first, end: segment.HeaderBytes, length: segment.HeaderBytes, holders: l.now().current})
	l.tail = h.ID
	return nil
}

// seal makes the open segment, if there is one, immutable on every current member: footer, sync, rename, sync of the
// directory, in that order, so that a segment under its final name is whole.
func (l *Log) seal() error {
	if l.tail == 0 {
		return nil
	}
	start := l.o.Clock.Now()
	footer := l.layout.AppendFooter(nil)
	if err := l.onCurrent(step{op: opSeal, segment: l.tail, buffers: [][]byte{footer}}); err != nil {
		return err
	}
	length := l.layout.End() + int64(len(footer))
	sealed := SealedSegment{ID: l.tail, First: l.layout.Header().First, Bytes: length}
	sealed.Last = sealed.First + LSN(l.layout.Count()) - 1
	sealed.Took = l.o.Clock.Now().Sub(start)
	l.index.seal(length)
	l.tail = 0
	if l.o.Events.Sealed != nil {
		l.o.Events.Sealed(sealed)
	}
	return nil
}

// onCurrent has every current member take a step, at the same time, waits for all of them and returns the error of the
// first that has one.
func (l *Log) onCurrent(s step) error {
	l.steps.Add(len(l.writers))
	for _, m := range l.writers {
		m.steps <- s
	}
	l.steps.Wait()
	for _, m := range l.writers {
		if m.err != nil {
			return m.err
		}
	}
	return nil
}
