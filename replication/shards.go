package replication

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/internal/invariant"
	"pagevault/replication/placement"
	"pagevault/replication/segment"
)

// makeShardsClaimed writes shards of a sealed segment, of which the caller has the claim, k of data and m of parity in all, each
// on the member that it is for, from a whole copy or else from k other shards. What other shards the segment has already stay,
// but if there is a copy they are written again too: of shards that a crash has left nobody knows how they are.
//
// Each shard is written under another name, synced, read back and checked, against its own checksums and against the others;
// of shards made from a copy all records are read. Only then they get their names. So a crash at any moment leaves what was
// there before and perhaps some new shards that are whole, but for files that tidy removes; so does an error, on a member that
// does not even let files be removed. When it returns nil the shards are durable and the index has them; copies are still there.
//
// It may run beside readers and beside Drop. Errors: ErrDropped if the segment is not there any more, a *MemberError for what
// a member that was to get a shard did, a *CorruptError if the bytes can be had from nobody, and that of ctx.
func (l *Log) makeShardsClaimed(ctx context.Context, id SegmentID, k, m int, where []placement.At, p *pace) error {
	s, ok, dropped := l.index.get(id)
	switch {
	case dropped:
		return fmt.Errorf("segment %d: %w", id, ErrDropped)
	case !ok || !s.sealed:
		return fmt.Errorf("segment %d is not a sealed one", id)
	case s.shards != nil && (int(s.k) != k || int(s.m) != m):
		return fmt.Errorf("segment %d has shards of %d+%d, not of %d+%d", id, s.k, s.m, k, m)
	}
	w := sharder{l: l, ctx: ctx, s: s, k: k, m: m, pace: p, ms: l.now()}
	err := w.run(where)
	if err != nil && !l.index.holds(id) {
		err = fmt.Errorf("segment %d: %w", id, ErrDropped)
	}
	return err
}

// sharder is the work of one makeShardsClaimed.
type sharder struct {
	l    *Log
	ctx  context.Context
	s    indexed
	ms   *membership
	k, m int
	pace *pace

	shards []newShard
	making Set       // the shards that are written
	set    *shardSet // that they are made from, or that has the memory for them
	frame  segment.Shard
	source *patientFile   // the copy that they are made from; nil: other shards
	opened []*patientFile // what was opened to be read
}

// newShard is one shard, there or to be made.
type newShard struct {
	m    *member  // whose it will be; nil: nobody's
	old  *member  // whose it was, if that is another
	temp vfs.File // while it is written
	sums []uint32 // of the blocks written
}

func (w *sharder) run(where []placement.At) error {
	w.shards = make([]newShard, w.k+w.m)
	for i, at := range w.s.shards {
		if m := w.ms.member(int(at)); m != nil && w.ms.has(m) {
			w.shards[i].m = m
		}
	}
	for _, at := range where {
		m := w.ms.member(at.Member)
		if m == nil || !w.ms.has(m) {
			return fmt.Errorf("segment %d: shard %d is for member %d, who is not there", w.s.id, at.Shard, at.Member+1)
		}
		if old := w.shards[at.Shard].m; old != m {
			w.shards[at.Shard].old = old
		}
		w.shards[at.Shard].m = m
		w.making = w.making.With(at.Shard)
	}
	defer w.cleanUp()
	var failed error
	for _, m := range w.ms.each(w.s.holders) {
		if !w.ms.has(m) {
			continue
		}
		err := w.fromCopy(m)
		if err == nil {
			return nil
		}
		if bad := (*MemberError)(nil); w.ctx.Err() != nil || errors.As(err, &bad) || !w.l.index.holds(w.s.id) {
			return err
		}
		w.l.readFailed(m, Position{Segment: w.s.id}, err)
		failed = errors.Join(failed, fmt.Errorf("from the copy of %s: %w", m.dir, err))
	}
	if w.s.shards == nil {
		if failed == nil {
			failed = errors.New("no member that is there has a copy")
		}
		return &CorruptError{At: Position{Segment: w.s.id}, Reason: failed.Error()}
	}
	return errors.Join(w.fromShards(), failed)
}

