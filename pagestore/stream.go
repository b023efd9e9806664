package pagestore

import (
	"fmt"

	"pagevault/pagestore/pagemap"
)

// Stream reads a volume in pieces that follow each other, as View.Read would. Finding out where content lies takes two seeks
// in the index, of the page map and of the frames; a stream does that for several pieces at a time. It belongs to one goroutine,
// and is closed before its view.
type Stream struct {
	v    *View
	vol  VolumeID
	gen  Gen
	r    *extentReader // nil: nothing was planned
	plan Range         // the pages whose extents r has
	next PageNo        // where the piece begins that comes next
	done int           // extents of r that are of pieces before that
}

// streamAhead bounds for how many bytes after a piece a stream plans: 32 regions, whose rows are in a block or two of the index.
const streamAhead = 2 << 20

// Stream returns a stream of a volume at generation g.
func (v *View) Stream(vol VolumeID, g Gen) Stream { return Stream{v: v, vol: vol, gen: g} }

// Read fills dst with the bytes from page first on, as View.Read does. rest is how many pages are going to be read after
// them, by further calls, as far as the caller knows. Pieces end where regions do for a plan to serve more than one.
func (s *Stream) Read(first PageNo, dst []byte, rest PageNo) error {
	n := PageNo(len(dst) / PageSize)
	if len(dst)%PageSize != 0 || first > maxPages || n > maxPages-first {
		return fmt.Errorf("%w: %d bytes at page %d", ErrBadRange, len(dst), first)
	}
	if s.r == nil || first != s.next || first+n > s.plan.End || first+n < s.plan.End && (first+n)%pagemap.RegionPages != 0 {
		if err := s.look(first, n, rest); err != nil {
			s.Close()
			return err
		}
	}
	r, from := s.r, s.done
	r.first, r.dst, s.next = first, dst, first+n
	for shift := int(first-s.plan.Start) * PageSize; s.done < len(r.extents) && r.extents[s.done].from < shift+len(dst); s.done++ {
		r.extents[s.done].from -= shift
		r.extents[s.done].to -= shift
	}
	err := r.read(r.extents[from:s.done])
	r.dst = nil
	if err != nil {
		s.Close()
	}
	return err
}

// look plans a piece of n pages, and what follows it as far as that pays.
func (s *Stream) look(first, n, rest PageNo) error {
	s.Close()
	s.r = s.v.s.readers.Get().(*extentReader)
	r := s.r
	r.s, r.vol, r.first, r.decoder.Ring, r.joined = s.v.s, s.vol, first, s.v.s.ring, int(n)*PageSize
	at, err := s.v.volume(s.vol, s.gen, &r.row)
	if err != nil {
		return err
	}
	s.plan = Range{first, first + n}
	if s.plan.End%pagemap.RegionPages == 0 {
		s.plan.End += min(rest, streamAhead/PageSize, maxPages-s.plan.End)
	}
	if s.plan.Start == s.plan.End {
		return nil
	}
	if err := r.plan(s.v.p, at, s.plan); err != nil {
		return err
	}
	return r.locate(s.v.p)
}

// Close lets go of what is planned. The stream can be used again.
func (s *Stream) Close() {
	if s.r != nil {
		s.r.release()
	}
	s.r, s.done = nil, 0
}
