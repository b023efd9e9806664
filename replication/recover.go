package replication

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/replication/segment"
)

// Recovery has two halves: examine looks at every segment on every member, decides what it should be and changes nothing;
// repair (in repair.go) then makes every copy so.
//
// A segment that is sealed on all members with equal footers is as it should be; its records are not read. Of any other the
// records are read one by one from all members. A record is what any member holds whole at its offset, and the segment ends
// where no member holds one. That is either the torn end of a write that was never acknowledged, which is cut, or damage to
// durable bytes, which is ErrCorrupt. It is damage if one of these says that more had been durable on all members:
//
//   - a footer: it is written when all records are durable;
//   - a header of the next segment: it is written when this one is sealed;
//   - the durable offset in the header of a record that lies behind. That a later record is whole proves nothing by
//     itself: of a write that was not synced, a disk may keep the end and lose the beginning.
//
// The last batch before a crash has no such witness but its copies.

// padBytesMax is up to where bytes behind the natural end of a footer are covered by moving the footer out; a longer file
// is written anew. 64 MiB: more than a batch leaves, unless records are very large.
const padBytesMax = 64 << 20

// plan says what one segment should be and what each copy lacks.
type plan struct {
	id      SegmentID
	header  segment.Header
	holder  int // a member with a whole header; -1: none
	first   LSN
	count   int
	end     int64            // of the last record
	data    int64            // bytes of Data in all records
	trailer *segment.Trailer // nil if none was found, so one has to be made
	tabler  int              // a member with a whole table of records; -1: none, the rows are in table
	table   []segment.Entry
	length  int64 // of the sealed file

	durable int64 // highest offset that a record proves to have been durable
	sources []origin
	copies  []copyPlan // one for each member
	cut     int64      // bytes behind end that are no record
	remove  bool       // it holds no record: remove every copy
	shards  foundShards
	stray   []foundShard // shards that are of no use
}

// holders returns the members that have a whole copy once the plan is carried out.
func (p *plan) holders(members []*member) (s Set) {
	for i, c := range p.copies {
		if c.do == keep || c.do == patch || c.do == rebuild {
			s = s.With(members[i].number)
		}
	}
	return s
}

// origin says that the bytes from an offset up to the next origin's are whole on a member.
type origin struct {
	from   int64
	member int
}

// span is [from, to) of a segment.
type span struct{ from, to int64 }

// copyPlan says what is to be done to one member's copy.
type copyPlan struct {
	names   names
	do      action
	reason  string
	patches []span // for patch: what to copy from the sources
}

type action uint8

const (
	keep    action = iota // it is as it should be
	patch                 // complete the unsealed file where it lies, and seal it
	rebuild               // write a new file, and rename it
	none                  // there is none, or it can wait until the log is open
	discard               // it is of no use: shards are whole
)

// copyState is one member's file of a segment while it is examined.
type copyState struct {
	names   names
	file    vfs.File // nil: missing
	size    int64
	reader  *segment.Reader
	header  *segment.Header  // nil unless it is whole
	trailer *segment.Trailer // nil unless it is whole
	tabled  bool             // the table of records is whole, too
	flaw    error            // why header or footer are not whole; nil for an unsealed file with a whole header

	// Of a verification only, where flaw is about header or file.
	torn  error // why the footer is not whole
	paced *pacedFile
}

// examined decides what all segments should be, and changes nothing. The records must not end before through, the last one that
// the members say was durable once.
func (l *Log) examined(through LSN) (*segment.Manifest, error) {
	manifest, err := newestManifest(l.present, l.held)
	if err != nil {
		return manifest, err
	}
	if l.plans, err = l.examine(l.held, manifest); err != nil {
		return manifest, err
	}
	if last := l.planned(manifest); last < through {
		return manifest, &CorruptError{Reason: fmt.Sprintf("record %d was durable once, and the records end with %d", through, last)}
	}
	return manifest, nil
}

// planned returns the last record that there will be when the plans are carried out.
func (l *Log) planned(manifest *segment.Manifest) (last LSN) {
	for _, r := range manifest.Dropped {
		last = max(last, r.Last)
	}
	for _, p := range l.plans {
		last = max(last, p.first+LSN(p.count)-1)
	}
	return last
}

// proven returns the last record that is known to have been durable: what may only be in the page cache is not.
func (l *Log) proven(manifest *segment.Manifest) (last LSN) {
	for _, r := range manifest.Dropped {
		last = max(last, r.Last)
	}
	for _, p := range l.plans {
		if last = max(last, p.first-1); p.trailer != nil {
			last = max(last, p.first+LSN(p.count)-1)
		}
	}
	return last
}