// cleanUp closes what an error has left open and removes it; what cannot be removed is overwritten, or removed by tidy.
func (w *sharder) cleanUp() {
	for i := range w.shards {
		if n := &w.shards[i]; n.temp != nil {
			_ = n.temp.Close()
			_ = n.m.fs.Remove(n.m.path(segment.ShardTempName(w.s.id, i)))
			n.temp = nil
		}
	}
	for _, f := range w.opened {
		_ = f.Close() // it was only read
	}
	w.opened = nil
}

// fromCopy makes the shards from the whole copy of a member. An error that is no *MemberError is the copy's.
func (w *sharder) fromCopy(m *member) error {
	for i := range w.shards {
		if w.shards[i].m != nil {
			w.making = w.making.With(i)
		}
	}
	f, err := m.openSegment(w.s.id, true)
	if err != nil {
		return err
	}
	w.source = newPatientFile(f, w.l.o.Clock)
	w.opened = append(w.opened, w.source)
	defer w.cleanUp()
	if w.set, err = w.l.newShardSet(&w.s, w.k, w.m); err != nil {
		return err
	}
	r := segment.NewReader(w.source, w.s.length, w.l.store, w.s.id)
	h, err := r.Header()
	if err != nil {
		return err
	}
	t, err := r.Trailer()
	if err != nil {
		return err
	}
	if err := w.takeFrame(segment.Shard{K: w.k, M: w.m, Data: w.s.data, Created: h.Created, Trailer: t}); err != nil {
		return err
	}
	if err := w.write(w.encode); err != nil {
		return err
	}
	set, err := w.readBack()
	if err != nil {
		return err
	}
	if err := w.checkRecords(set, h); err != nil {
		return err
	}
	return w.publish()
}

// fromShards makes the shards from others.
func (w *sharder) fromShards() error {
	var err error
	if w.set, err = w.l.shardsOf(&w.s); err != nil {
		return err
	}
	var first *segment.Shard
	var flaws []error
	for i := range w.set.shards {
		err := w.set.look(i)
		if err != nil {
			flaws = append(flaws, fmt.Errorf("shard %d: %w", i, err))
		} else if first == nil {
			first = w.set.shards[i].frame
		}
	}
	if first == nil {
		return &CorruptError{At: Position{Segment: w.s.id}, Reason: errors.Join(flaws...).Error()}
	}
	if err := w.takeFrame(*first); err != nil {
		return err
	}
	if err := w.write(func(off int64, n int) error {
		if err := w.pace.spend(w.ctx, int64(w.k*n)); err != nil {
			return err
		}
		return w.set.column(off, n, w.making)
	}); err != nil {
		return err
	}
	if _, err := w.readBack(); err != nil {
		return err
	}
	return w.publish()
}

// takeFrame sets the frame of the shards, which must be of the segment as the index knows it.
func (w *sharder) takeFrame(f segment.Shard) error {
	t := &f.Trailer
	if t.First != w.s.first || int(t.Count) != w.s.count || int64(t.End) != w.s.end || int64(t.Length) != w.s.length || f.Data != w.s.data {
		return fmt.Errorf("%w: the footer is not that of the segment", segment.ErrDamaged)
	}
	w.frame = f
	return nil
}

// encode fills the buffers of all shards with the payload [off, off+n), from the copy.
func (w *sharder) encode(off int64, n int) error {
	if err := w.pace.spend(w.ctx, int64(w.k*n)); err != nil {
		return err
	}
	all := make([][]byte, len(w.set.shards))
	for i := range all {
		b := w.set.shards[i].room(n)
		all[i] = b
		if i >= w.k {
			continue
		}
		at := int64(i)*w.set.bytes + off
		there := int(min(int64(n), max(w.s.length-at, 0)))
		clear(b[there:])
		if there == 0 {
			continue
		}
		if got, err := w.source.ReadAt(b[:there], at); got < there {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("read %d bytes at %d: %w", there, at, err)
		}
	}
	return w.set.code.Encode(all)
}

func (w *sharder) fail(i int, op string, err error) error {
	return &MemberError{Dir: w.shards[i].m.dir, Op: fmt.Sprintf("%s shard %d of", op, i), Segment: w.s.id, Err: err}
}

