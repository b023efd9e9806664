package replication

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"pagevault/replication/segment"
)

// wantedSegment is what a verification knows of a segment before it looks.
type wantedSegment struct {
	id     SegmentID
	first  LSN     // 0: unknown
	end    int64   // of the last durable record; -1: unknown
	sealed bool    // the log has it open and says that it is sealed
	isLast bool    // nobody has the log open, and this is where it ends: it may be as a crash leaves it
	names  []names // of each member, if nobody has the log open
	// elsewhere says that members which have no copy need none.
	elsewhere bool

	holders Set // whose copy is to be looked at, if the log is open
}

// any reports whether any member has a copy, of a log that nobody has open.
func (w *wantedSegment) any() bool {
	return slices.ContainsFunc(w.names, func(n names) bool { return n.open || n.sealed })
}

// segmentCheck is the verification of one segment: all copies are read side by side, record by record, so that what differs
// is found as well as what is damaged.
type segmentCheck struct {
	v      *verification
	w      wantedSegment
	copies []copyState // one for each member; file is nil where there is none
	merge  merger      // of the copies that are there
	gone   bool        // dropped meanwhile

	header  *segment.Header
	trailer *segment.Trailer
	table   []segment.Entry // of trailer; nil: no member has a whole one
	durable int64           // what records or a footer prove to have been on all disks
	end     int64           // of the last record that any member has whole
	count   int

	bad     Set  // members of which a problem was found
	curable Set  // of these, members with a problem that others can put right
	differ  bool // members hold whole records that differ
	lost    int  // problems that nobody can put right

	begun   bool      // a copy is longer than a header, so that all had theirs on disk
	pending []Problem // of a last segment: whether a crash leaves it so is known at its end
}

// segment verifies one segment on all members and returns the first record of the next, 0 if that is not known. An error is
// that of the verification.
func (v *verification) segment(w wantedSegment) (next LSN, err error) {
	s := v.newCheck(w)
	if err := s.run(); err != nil || s.gone || s.first() == 0 {
		return 0, err
	}
	return s.first() + LSN(s.count), nil
}

func (v *verification) newCheck(w wantedSegment) *segmentCheck {
	return &segmentCheck{v: v, w: w, copies: make([]copyState, len(v.members))}
}

// run reads everything and reports what is wrong.
func (s *segmentCheck) run() error {
	defer s.close()
	for i := range s.v.members {
		if s.look(i); s.v.stopped != nil || s.gone {
			return s.v.stopped
		}
	}
	s.agree()
	s.walk()
	if s.w.end < 0 && s.v.stopped == nil {
		s.tail()
	}
	if s.v.stopped == nil {
		s.decide()
	}
	return s.v.stopped
}

func (s *segmentCheck) close() {
	for i := range s.copies {
		if f := s.copies[i].paced; f != nil {
			_ = f.Close() // it was only read
		}
	}
}

// first returns the LSN of the first record, as far as anybody knows.
func (s *segmentCheck) first() LSN {
	switch {
	case s.w.first > 0:
		return s.w.first
	case s.header != nil:
		return s.header.First
	case s.trailer != nil:
		return s.trailer.First
	}
	return 0
}

// problem notes what is wrong with a member's copy, and that others can put it right.
func (s *segmentCheck) problem(member int, off int64, format string, args ...any) {
	s.curable = s.curable.With(member)
	s.note(Problem{Member: member, Offset: off, Reason: fmt.Sprintf(format, args...)})
}

// loss notes what is wrong with a member's copy, and that no other has it either.
func (s *segmentCheck) loss(member int, off int64, format string, args ...any) {
	s.lost++
	s.note(Problem{Member: member, Offset: off, Reason: fmt.Sprintf(format, args...), Lost: true})
}

func (s *segmentCheck) note(p Problem) {
	s.bad = s.bad.With(p.Member)
	p.File, p.Segment = segment.Name(s.w.id, s.copies[p.Member].names.sealed), s.w.id
	if s.w.isLast {
		s.pending = append(s.pending, p)
		return
	}
	s.v.report(p)
}