// recover repairs all segments, as planned, and the checkpoint, and fills the index and done.
func (l *Log) recover(manifest *segment.Manifest, done *Recovery) error {
	for i, m := range l.present {
		if err := m.tidy(l.held[i].temps); err != nil {
			return err
		}
	}
	for _, p := range l.plans {
		var err error
		if p.remove {
			err = l.remove(p)
			done.Removed++
		} else {
			err = l.repair(p, done)
		}
		if err != nil {
			return err
		}
	}
	for _, r := range manifest.Dropped {
		l.index.passed(r.To, r.Last)
	}
	if err := l.recoverCheckpoint(manifest, l.held, done); err != nil {
		return err
	}
	_, done.Last = l.index.end()
	done.Segments = len(l.index.all())
	return nil
}

// examine decides what every segment should be. The plans it returns are in the order of the segments, those that are as
// they should be included, those that were dropped not.
func (l *Log) examine(all []found, manifest *segment.Manifest) ([]*plan, error) {
	var last SegmentID
	for _, f := range all {
		for id := range f.segments {
			last = max(last, id)
		}
		for id := range f.shards {
			last = max(last, id)
		}
	}
	ranges := manifest.Dropped
	if n := len(ranges); n > 0 {
		last = max(last, ranges[n-1].To)
	}
	var plans []*plan
	next := LSN(1)
	readers := make([]segment.Reader, len(l.present)) // one for each member, for the sake of their memory
	for id := SegmentID(1); id <= last && id != 0; id++ {
		if len(ranges) > 0 && id == ranges[0].From {
			r := ranges[0]
			if r.First != next {
				return nil, &CorruptError{At: Position{Segment: id}, Reason: fmt.Sprintf(
					"the first record was %d, says %s, but the segment before ends with %d", r.First, segment.ManifestName, next-1)}
			}
			next, id, ranges = r.Last+1, r.To, ranges[1:]
			continue
		}
		e := examination{l: l, isLast: id == last}
		if len(ranges) > 0 && id+1 == ranges[0].From {
			e.droppedNext = ranges[0].First
		}
		p, err := e.examine(all, id, next, readers)
		if err != nil {
			return nil, err
		}
		plans = append(plans, p)
		next = p.first + LSN(p.count)
	}
	if next <= manifest.LSN {
		return nil, &CorruptError{At: Position{Segment: last}, Reason: fmt.Sprintf(
			"the records end with %d, but the checkpoint stands for %d", next-1, manifest.LSN)}
	}
	return plans, nil
}

// examine decides what segment id, whose first record is first, should be.
func (e *examination) examine(all []found, id SegmentID, first LSN, readers []segment.Reader) (*plan, error) {
	l := e.l
	e.p = plan{id: id, first: first, holder: -1, tabler: -1, copies: make([]copyPlan, len(l.present))}
	defer e.close()
	files, err := e.lookForShards(all)
	if err != nil {
		return nil, err
	}
	for i, m := range l.present {
		c, err := m.openCopy(l.store, id, all[i].segments[id], &readers[i])
		e.copies = append(e.copies, c)
		if err != nil {
			return nil, err
		}
		e.p.copies[i].names = c.names
	}
	if e.p.shards.whole() {
		return &e.p, e.fromShards()
	}
	e.p.stray = files
	if err := e.agree(); err != nil || e.p.remove {
		return &e.p, err
	}
	if e.complete() || e.later() {
		return &e.p, nil
	}
	if err := e.walk(); err != nil {
		return nil, err
	}
	if err := e.decideEnd(all); err != nil || e.p.remove {
		return &e.p, err
	}
	e.planCopies()
	return &e.p, nil
}

// lookForShards looks for shards of the segment, and returns the files.
func (e *examination) lookForShards(all []found) (files []foundShard, err error) {
	for i, m := range e.l.present {
		for _, shard := range all[i].shards[e.p.id] {
			files = append(files, foundShard{m.number, shard})
		}
	}
	if len(files) > 0 {
		e.p.shards, err = readShards(e.l.now().members, e.l.store, e.p.id, files)
	}
	return files, err
}

