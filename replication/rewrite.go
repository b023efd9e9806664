package replication

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/internal/invariant"
	"pagevault/replication/segment"
)

// claims lets one at a time change the files of a segment. The zero value is ready.
type claims struct {
	mu struct {
		sync.Mutex
		held map[SegmentID]chan struct{} // closed when given back
	}
}

// claim waits until nobody else changes the files of a sealed segment: writes a copy, makes shards of it or undoes them. Drop
// does not ask, so who has the claim must look, after the last file has got its name, whether the index still holds the
// segment. The error is that of ctx.
func (l *Log) claim(ctx context.Context, id SegmentID) (release func(), err error) {
	c := &l.healer.claims
	for {
		c.mu.Lock()
		held, taken := c.mu.held[id]
		if !taken {
			if c.mu.held == nil {
				c.mu.held = map[SegmentID]chan struct{}{}
			}
			mine := make(chan struct{})
			c.mu.held[id] = mine
			c.mu.Unlock()
			return func() {
				c.mu.Lock()
				delete(c.mu.held, id)
				c.mu.Unlock()
				close(mine)
			}, nil
		}
		c.mu.Unlock()
		select {
		case <-held:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// rewriteCopy writes a sealed segment anew on a member, every record from any copy, or from the shards, that holds it whole,
// so that copies of which none is whole are enough. Each byte is checked while it is copied, and the footer is made from the
// records and must be the one that the copies have. The new file has another name until it is whole and synced, so that a
// crash at any moment, or an error, leaves what was there before, but for a file that tidy removes; rewriteCopy then begins
// the segment anew. When it returns nil the copy is durable under its name, and the index says that the member holds it.
//
// It may run beside readers, whose file is closed when the last has done, and beside Drop. Errors: ErrDropped if the segment
// is not there any more, a *MemberError for what the member did, that of ctx, and a *CorruptError if something can be had from
// nobody. If that is a record, and a footer says where it was, everything else is written, and the member has what can be had.
func (l *Log) rewriteCopy(ctx context.Context, id SegmentID, to *member, p *pace) error {
	release, err := l.claim(ctx, id)
	if err != nil {
		return err
	}
	defer release()
	_, err = l.rewriteClaimed(ctx, id, to, p, false)
	return err
}

// rewriteClaimed is rewriteCopy for who has the claim. elect says that whole copies may differ, so that of each record the
// one is taken that most hold, which costs reading all of them. It returns how many bytes were written.
func (l *Log) rewriteClaimed(ctx context.Context, id SegmentID, to *member, p *pace, elect bool) (int64, error) {
	s, ok, dropped := l.index.get(id)
	switch {
	case dropped:
		return 0, fmt.Errorf("segment %d: %w", id, ErrDropped)
	case !ok || !s.sealed:
		return 0, fmt.Errorf("segment %d is not a sealed one", id)
	}
	w := rewriter{l: l, ctx: ctx, s: s, to: to, pace: p, elect: elect}
	defer w.close()
	err := w.run()
	if err != nil && !l.index.holds(id) {
		err = fmt.Errorf("segment %d: %w", id, ErrDropped)
	}
	if err == nil && !elect && (w.lacking != 0 || w.lost != nil) {
		l.Heal(id)
	}
	return w.written, cmp.Or(err, w.lost)
}

// rewriter is the work of one rewriteCopy.
type rewriter struct {
	l     *Log
	ctx   context.Context
	s     indexed
	to    *member
	pace  *pace
	elect bool

	waiting [][]*member     // who may have a copy that was not opened yet: the best first, the last resort last
	shards  bool            // there are shards, not opened yet
	voted   bool            // what most copies say was made a source
	sources []rewriteSource // opened, and as far as their header and footer tell, copies of this segment
	lacking Set             // members that hold the segment, and did not have a record of it whole
	merge   merger          // of sources, if elect

	header  segment.Header
	trailer *segment.Trailer // as whole footers have it; nil: none was found
	table   []segment.Entry  // of the records that are copied
	rows    []segment.Entry  // of all records, as a footer has them, if that was needed
	at      int64            // where the next record begins

	temp    vfs.File
	buf     []byte // bytes to be written at bufAt
	bufAt   int64
	written int64
	failed  error // of writing
	lost    error // the first record that can be had from nobody
}

// rewriteSource is a copy that records are taken from.
type rewriteSource struct {
	member  int // -1: the shards; byVote
	holder  bool
	src     io.ReaderAt
	reader  *segment.Reader
	close   func()
	header  *segment.Header  // nil: it is damaged
	trailer *segment.Trailer // nil: it is damaged
}

func (w *rewriter) run() error {
	if err := w.begin(); err != nil {
		return err
	}
	name := w.to.path(segment.TempName(w.s.id))
	var err error
	if w.temp, err = w.to.fs.Create(name, writeCategory); err != nil {
		return w.fail("create", err)
	}
	_ = w.temp.Preallocate(0, w.s.length) // a file system that has no room says so at the write
	if err = w.copy(); err == nil {
		err = w.publish()
	}
	if err != nil {
		_ = w.to.fs.Remove(name) // or the next one overwrites it, or tidy removes it
	}
	return err
}

func (w *rewriter) close() {
	for _, s := range w.sources {
		s.close()
	}
	if w.temp != nil {
		_ = w.temp.Close() // after an error; the file means nothing
	}
}

func (w *rewriter) fail(op string, err error) error {
	return &MemberError{Dir: w.to.dir, Op: op, Segment: w.s.id, Err: err}
}

func (w *rewriter) corrupt(off int64, format string, args ...any) error {
	return &CorruptError{At: Position{Segment: w.s.id, Offset: uint32(off)}, Reason: fmt.Sprintf(format, args...)}
}

// begin opens the first sources and finds the header.
func (w *rewriter) begin() error {
	var best, others, last []*member
	ms := w.l.now()
	for i, m := range ms.all() {
		switch {
		case m == w.to:
		case ms.has(m) && w.s.holders.Has(i):
			best = append(best, m)
		case ms.has(m):
			others = append(others, m)
		default:
			last = append(last, m)
		}
	}
	w.waiting, w.shards = [][]*member{best, append(others, w.to), last}, w.s.shards != nil
	if w.elect {
		w.waiting = [][]*member{slices.Concat(best, others, []*member{w.to}), last} // all have a vote
	}
	for w.header.ID == 0 {
		more := w.more()
		switch {
		case w.ctx.Err() != nil:
			return w.ctx.Err()
		case !more:
			return w.corrupt(0, "no member that is there holds a whole header")
		}
		if err := w.agree(); err != nil {
			return err
		}
	}
	return nil
}

// more opens the next members' copies; it returns false if there are no more to ask.
func (w *rewriter) more() bool {
	if len(w.waiting) == 0 {
		return w.vote()
	}
	next := w.waiting[0]
	w.waiting = w.waiting[1:]
	for _, m := range next {
		if s, ok := w.open(m); ok {
			w.sources = append(w.sources, s)
		}
	}
	if w.shards {
		w.shards = false
		if s, ok := w.openShards(); ok {
			w.sources = append(w.sources, s)
		}
	}
	return true
}

// vote makes what most copies say byte by byte one more source, if there are enough of them: where no copy has a record whole that
// may.
func (w *rewriter) vote() bool {
	if w.voted {
		return false
	}
	w.voted = true
	v := &voter{}
	for i := range w.sources {
		if s := &w.sources[i]; s.member >= 0 && s.holder {
			v.copies = append(v.copies, s.src)
		}
	}
	if len(v.copies) < votersMin {
		return false
	}
	s := rewriteSource{member: byVote, src: v, close: func() {}, reader: segment.NewReader(v, w.s.length, w.l.store, w.s.id)}
	w.sources = append(w.sources, s)
	return true
}

// byVote stands for the member of a source that is several.
const byVote = -2

// openShards opens the shards as one source. ok is false if they do not have so much as a header.
func (w *rewriter) openShards() (s rewriteSource, ok bool) {
	x, err := w.l.shardsOf(&w.s)
	if err != nil {
		return s, false
	}
	s.member, s.close = -1, func() {}
	s.look(w, verifiedShards{x}, w.s.length)
	return s, s.header != nil && (w.header.ID == 0 || *s.header == w.header)
}

// open opens a member's copy. ok is false if there is none that may be read.
func (w *rewriter) open(m *member) (s rewriteSource, ok bool) {
	f, err := m.openSegment(w.s.id, true)
	if err != nil {
		return s, false
	}
	file := f
	s.member, s.holder = m.number, w.s.holders.Has(m.number)
	s.close = func() { _ = file.Close() } // it was only read
	info, err := f.Stat()
	if err != nil {
		s.close()
		return s, false
	}
	s.look(w, file, info.Size())
	if w.mayRead(&s, m) {
		return s, true
	}
	s.close()
	return s, false
}

// look reads header and trailer.
func (s *rewriteSource) look(w *rewriter, r io.ReaderAt, size int64) {
	s.src = pacedReader{src: r, w: w}
	s.reader = segment.NewReader(s.src, size, w.l.store, w.s.id)
	if h, err := s.reader.Header(); err == nil && h.First == w.s.first {
		s.header = &h
	}
	if t, err := s.reader.Trailer(); err == nil && w.isOf(&t) {
		s.trailer = &t
	}
}

// isOf reports whether t can be the trailer of the segment as the index knows it.
func (w *rewriter) isOf(t *segment.Trailer) bool {
	return t.First == w.s.first && int(t.Count) == w.s.count && int64(t.End) == w.s.end && int64(t.Length) == w.s.length
}

// mayRead reports whether a copy may be read, once the header is known: one whose header says something else was written when
// the log had another history. A member that is not brought up may have that, so of it only a whole header will do.
func (w *rewriter) mayRead(s *rewriteSource, m *member) bool {
	if s.header == nil && !w.l.now().has(m) {
		return false
	}
	if w.header.ID == 0 {
		return true
	}
	return (s.header == nil || *s.header == w.header) && (s.trailer == nil || w.trailer == nil || *s.trailer == *w.trailer)
}

// agree takes the header and the trailer that most sources have, and leaves out those that have others.
func (w *rewriter) agree() error {
	var headers []segment.Header
	var trailers []segment.Trailer
	for _, s := range w.sources {
		if s.header != nil {
			headers = append(headers, *s.header)
		}
	}
	header, clear := mostOf(headers)
	switch {
	case header == nil:
		return nil
	case !clear:
		return w.corrupt(0, "members hold different headers, and none that most of them hold")
	}
	w.header = *header
	w.leaveOut(func(s *rewriteSource) bool { return s.header != nil && *s.header != w.header })
	for _, s := range w.sources {
		if s.trailer != nil {
			trailers = append(trailers, *s.trailer)
		}
	}
	if w.trailer, clear = mostOf(trailers); w.trailer != nil && !clear {
		return w.corrupt(w.s.end, "members hold different footers, and none that most of them hold")
	}
	w.leaveOut(func(s *rewriteSource) bool { return s.trailer != nil && *s.trailer != *w.trailer })
	return nil
}

func (w *rewriter) leaveOut(which func(s *rewriteSource) bool) {
	w.sources = slices.DeleteFunc(w.sources, func(s rewriteSource) bool {
		out := which(&s)
		if out {
			s.close()
		}
		return out
	})
}

// mostOf returns the value that occurs most often in list, nil for an empty one. clear is false if another occurs as often.
func mostOf[T comparable](list []T) (most *T, clear bool) {
	votes := map[T]int{}
	for _, v := range list {
		votes[v]++
	}
	best := 0
	for i := range list {
		switch n := votes[list[i]]; {
		case n > best:
			most, best, clear = &list[i], n, true
		case n == best && list[i] != *most:
			clear = false
		}
	}
	return most, clear
}

// copy writes the whole segment to the temporary file.
func (w *rewriter) copy() error {
	w.buf = make([]byte, 0, copyBytes)
	w.failed = w.put(w.header.Append(nil))
	w.at = segment.HeaderBytes
	record := w.record
	if w.elect {
		record = w.elected
	}
	for w.failed == nil && len(w.table) < w.s.count {
		h, err := record(w.s.first + LSN(len(w.table)))
		if errors.Is(err, ErrCorrupt) {
			h, err = w.leave(err)
		}
		if err != nil {
			return err
		}
		w.table = append(w.table, segment.Entry{Offset: h.Offset, Meta: h.Meta, Data: h.Data})
		w.at = h.End()
	}
	if w.failed == nil && w.at != w.s.end {
		return w.corrupt(w.at, "%d records end here, and they should at %d", w.s.count, w.s.end)
	}
	if w.failed == nil {
		return w.footer()
	}
	return w.failed
}

// record copies one record from the first source that has it whole, and asks that source first for the next.
func (w *rewriter) record(lsn LSN) (h segment.RecordHeader, err error) {
	var reasons []error
	for i := 0; ; i++ {
		for i == len(w.sources) {
			if !w.more() {
				return h, w.corrupt(w.at, "record %d can be had from no member: %v", lsn, errors.Join(reasons...))
			}
		}
		h, err := w.sources[i].reader.CopyRecord(w.at, w.put)
		if err == nil && h.LSN != lsn {
			err = fmt.Errorf("%w: record %d where %d should be", segment.ErrDamaged, h.LSN, lsn)
		}
		switch {
		case w.failed != nil:
			return h, w.failed
		case w.ctx.Err() != nil:
			return h, w.ctx.Err()
		case err == nil:
			if found := w.sources[i]; found.member != byVote {
				copy(w.sources[1:i+1], w.sources[:i])
				w.sources[0] = found
			}
			return h, nil
		}
		w.takeBack()
		reasons = append(reasons, err)
		if s := &w.sources[i]; s.holder && s.member >= 0 {
			w.lacking = w.lacking.With(s.member)
		}
	}
}

// elected copies the one of different records that most sources hold.
func (w *rewriter) elected(lsn LSN) (h segment.RecordHeader, err error) {
	g := &w.merge
	for {
		g.readers = g.readers[:0]
		for _, s := range w.sources {
			g.readers = append(g.readers, s.reader)
		}
		found, clear := g.read(w.at, lsn)
		switch {
		case w.ctx.Err() != nil:
			return h, w.ctx.Err()
		case !clear:
			return h, w.corrupt(w.at, "members hold different records %d, and none that most of them hold", lsn)
		case found:
			h, err = w.sources[g.of].reader.CopyRecord(w.at, w.put)
			if err == nil && h != g.header {
				err = w.corrupt(w.at, "record %d changed while it was read", lsn)
			}
			return h, errors.Join(w.failed, err)
		case !w.more():
			return h, w.corrupt(w.at, "record %d can be had from no member: %v", lsn, errors.Join(g.errs...))
		}
	}
}

// leave copies the bytes of a record that nobody has whole as they are in the copy that is being replaced, or else in another,
// and zeros where they cannot be read: they are no better and no worse than before. lost is why.
func (w *rewriter) leave(lost error) (h segment.RecordHeader, err error) {
	row, ok := w.row(len(w.table))
	if !ok || int64(row.Offset) != w.at {
		return h, lost
	}
	w.lost = cmp.Or(w.lost, lost)
	h = segment.RecordHeader{Offset: row.Offset, Meta: row.Meta, Data: row.Data}
	last := -1
	for i, s := range w.sources {
		if last < 0 || s.member == w.to.number {
			last = i
		}
	}
	if last >= 0 {
		_, _ = io.Copy(putter{w}, io.NewSectionReader(w.sources[last].src, w.at, h.Bytes())) // what cannot be read are zeros
	}
	var zeros [4 << 10]byte
	for w.failed == nil && w.ctx.Err() == nil && w.putAt() < h.End() {
		w.failed = w.put(zeros[:min(h.End()-w.putAt(), int64(len(zeros)))])
	}
	return h, cmp.Or(w.failed, w.ctx.Err())
}

// row returns what the footer says of record number n, from 0. ok is false if no footer is whole.
func (w *rewriter) row(n int) (row segment.Entry, ok bool) {
	for _, s := range w.sources {
		if len(w.rows) == 0 && s.trailer != nil && s.reader.CheckTable(s.trailer) == nil {
			rows, err := s.reader.Table(nil, s.trailer, 0)
			if err == nil {
				w.rows = rows
			}
		}
	}
	if n >= len(w.rows) {
		return row, false
	}
	return w.rows[n], true
}

// putAt returns where the next byte that is put will be.
func (w *rewriter) putAt() int64 { return w.bufAt + int64(len(w.buf)) }

// putter puts what is written to it.
type putter struct{ w *rewriter }

func (p putter) Write(b []byte) (int, error) {
	if err := p.w.put(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// footer writes table and trailer behind the records, which are whole.
func (w *rewriter) footer() error {
	table := segment.AppendTable(nil, w.table)
	t := segment.NewTrailer(w.header, table, w.s.end, w.s.length)
	if w.trailer != nil && t != *w.trailer {
		return w.corrupt(w.s.end, "the records are not those that the footer counts")
	}
	pad := w.s.length - w.s.end - int64(len(table)) - segment.TrailerBytes
	if pad < 0 {
		return w.corrupt(w.s.end, "%d records have no room in a file of %d bytes", w.s.count, w.s.length)
	}
	var zeros [4 << 10]byte
	err := w.put(table)
	for ; err == nil && pad > 0; pad -= min(pad, int64(len(zeros))) {
		err = w.put(zeros[:min(pad, int64(len(zeros)))])
	}
	if err == nil {
		err = w.put(t.Append(nil))
	}
	if err == nil {
		err = w.flush()
	}
	return err
}

// put writes p behind what was put before.
func (w *rewriter) put(p []byte) error {
	for len(p) > 0 && w.failed == nil {
		n := min(cap(w.buf)-len(w.buf), len(p))
		w.buf = append(w.buf, p[:n]...)
		p = p[n:]
		if len(w.buf) == cap(w.buf) {
			w.failed = w.flush()
		}
	}
	return w.failed
}

// takeBack forgets what was put of the record at w.at; what of it is in the file already will be written over.
func (w *rewriter) takeBack() {
	if w.at >= w.bufAt {
		w.buf = w.buf[:w.at-w.bufAt]
		return
	}
	w.buf, w.bufAt = w.buf[:0], w.at
}

func (w *rewriter) flush() error {
	b := w.buf
	if invariant.Enabled {
		b = slices.Clone(b) // see writeBuffers
	}
	n, err := w.temp.WriteAt(b, w.bufAt)
	w.written += int64(n)
	w.to.written.Add(int64(n))
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return w.fail("write", err)
	}
	w.bufAt += int64(n)
	w.buf = w.buf[:0]
	return nil
}

// publish makes the temporary file the member's copy.
func (w *rewriter) publish() error {
	m, id, temp := w.to, w.s.id, w.temp
	m.syncs.Add(1)
	if err := temp.Sync(); err != nil {
		return w.fail("sync", err)
	}
	w.temp = nil
	if err := temp.Close(); err != nil {
		return w.fail("close", err)
	}
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if err := m.rename(m.fs, segment.TempName(id), segment.Name(id, true)); err != nil {
		return w.fail("rename", err)
	}
	w.l.files.forgetCopy(m, id)
	if !w.l.index.holds(id) {
		// Drop may have looked for the file before it was there.
		if err := m.fs.Remove(m.path(segment.Name(id, true))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return w.fail("remove", err)
		}
		return ErrDropped
	}
	if err := m.syncDir(); err != nil {
		return w.fail("sync directory for", err)
	}
	w.l.index.setHolder(id, m.number, true)
	return w.removeUnsealed()
}

// removeUnsealed takes away what a member that left while it wrote the segment has of it under its other name.
func (w *rewriter) removeUnsealed() error {
	err := w.to.fs.Remove(w.to.path(segment.Name(w.s.id, false)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return w.fail("remove", err)
	}
	return nil
}

// pacedReader reads a source no faster than the rewriter may.
type pacedReader struct {
	src io.ReaderAt
	w   *rewriter
}

func (r pacedReader) ReadAt(p []byte, off int64) (int, error) {
	if err := r.w.pace.spend(r.w.ctx, int64(len(p))); err != nil {
		return 0, err
	}
	return r.src.ReadAt(p, off)
}