// look opens member i's copy and reads its header and footer.
func (s *segmentCheck) look(i int) {
	c, m, w := &s.copies[i], s.v.members[i], &s.w
	if s.v.absent[i] || s.v.log != nil && !w.holders.Has(i) {
		return
	}
	c.names = names{open: !w.sealed, sealed: w.sealed}
	if w.names != nil {
		c.names = w.names[i]
		if w.elsewhere && !c.names.open && !c.names.sealed {
			return
		}
	}
	file, err := m.openSegment(w.id, c.names.sealed)
	if err != nil {
		if s.gone = s.v.log != nil && !s.v.log.index.holds(w.id); s.gone {
			return
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = errors.New("the file is missing")
		}
		c.names.sealed = c.names.sealed || !c.names.open // the name that is missing, if there is none
		c.flaw = err
		return
	}
	info, err := file.Stat()
	if err != nil {
		_ = file.Close() // it was only opened
		c.flaw = err
		return
	}
	c.file, c.size = file, info.Size()
	c.paced = s.v.paced(file, c.size)
	c.reader = segment.NewReader(c.paced, c.size, s.v.store, w.id)
	h, err := c.reader.Header()
	switch {
	case s.v.stopped != nil:
		return
	case err == nil:
		c.header = &h
	default:
		c.flaw = fmt.Errorf("header: %w", err)
		s.begun = s.begun || !errors.Is(err, segment.ErrDamaged) // of another log: no crash does that
	}
	s.begun = s.begun || c.size > segment.HeaderBytes
	s.footer(i)
}

// footer reads the footer of member i's copy. An unsealed one may have none, or an unfinished one.
func (s *segmentCheck) footer(i int) {
	c := &s.copies[i]
	if s.v.log != nil && !s.w.sealed {
		return // what lies behind the durable records is being written just now
	}
	t, err := c.reader.Trailer()
	if err == nil {
		c.trailer = &t
		err = c.reader.CheckTable(&t)
		c.tabled = err == nil
	}
	if err == nil || s.v.stopped != nil || !c.names.sealed {
		return
	}
	c.torn = err
}

// agree finds the header and footer that the copies have in common and reports those that differ.
func (s *segmentCheck) agree() {
	report := s.loss // the header and what it names are on no member
	if slices.ContainsFunc(s.copies, func(c copyState) bool { return c.header != nil }) {
		report = s.problem
	}
	for i := range s.copies {
		c := &s.copies[i]
		if c.flaw != nil {
			report(i, 0, "%v", c.flaw)
		}
		switch {
		case c.header == nil:
		case s.w.first > 0 && c.header.First != s.w.first:
			s.problem(i, 0, "the header names record %d as the first, and it is %d", c.header.First, s.w.first)
		case s.header == nil:
			s.header = c.header
		case *s.header != *c.header:
			s.problem(i, 0, "the header is not that of other members")
		}
		switch {
		case c.trailer == nil:
		case s.w.first > 0 && c.trailer.First != s.w.first:
			s.problem(i, int64(c.trailer.End), "the footer names record %d as the first, and it is %d", c.trailer.First, s.w.first)
		case s.trailer == nil:
			s.trailer = c.trailer
		case *s.trailer != *c.trailer:
			s.problem(i, int64(c.trailer.End), "the footer is not that of other members")
		}
	}
	s.torn()
	if s.trailer == nil {
		return
	}
	s.durable = int64(s.trailer.End)
	for i := range s.copies {
		if c := &s.copies[i]; s.table == nil && c.tabled && *c.trailer == *s.trailer {
			if table, err := c.reader.Table(nil, s.trailer, 0); err == nil {
				s.table = table
			}
		}
	}
}

// torn reports the footers that are not whole. If no member has one, who has the log open can make it from the records.
func (s *segmentCheck) torn() {
	report := s.problem
	if s.trailer == nil && s.v.log == nil {
		report = s.loss
	}
	for i := range s.copies {
		c := &s.copies[i]
		if c.torn == nil {
			continue
		}
		off := max(c.size-segment.TrailerBytes, 0)
		if c.trailer != nil {
			off = int64(c.trailer.End)
		}
		report(i, off, "footer: %v", c.torn)
	}
}