// fromShards plans for a segment that can be had from its shards. Copies that are not whole are of no use then.
func (e *examination) fromShards() error {
	p := &e.p
	t := p.shards.frame.Trailer
	p.header, p.trailer = p.shards.frame.Header(), &t
	if t.First != p.first {
		return e.corrupt(0, "its shards begin with record %d, but the segment before ends with %d", t.First, p.first-1)
	}
	p.count, p.end, p.length, p.data = int(t.Count), int64(t.End), int64(t.Length), p.shards.frame.Data
	for file := range p.shards.flaws {
		p.stray = append(p.stray, file)
	}
	for i := range e.copies {
		switch c := &e.copies[i]; {
		case !c.names.open && !c.names.sealed:
			p.copies[i].do = none
		case !c.names.sealed || !c.tabled || c.header == nil || *c.header != p.header || *c.trailer != t:
			p.copies[i].do = discard
		}
	}
	return nil
}

// everywhere reports whether each member has, or should have, a whole copy of every segment of which there are no shards.
func (l *Log) everywhere() bool {
	r := &l.now().roster
	return len(r.Rows) <= r.Copies
}

// openCopy opens the member's file of a segment and reads its header and footer. An error is returned only for what must
// not be repaired: a file of another log or format version, or one that cannot be opened.
func (m *member) openCopy(store segment.StoreID, id SegmentID, n names, r *segment.Reader) (copyState, error) {
	c := copyState{names: n, reader: r}
	if !n.open && !n.sealed {
		c.flaw = errors.New("the file is missing")
		return c, nil
	}
	var err error
	if c.file, err = m.fs.Open(m.path(segment.Name(id, n.sealed))); err != nil {
		return c, &MemberError{Dir: m.dir, Op: "open", Segment: id, Err: err}
	}
	info, err := c.file.Stat()
	if err != nil {
		return c, &MemberError{Dir: m.dir, Op: "stat", Segment: id, Err: err}
	}
	c.size = info.Size()
	r.Reset(c.file, c.size, store, id)
	h, err := c.reader.Header()
	switch version := (*segment.VersionError)(nil); {
	case err == nil:
		c.header = &h
	case errors.As(err, &version) || errors.Is(err, segment.ErrForeign):
		return c, fmt.Errorf("member %s: segment %d: %w", m.dir, id, err)
	default:
		c.flaw = err
	}
	t, err := c.reader.Trailer()
	if err == nil {
		err = c.reader.CheckTable(&t)
		c.trailer, c.tabled = &t, err == nil
	}
	if err != nil && n.sealed && c.flaw == nil {
		c.flaw = err
	}
	return c, nil
}

// examination is the work on one segment.
type examination struct {
	l      *Log
	isLast bool
	copies []copyState
	p      plan
	merge  merger // of the copies that are there

	droppedNext LSN // the first record of the next segment, if that was dropped
}

func (e *examination) close() {
	for _, c := range e.copies {
		if c.file != nil {
			_ = c.file.Close() // it was only read
		}
	}
}

func (e *examination) corrupt(off int64, format string, args ...any) error {
	return &CorruptError{At: Position{Segment: e.p.id, Offset: uint32(off)}, Reason: fmt.Sprintf(format, args...)}
}

func (e *examination) dir(member int) string { return e.l.present[member].dir }

// agree finds the header and the footer that the copies have in common.
func (e *examination) agree() error {
	p := &e.p
	here, longest, trailerOf := false, int64(0), -1
	for i := range e.copies {
		c := &e.copies[i]
		here, longest = here || c.file != nil, max(longest, c.size)
		if c.header != nil {
			if p.holder >= 0 && *c.header != p.header {
				return e.corrupt(0, "%s and %s hold different headers", e.dir(p.holder), e.dir(i))
			}
			p.header, p.holder = *c.header, i
		}
		if c.trailer != nil {
			if p.trailer != nil && *c.trailer != *p.trailer {
				return e.corrupt(int64(c.trailer.End), "%s and %s hold different footers", e.dir(trailerOf), e.dir(i))
			}
			p.trailer, trailerOf = c.trailer, i
			if c.tabled {
				p.tabler = i
			}
		}
	}
	switch {
	case !here && len(p.stray) > 0:
		return e.corrupt(0, "no member that is there has a copy, and of its shards too few are there: %s", p.shards.describe())
	case !here:
		return e.corrupt(0, "the file is missing, but later ones are there, and no member has a %s that says it was dropped", segment.ManifestName)
	case p.holder < 0 && e.isLast && longest <= segment.HeaderBytes && !e.anySealed():
		p.remove = true // a crash while it was created
	case p.holder < 0:
		return e.corrupt(0, "no member holds a whole header: %v", e.anyFlaw())
	case p.header.First != p.first:
		return e.corrupt(0, "the first record is %d, but the segment before ends with %d", p.header.First, p.first-1)
	case p.trailer != nil && p.trailer.First != p.first:
		return e.corrupt(int64(p.trailer.End), "header and footer name different first records, %d and %d", p.first, p.trailer.First)
	}
	return nil
}

