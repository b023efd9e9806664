package replication

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/replication/segment"
	"pagevault/replication/stripe"
)

// errNoShard says that nobody who is there has a shard.
var errNoShard = errors.New("no member that is there has it")

// errOtherShards says that a segment got other shards while it was read.
var errOtherShards = errors.New("the segment is kept otherwise by now")

// sameCode reports whether the segment has shards of the same code as when old was taken.
func (s *indexed) sameCode(old *indexed) bool { return s.k == old.k && s.m == old.m }

// shardPatience is how many times Options.HedgeAfter is waited for a data shard before its bytes are made from others, which
// takes K reads of whole blocks instead of one.
const shardPatience = 4

// columnBytes is how much of each shard is read or made at once: four blocks, so that 64 shards take 16 MiB.
const columnBytes = 4 * segment.ShardBlockBytes

// shardSet reads the shards of one segment as if they were the segment's file. What it needs to know of the shards it reads
// when it is first wanted. It is made for one read, or one walk over the segment, and not safe for concurrent use.
type shardSet struct {
	code   *stripe.Code
	store  segment.StoreID
	id     SegmentID
	length int64 // of the segment's file
	bytes  int64 // of the payload of a shard
	shards []shardCopy
	avoid  Set                               // shards that are read only if there are not enough others: their disks do not answer
	failed func(i int, off int64, err error) // is told, once, why shard i cannot be read; nil: nobody is
}

// shardCopy is one shard of a set.
type shardCopy struct {
	src   io.ReaderAt // the file; nil: there is none
	m     *member     // whose it is; nil: nobody's
	frame *segment.Shard
	table *segment.ShardReader // nil: not read yet
	flaw  error                // why frame or table cannot be had
	why   error                // why a block cannot be had, the last one
	told  bool                 // failed was called
	buf   []byte
}

// newShardSet returns a set of which no shard is there yet.
func (l *Log) newShardSet(s *indexed, k, m int) (*shardSet, error) {
	code, err := l.arranger.codes.Get(k, m)
	if err != nil {
		return nil, fmt.Errorf("segment %d: %w", s.id, err)
	}
	return &shardSet{code: code, store: l.store, id: s.id, length: s.length, bytes: segment.ShardBytes(k, s.length), shards: make([]shardCopy, k+m)}, nil
}

// shardsOf returns the shards of a segment as the index has it, on the members that are there.
func (l *Log) shardsOf(s *indexed) (*shardSet, error) {
	x, err := l.newShardSet(s, int(s.k), int(s.m))
	if err != nil {
		return nil, err
	}
	ms := l.now()
	for i, at := range s.shards {
		if m := ms.member(int(at)); m != nil && ms.has(m) {
			x.shards[i] = shardCopy{src: shardFile{l: l, m: m, id: s.id, shard: i}, m: m}
			if m.health.stuck() {
				x.avoid = x.avoid.With(i)
			}
		}
	}
	x.failed = func(i int, off int64, err error) { l.shardFailed(s, x.shards[i].m, i, off, err) }
	return x, nil
}

// shardFailed counts, and tells, that a member did not give the bytes of a shard that it should hold, and has the shards
// looked at.
func (l *Log) shardFailed(s *indexed, m *member, i int, off int64, err error) {
	now, ok, _ := l.index.get(s.id)
	if m == nil || errors.Is(err, ErrClosed) || !ok || !now.sameCode(s) || i >= len(now.shards) || int(now.shards[i]) != m.number {
		return
	}
	why := fmt.Errorf("shard %d: %w", i, err)
	if errors.Is(err, segment.ErrDamaged) || errors.Is(err, segment.ErrForeign) {
		why = &CheckError{Err: why}
	}
	l.readFailed(m, Position{Segment: s.id, Offset: uint32(off)}, why)
}

// ReadAt reads bytes of the segment straight from the data shards, unchecked. Of a shard that cannot be read they are made
// from others, which are checked.
func (x *shardSet) ReadAt(p []byte, off int64) (int, error) { return x.read(p, off, x.straight) }

// ReadVerified is ReadAt with the checksum of every block that is read checked; what is damaged is made from other shards.
func (x *shardSet) ReadVerified(p []byte, off int64) (int, error) { return x.read(p, off, x.verified) }

// verifiedShards is a set whose ReadAt is ReadVerified.
type verifiedShards struct{ set *shardSet }

func (r verifiedShards) ReadAt(p []byte, off int64) (int, error) { return r.set.ReadVerified(p, off) }