// walk reads all records of all copies.
func (s *segmentCheck) walk() {
	end := s.w.end
	if s.trailer != nil {
		end = int64(s.trailer.End)
	}
	s.merge.readers = make([]*segment.Reader, len(s.copies))
	for i := range s.copies {
		s.merge.readers[i] = s.copies[i].reader
	}
	s.end = segment.HeaderBytes
	for s.v.stopped == nil && (end < 0 || s.end < end) {
		h, found := s.record(end >= 0)
		switch {
		case found:
			s.inTable(&h)
			s.durable = max(s.durable, int64(h.Durable))
			s.end = h.End()
		case end < 0:
			return
		case s.count < len(s.table):
			s.end = s.table[s.count].End() // go on behind it
		default:
			return
		}
		s.count++
	}
}

// inTable compares a record with its row in the footer.
func (s *segmentCheck) inTable(h *segment.RecordHeader) {
	if s.table == nil {
		return
	}
	if s.count >= len(s.table) || s.table[s.count] != (segment.Entry{Offset: h.Offset, Meta: h.Meta, Data: h.Data}) {
		for i := range s.copies {
			if s.copies[i].tabled {
				s.problem(i, int64(h.Offset), "record %d is not as the footer says", h.LSN)
			}
		}
	}
}

// record reads the next record from every copy and reports those that do not have it as another has. If none has it, all are
// reported, provided that it must be there.
func (s *segmentCheck) record(must bool) (h segment.RecordHeader, found bool) {
	lsn, g := s.first()+LSN(s.count), &s.merge
	found, clear := g.read(s.end, lsn)
	if s.v.stopped != nil {
		return h, false
	}
	if !found {
		found, clear = s.voted(lsn), true
	}
	report := s.problem
	if !found || !clear {
		report = s.loss
	}
	for i, err := range g.errs {
		switch {
		case err == errDiffers:
			s.differ = true
			report(i, s.end, "record %d: not the record that %s holds", lsn, s.v.members[g.of].dir)
		case err != nil && (found || must):
			report(i, s.end, "record %d: %v", lsn, err)
		}
	}
	return g.header, found
}

// voted reads the next record as most copies say it is, byte by byte, and reports whether that is whole: then each copy can be put
// right, though none of them is.
func (s *segmentCheck) voted(lsn LSN) bool {
	v := &voter{}
	size := int64(0)
	for i := range s.copies {
		if c := &s.copies[i]; c.reader != nil && s.v.log != nil {
			v.copies = append(v.copies, c.paced)
			size = max(size, c.size)
		}
	}
	if len(v.copies) < votersMin {
		return false
	}
	h, err := segment.NewReader(v, size, s.v.store, s.w.id).Record(s.end)
	if err != nil || h.LSN != lsn {
		return false
	}
	s.merge.header, s.merge.of = h, -1
	return true
}

// tail looks at what lies behind the last whole record of a segment whose end nobody knows for sure.
func (s *segmentCheck) tail() {
	for i := range s.copies {
		c := &s.copies[i]
		if c.reader == nil || s.trailer != nil {
			continue
		}
		durable, at, err := c.reader.Durable(s.end)
		switch {
		case s.v.stopped != nil:
			return
		case err != nil:
			s.problem(i, s.end, "%v", err)
		case durable > s.end:
			s.durable = max(s.durable, durable)
			s.problem(i, s.end, "record %d is whole on no member; a record at offset %d says that everything up to %d was durable",
				s.first()+LSN(s.count), at, durable)
		case c.size > s.end:
			s.problem(i, s.end, "%d bytes of records that were not finished", c.size-s.end)
		}
	}
	for i := range s.copies {
		if c := &s.copies[i]; c.file != nil && !c.names.sealed {
			s.problem(i, s.end, "the segment is not sealed")
		}
	}
}

// decide reports what was put off: a last segment may lack what was not durable, and its seal.
func (s *segmentCheck) decide() {
	for _, p := range s.pending {
		file := s.copies[p.Member].file
		switch {
		case s.copies[p.Member].names.sealed && file != nil:
		case file == nil: // not made yet, or removed already, since the segment holds no record
			p.Unfinished = s.count == 0 && s.trailer == nil && s.durable == 0
		case p.Offset < segment.HeaderBytes:
			p.Unfinished = !s.begun
		case s.trailer != nil:
			p.Unfinished = p.Offset >= s.end
		default:
			p.Unfinished = p.Offset >= s.durable
		}
		s.v.report(p)
	}
}