func (e *examination) anySealed() bool {
	for _, c := range e.copies {
		if c.names.sealed {
			return true
		}
	}
	return false
}

func (e *examination) anyFlaw() error {
	for _, c := range e.copies {
		if c.flaw != nil && c.file != nil {
			return c.flaw
		}
	}
	return errors.New("is missing")
}

// complete reports whether the segment is sealed and equal on all members, as far as header and footer tell.
func (e *examination) complete() bool {
	whole := -1
	for i, c := range e.copies {
		switch {
		case c.names.sealed && c.header != nil && c.tabled:
			whole = i
		case c.file != nil || e.l.everywhere():
			return false
		default:
			e.p.copies[i].do = none
		}
	}
	t := e.p.trailer
	data, err := e.copies[whole].reader.DataBytes(t)
	if err != nil {
		return false // it was readable a moment ago: have a closer look
	}
	e.p.data = data
	e.p.count, e.p.end, e.p.length = int(t.Count), int64(t.End), int64(t.Length)
	return true
}

// repairAtOpenMax bounds the bytes of sealed segments that Open repairs, though others have them whole: about ten seconds on a
// slow disk. A member that lacks much gets the rest in the background, by arranging, while the log is open.
const repairAtOpenMax = 1 << 30

// later leaves copies that are not whole for when the log is open, where a copy is whole and enough has been repaired already.
func (e *examination) later() bool {
	whole, longest := -1, int64(0)
	for i, c := range e.copies {
		longest = max(longest, c.size)
		if c.names.sealed && c.header != nil && c.tabled {
			whole = i
		}
	}
	if whole < 0 {
		return false
	}
	if e.l.repairing += longest; e.l.repairing <= cmp.Or(e.l.o.repairAtOpen, repairAtOpenMax) {
		return false
	}
	t := e.p.trailer
	data, err := e.copies[whole].reader.DataBytes(t)
	if err != nil {
		return false
	}
	e.p.data, e.p.count, e.p.end, e.p.length = data, int(t.Count), int64(t.End), int64(t.Length)
	for i, c := range e.copies {
		if !c.names.sealed || c.header == nil || !c.tabled {
			e.p.copies[i].do = none
		}
	}
	return true
}

// walk reads the records of all copies from the first on, up to the footer's word or to where no copy has one.
func (e *examination) walk() error {
	p := &e.p
	p.end = segment.HeaderBytes
	p.sources = []origin{{from: 0, member: p.holder}}
	e.merge.readers = make([]*segment.Reader, len(e.copies))
	for i := range e.copies {
		if c := &e.copies[i]; c.file != nil {
			e.merge.readers[i] = c.reader
		}
	}
	for p.trailer == nil || p.end < int64(p.trailer.End) {
		h, found, err := e.record(p.end, p.first+LSN(p.count))
		if err != nil || !found {
			return err
		}
		if p.tabler < 0 {
			p.table = append(p.table, segment.Entry{Offset: h.Offset, Meta: h.Meta, Data: h.Data})
		}
		p.durable = max(p.durable, int64(h.Durable))
		p.end = h.End()
		p.data += int64(h.Data)
		p.count++
	}
	return nil
}

// record reads the record at off from every copy, notes who lacks it and from whom to take it. found is false if no copy
// holds it; err is set if copies hold different ones, or if none holds it and one could not be read at all.
func (e *examination) record(off int64, lsn LSN) (h segment.RecordHeader, found bool, err error) {
	p, g := &e.p, &e.merge
	if found, _ := g.read(off, lsn); !found {
		if i, err := g.unread(); err != nil {
			return h, false, &MemberError{Dir: e.dir(i), Op: "read", Segment: p.id, Err: err}
		}
		return h, false, nil
	}
	h = g.header
	if p.sources[len(p.sources)-1].member != g.of {
		p.sources = append(p.sources, origin{from: off, member: g.of})
	}
	for i, lack := range g.errs {
		if lack == errDiffers {
			return h, true, e.corrupt(off, "%s holds another record than %s", e.dir(i), e.dir(g.of))
		}
		if lack == nil {
			continue
		}
		c := &p.copies[i]
		c.add(span{from: off, to: h.End()})
		if c.reason == "" {
			c.reason = fmt.Sprintf("record %d: %v", lsn, lack)
		}
	}
	return h, true, nil
}