// write writes the temporary files, each whole and synced. fill gets the payload into the buffers of the set.
func (w *sharder) write(fill func(off int64, n int) error) error {
	for i := range w.making.All() {
		n := &w.shards[i]
		var err error
		if n.temp, err = n.m.fs.Create(n.m.path(segment.ShardTempName(w.s.id, i)), writeCategory); err != nil {
			return w.fail(i, "create", err)
		}
		n.sums = n.sums[:0]
		if err := w.put(i, w.frameOf(i).Append(nil)); err != nil {
			return err
		}
	}
	for off := int64(0); off < w.set.bytes; off += columnBytes {
		n := int(min(columnBytes, w.set.bytes-off))
		if err := fill(off, n); err != nil {
			return err
		}
		for i := range w.making.All() {
			b := w.set.shards[i].buf
			for from := 0; from < n; from += segment.ShardBlockBytes {
				w.shards[i].sums = append(w.shards[i].sums, segment.Checksum(0, b[from:min(n, from+segment.ShardBlockBytes)]))
			}
			if err := w.put(i, b); err != nil {
				return err
			}
		}
	}
	for i := range w.making.All() {
		n := &w.shards[i]
		if err := w.put(i, w.frameOf(i).AppendTable(nil, n.sums)); err != nil {
			return err
		}
		n.m.syncs.Add(1)
		if err := n.temp.Sync(); err != nil {
			return w.fail(i, "sync", err)
		}
	}
	return nil
}

func (w *sharder) frameOf(i int) *segment.Shard {
	f := w.frame
	f.Index = i
	return &f
}

// put writes p behind what was written of shard i.
func (w *sharder) put(i int, p []byte) error {
	if invariant.Enabled {
		p = bytes.Clone(p) // see writeBuffers
	}
	m := w.shards[i].m
	n, err := w.shards[i].temp.Write(p)
	m.written.Add(int64(n))
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return w.fail(i, "write", err)
	}
	return nil
}

// readBack reads all shards of the set, those that were written and those that stay, and checks every block, and parity if
// all shards are there. A shard that stays and is damaged is no error if it was not needed.
func (w *sharder) readBack() (*shardSet, error) {
	set, err := w.l.newShardSet(&w.s, w.k, w.m)
	if err != nil {
		return nil, err
	}
	for i := range w.shards {
		n := &w.shards[i]
		if !w.making.Has(i) {
			if n.m != nil {
				set.shards[i] = shardCopy{src: shardFile{l: w.l, m: n.m, id: w.s.id, shard: i}, m: n.m}
			}
			continue
		}
		f, err := n.m.fs.Open(n.m.path(segment.ShardTempName(w.s.id, i)))
		if err != nil {
			return nil, w.fail(i, "open", err)
		}
		file := newPatientFile(f, w.l.o.Clock)
		w.opened = append(w.opened, file)
		set.shards[i] = shardCopy{src: file, m: n.m}
	}
	all := setOf(len(w.shards))
	for off := int64(0); off < set.bytes; off += columnBytes {
		n := int(min(columnBytes, set.bytes-off))
		if err := w.pace.spend(w.ctx, int64(n*len(w.shards))); err != nil {
			return nil, err
		}
		got := set.blocks(all, off, n)
		for i := range w.making.All() {
			if !got.Has(i) {
				return nil, w.fail(i, "read back", set.shards[i].why)
			}
		}
		if got != all {
			continue
		}
		ok, err := set.parity()
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, &CorruptError{At: Position{Segment: w.s.id, Offset: uint32(off)}, Reason: "the shards do not belong together"}
		}
	}
	return set, nil
}

// parity reports whether the buffers of all shards, which hold the same part of the payload, are words of the code.
func (x *shardSet) parity() (bool, error) {
	all := make([][]byte, len(x.shards))
	for i := range all {
		all[i] = x.shards[i].buf
	}
	return x.code.Verify(all)
}