// read is ReadAt by a function that fills p with the payload of one shard from an offset on.
func (x *shardSet) read(p []byte, off int64, fill func(p []byte, i int, off int64) error) (int, error) {
	n := int(min(int64(len(p)), max(x.length-off, 0)))
	for part := range stripe.Parts(x.bytes, off, n) {
		if err := fill(p[part.From:][:part.Bytes], part.Shard, part.Offset); err != nil {
			return part.From, err
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// straight fills p from shard i alone, or else from the others. A disk that takes long to answer is not waited for.
func (x *shardSet) straight(p []byte, i int, off int64) error {
	c := &x.shards[i]
	if c.src == nil || c.flaw != nil || x.avoid.Has(i) {
		return x.verified(p, i, off)
	}
	var err error
	if f, ok := c.src.(shardFile); ok {
		err = f.within(p, segment.ShardFrameBytes+off, shardPatience*f.l.o.HedgeAfter)
	} else {
		_, err = c.src.ReadAt(p, segment.ShardFrameBytes+off)
	}
	switch {
	case err == nil || errors.Is(err, ErrClosed):
		return err
	case errors.Is(err, errPatience):
		x.avoid = x.avoid.With(i)
	default:
		x.fail(i, off, err)
	}
	return x.verified(p, i, off)
}

// verified fills p with payload of shard i whose blocks are checked, or made from others.
func (x *shardSet) verified(p []byte, i int, off int64) error {
	for len(p) > 0 {
		from := off - off%segment.ShardBlockBytes
		n := int(min(columnBytes, x.bytes-from))
		if end := off + int64(len(p)) - from; end < int64(n) { // no more blocks than are wanted
			n = int(min(x.bytes-from, (end+segment.ShardBlockBytes-1)/segment.ShardBlockBytes*segment.ShardBlockBytes))
		}
		if err := x.column(from, n, Set(0).With(i)); err != nil {
			return err
		}
		k := copy(p, x.shards[i].buf[off-from:n])
		p, off = p[k:], off+int64(k)
	}
	return nil
}

// column fills the buffers of the shards that are wanted with the payload [off, off+n), which are whole blocks: read and
// checked, or made from K others. The error is a *CorruptError if fewer than K can be read.
func (x *shardSet) column(off int64, n int, want Set) error {
	got := x.blocks(want&^x.avoid, off, n)
	if want&^got == 0 {
		return nil
	}
	left := setOf(len(x.shards)) &^ want
	for _, left := range []Set{left &^ x.avoid, left & x.avoid, want & x.avoid} {
		for got.Len() < x.code.K && left != 0 {
			var next Set
			for i := range left.All() {
				if next.Len() < x.code.K-got.Len() {
					next = next.With(i)
				}
			}
			left &^= next
			got |= x.blocks(next, off, n)
		}
	}
	lacking := want &^ got
	if lacking == 0 {
		return nil
	}
	if got.Len() < x.code.K {
		return x.lost(off, lacking, got)
	}
	return x.compute(lacking, got, n, off)
}

// compute makes the shards that are lacking from those that were got.
func (x *shardSet) compute(lacking, got Set, n int, off int64) error {
	shards, want := make([][]byte, len(x.shards)), make([]bool, len(x.shards))
	for i := range got.All() {
		shards[i] = x.shards[i].buf
	}
	for i := range lacking.All() {
		shards[i], want[i] = x.shards[i].room(n)[:0], true
	}
	if err := x.code.Reconstruct(shards, want); err != nil {
		return fmt.Errorf("segment %d: make its shards at %d: %w", x.id, off, err)
	}
	for i := range lacking.All() {
		x.shards[i].buf = shards[i]
		if t := x.shards[i].table; t != nil && t.Check(shards[i], off) != nil {
			return &CorruptError{At: Position{Segment: x.id}, Reason: fmt.Sprintf(
				"what %d shards give for shard %d at offset %d is not what it was: shards are not of one set", got.Len(), i, off)}
		}
	}
	return nil
}

// lost says why the payload at an offset cannot be had.
func (x *shardSet) lost(off int64, lacking, got Set) error {
	var reasons []error
	for i := range x.shards {
		if c := &x.shards[i]; !got.Has(i) {
			why := c.why
			if c.flaw != nil {
				why = c.flaw
			}
			if errors.Is(why, ErrClosed) {
				return ErrClosed
			}
			reasons = append(reasons, fmt.Errorf("shard %d: %w", i, why))
		}
	}
	at := Position{Segment: x.id}
	for i := range lacking.All() {
		at.Offset = uint32(min(int64(i)*x.bytes+off, x.length))
		break
	}
	return &CorruptError{At: at, Reason: fmt.Sprintf("%d of %d+%d shards are whole there, %d are needed: %v",
		got.Len(), x.code.K, x.code.M, x.code.K, errors.Join(reasons...))}
}

// blocks fills the buffers of shards with checked payload, all at the same time, and returns those for which it could.
func (x *shardSet) blocks(which Set, off int64, n int) (got Set) {
	errs := make([]error, len(x.shards))
	var reading sync.WaitGroup
	for i := range which.All() {
		if which.Len() == 1 {
			errs[i] = x.block(i, off, n)
			continue
		}
		reading.Go(func() { errs[i] = x.block(i, off, n) })
	}
	reading.Wait()
	for i := range which.All() {
		if errs[i] == nil {
			got = got.With(i)
		} else {
			x.fail(i, off, errs[i])
		}
	}
	return got
}

// block fills the buffer of shard i with checked payload. It touches nothing of other shards.
func (x *shardSet) block(i int, off int64, n int) error {
	c := &x.shards[i]
	if err := x.look(i); err != nil {
		return err
	}
	return c.table.Read(c.room(n), off)
}

// room returns the buffer with n bytes, which may hold anything.
func (c *shardCopy) room(n int) []byte {
	if cap(c.buf) < n {
		c.buf = make([]byte, n)
	}
	c.buf = c.buf[:n]
	return c.buf
}

// look reads the frame and the table of shard i, once.
func (x *shardSet) look(i int) error {
	c := &x.shards[i]
	if c.src == nil {
		c.flaw = errNoShard
	}
	if c.table != nil || c.flaw != nil {
		return c.flaw
	}
	frame, err := segment.ReadShard(c.src, -1, x.store, x.id, i)
	if err == nil && (frame.K != x.code.K || frame.M != x.code.M || int64(frame.Trailer.Length) != x.length) {
		err = fmt.Errorf("%w: it is one of %d+%d of a segment of %d bytes", segment.ErrForeign, frame.K, frame.M, frame.Trailer.Length)
	}
	table := &segment.ShardReader{}
	if err == nil {
		err = table.Open(c.src, frame)
	}
	if err != nil {
		c.flaw = err
		return err
	}
	c.frame, c.table = &frame, table
	return nil
}

// fail tells who wants to know that shard i cannot be read.
func (x *shardSet) fail(i int, off int64, err error) {
	c := &x.shards[i]
	c.why = err
	if !c.told && x.failed != nil {
		c.told = true
		x.failed(i, off, err)
	}
}

// shardFile is a shard as the log reads it.
type shardFile struct {
	l     *Log
	m     *member
	id    SegmentID
	shard int
}

// ReadAt fills p or returns an error. It gives up on a disk that does not answer for a long time.
func (f shardFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.within(p, off, patience*f.l.o.StallAfter); err != nil {
		return 0, err
	}
	return len(p), nil
}

// within fills p, or gives up after a time with errPatience.
func (f shardFile) within(p []byte, off int64, limit time.Duration) error {
	key := fileKey{member: f.m, segment: f.id, shard: int8(f.shard + 1)}
	if f.l.readFileCached(key, p, off) {
		return nil
	}
	results := make(chan *fetch, 1)
	r := f.l.fetch(f.m, len(p), results, func(b []byte) error { return f.l.readFile(key, b, off) })
	timer := f.l.o.Clock.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-results:
		defer r.recycle()
		copy(p, r.buf)
		return r.err
	case <-timer.C():
		r.noteLate()
		r.abandon()
		return fmt.Errorf("%w for %v", errPatience, limit)
	}
}

// openShard opens a shard for reading.
func (m *member) openShard(id SegmentID, i int) (f vfs.File, err error) {
	err = m.named(func() error {
		f, err = m.fs.Open(m.path(segment.ShardName(id, i)))
		return err
	})
	return f, err
}

// shardSources returns the shards of a segment as sources: read straight, and, for who can tell whether bytes are right, with
// every block checked.
func (l *Log) shardSources(s *indexed, checked bool) []source {
	if s.shards == nil {
		return nil
	}
	row := *s
	from := func(read func(x *shardSet, p []byte, off int64) (int, error)) source {
		return source{log: l, segment: row.id, size: row.length, shards: func(p []byte, off int64) error {
			x, err := l.shardsOf(&row)
			if err != nil {
				return err
			}
			n, err := read(x, p, off)
			if n == len(p) {
				err = nil
			}
			if now, ok, _ := l.index.get(row.id); err == nil && (!ok || !now.sameCode(&row)) {
				err = errOtherShards // whose bytes under the same names mean something else
			}
			return err
		}}
	}
	out := []source{from((*shardSet).ReadAt)}
	if checked {
		out = append(out, from((*shardSet).ReadVerified))
	}
	return out
}