// add notes that s has to be copied. The spans are added in ascending order.
func (c *copyPlan) add(s span) {
	if n := len(c.patches); n > 0 && c.patches[n-1].to >= s.from {
		c.patches[n-1].to = max(c.patches[n-1].to, s.to)
		return
	}
	c.patches = append(c.patches, s)
}

// decideEnd decides whether what walk found is the whole segment, and lays down the length of the sealed file.
func (e *examination) decideEnd(all []found) error {
	p := &e.p
	lsn := p.first + LSN(p.count)
	if t := p.trailer; t != nil {
		if p.end != int64(t.End) || p.count != int(t.Count) {
			return e.corrupt(p.end, "record %d is whole on no member; the footer counts %d records up to offset %d", lsn, t.Count, t.End)
		}
		if p.tabler < 0 && segment.TableChecksum(segment.AppendTable(nil, p.table), p.end, int64(t.Length)) != t.TableCRC {
			return e.corrupt(p.end, "the table of records is damaged on every member and not that of the records")
		}
		p.length = int64(t.Length)
		return nil
	}
	switch {
	case !e.isLast:
		if next := e.nextFirst(all); next != lsn {
			return e.corrupt(p.end, "record %d is whole on no member; segment %d begins with record %d", lsn, p.id+1, next)
		}
	case e.anySealed():
		return e.corrupt(p.end, "the segment was sealed, but no member holds a whole footer: %v", e.anyFlaw())
	default:
		if err := e.tornTail(lsn); err != nil {
			return err
		}
		if p.count == 0 {
			p.remove = true
			return nil
		}
	}
	p.length = segment.FileBytes(p.end, p.count)
	longestPadded := p.length + padBytesMax
	for _, c := range e.copies {
		if c.size <= longestPadded {
			p.length = max(p.length, segment.Padded(c.size))
		}
	}
	return nil
}

// tornTail returns an error unless what lies behind the last whole record may be the end of a write that was never
// acknowledged.
func (e *examination) tornTail(lsn LSN) error {
	p := &e.p
	for i := range e.copies {
		c := &e.copies[i]
		if c.file == nil {
			continue
		}
		p.cut = max(p.cut, c.size-p.end)
		durable, at, err := c.reader.Durable(p.end)
		if err != nil {
			return &MemberError{Dir: e.dir(i), Op: "read", Segment: p.id, Err: err}
		}
		if durable > p.end {
			return e.corrupt(p.end, "record %d is whole on no member; a record at offset %d on %s says that everything up to %d was durable", lsn, at, e.dir(i), durable)
		}
	}
	return nil
}

// nextFirst returns the first record of the segment after this one, by the header of any member that has it; 0 if none
// has.
func (e *examination) nextFirst(all []found) LSN {
	if e.droppedNext > 0 {
		return e.droppedNext
	}
	for i, m := range e.l.present {
		c, err := m.openCopy(e.l.store, e.p.id+1, all[i].segments[e.p.id+1], &segment.Reader{})
		if c.file != nil {
			_ = c.file.Close() // it was only read
		}
		if err == nil && c.header != nil {
			return c.header.First
		}
	}
	return 0
}

// planCopies says for every member how its copy becomes what it should be.
func (e *examination) planCopies() {
	p := &e.p
	for i := range e.copies {
		c, todo := &e.copies[i], &p.copies[i]
		if c.flaw != nil {
			todo.reason = c.flaw.Error()
		}
		switch {
		case c.names.sealed && c.header != nil && c.tabled && len(todo.patches) == 0:
			todo.do = keep
		case c.file == nil && !e.l.everywhere():
			todo.do = none
		case c.names.sealed, c.file == nil, c.size > p.length:
			todo.do, todo.patches = rebuild, nil
		default:
			todo.do = patch
			if p.trailer == nil {
				// The last batches may be in the page cache only, and after a sync that failed no later sync would write them:
				// write again what no record proves to have been durable.
				todo.add(span{from: max(p.durable, segment.HeaderBytes), to: p.end})
			}
			if c.header == nil {
				todo.patches = append(todo.patches, span{from: 0, to: segment.HeaderBytes})
			}
		}
	}
}