// checkRecords reads the segment from its shards as one would read a copy, every byte of every record.
func (w *sharder) checkRecords(set *shardSet, want segment.Header) error {
	r := segment.NewReader(pacedShards{set: set, w: w}, w.s.length, w.l.store, w.s.id)
	h, err := r.Header()
	if err != nil {
		return err
	}
	t, err := r.Trailer()
	if err == nil {
		err = r.CheckTable(&t)
	}
	if err != nil {
		return err
	}
	off, data := int64(segment.HeaderBytes), int64(0)
	for n := range t.Count {
		rec, err := r.Record(off)
		if err != nil {
			return err
		}
		if rec.LSN != t.First+LSN(n) {
			return fmt.Errorf("%w: record %d where %d should be", segment.ErrDamaged, rec.LSN, t.First+LSN(n))
		}
		off, data = rec.End(), data+int64(rec.Data)
	}
	if off != int64(t.End) || h != want || t != w.frame.Trailer || data != w.frame.Data {
		return fmt.Errorf("%w: the records are not those that the footer counts", segment.ErrDamaged)
	}
	return nil
}

// pacedShards reads shards no faster than the sharder may.
type pacedShards struct {
	set *shardSet
	w   *sharder
}

func (r pacedShards) ReadAt(p []byte, off int64) (int, error) {
	if err := r.w.pace.spend(r.w.ctx, int64(len(p))); err != nil {
		return 0, err
	}
	return r.set.ReadAt(p, off)
}

// publish gives the shards their names and lets the index know.
func (w *sharder) publish() error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if err := w.place(); err != nil {
		w.takeBack()
		return err
	}
	id := w.s.id
	at := make([]int8, len(w.shards))
	for i := range at {
		if at[i] = -1; w.shards[i].m != nil {
			at[i] = int8(w.shards[i].m.number)
		} else if w.s.shards != nil {
			at[i] = w.s.shards[i] // of a member that is not there now
		}
	}
	w.l.index.setShards(id, uint8(w.k), uint8(w.m), at)
	w.l.files.forget([]SegmentID{id})
	if !w.l.index.holds(id) {
		// Drop may have looked for the files before they were there.
		for i := range w.making.All() {
			if err := w.shards[i].m.removeShards([]SegmentID{id}); err != nil {
				return err
			}
		}
		return ErrDropped
	}
	for i := range w.making.All() {
		if n := &w.shards[i]; n.old != nil {
			if err := n.old.removeShard(id, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// place gives the shards their names, durably.
func (w *sharder) place() error {
	for i := range w.making.All() {
		n := &w.shards[i]
		temp := n.temp
		n.temp = nil
		if err := temp.Close(); err != nil {
			return w.fail(i, "close", err)
		}
		if err := n.m.rename(segment.ShardTempName(w.s.id, i), segment.ShardName(w.s.id, i)); err != nil {
			return w.fail(i, "rename", err)
		}
	}
	for i := range w.making.All() {
		if err := w.shards[i].m.syncDir(); err != nil {
			return w.fail(i, "sync directory for", err)
		}
	}
	return nil
}

// takeBack removes shards of which the index will not know, so that none is left where the next attempt puts none. A member that
// does not let it is one that is brought up, and then they go; or the next Open finds them.
func (w *sharder) takeBack() {
	for i := range w.making.All() {
		m := w.shards[i].m
		if i < len(w.s.shards) && int(w.s.shards[i]) == m.number {
			continue // it is one more time what is there
		}
		_ = m.removeShard(w.s.id, i)
	}
}

// removeShard removes a shard that somebody else has now. That need not be durable: one that comes back is removed again.
func (m *member) removeShard(id SegmentID, i int) error {
	if err := m.fs.Remove(m.path(segment.ShardName(id, i))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &MemberError{Dir: m.dir, Op: fmt.Sprintf("remove shard %d of", i), Segment: id, Err: err}
	}
	return nil
}

// removeShards removes all shards that the member has of some segments, whoever they are of. That need not be durable.
func (m *member) removeShards(ids []SegmentID) error {
	list, err := m.fs.List(m.dir)
	if err != nil {
		return &MemberError{Dir: m.dir, Op: "list", Err: err}
	}
	var errs []error
	for _, name := range list {
		if id, i, ok := segment.ParseShardName(name); ok && slices.Contains(ids, id) {
			errs = append(errs, m.removeShard(id, i))
		}
	}
	return errors.Join(errs...)
}
