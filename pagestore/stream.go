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
	r    *extentReader // has the plan, and reads nothing; nil: nothing is planned
	plan Range         // the pages whose extents r has
	next PageNo        // where the piece begins that comes next
	done int           // extents of r that are of pieces before that
}

const (
	// streamAhead bounds for how many bytes after a piece a stream plans: 32 regions, whose rows are in a block or two of the index.
	streamAhead = 2 << 20
	// streamExtents is from how many extents on it plans no further, so that a plan, which is kept between pieces, stays small.
	streamExtents = maxExtents / 2
)

// Stream returns a stream of a volume at generation g.
func (v *View) Stream(vol VolumeID, g Gen) Stream { return Stream{v: v, vol: vol, gen: g} }

// Read fills dst with the bytes from page first on, as View.Read does. rest is how many pages are going to be read after
// them, by further calls, as far as the caller knows. Pieces end where regions do for a plan to serve more than one.
func (s *Stream) Read(first PageNo, dst []byte, rest PageNo) error {
	n := PageNo(len(dst) / PageSize)
	if len(dst)%PageSize != 0 || first > maxPages || n > maxPages-first {
		return fmt.Errorf("%w: %d bytes at page %d", ErrBadRange, len(dst), first)
	}
	if !s.planned(first, first+n) {
		s.Close()
		if rest == 0 || (first+n)%pagemap.RegionPages != 0 || s.look(first, n, rest) != nil {
			s.Close()
			return s.v.Read(s.vol, s.gen, first, dst) // which says what is wrong with these pages, if anything is
		}
	}
	p, from := s.r, s.done
	shift := int(first-s.plan.Start) * PageSize
	for ; s.done < len(p.extents) && p.extents[s.done].from < shift+len(dst); s.done++ {
		p.extents[s.done].from -= shift
		p.extents[s.done].to -= shift
	}
	err := s.read(first, dst, p.extents[from:s.done])
	if s.next = first + n; err != nil || s.next == s.plan.End {
		s.Close()
	}
	return err
}

// planned reports whether the plan has a piece that ends where extents do.
func (s *Stream) planned(first, end PageNo) bool {
	return s.r != nil && first == s.next && (end == s.plan.End || end < s.plan.End && end%pagemap.RegionPages == 0)
}

// read reads extents of a plan. What it takes for that is not kept from piece to piece: there may be long between them.
func (s *Stream) read(first PageNo, dst []byte, extents []extent) error {
	r := s.v.s.readers.Get().(*extentReader)
	defer r.release()
	r.s, r.vol, r.first, r.dst, r.decoder.Ring = s.v.s, s.vol, first, dst, s.v.s.ring
	return r.read(extents)
}

// look plans a piece of n pages, and what follows it as far as that pays.
func (s *Stream) look(first, n, rest PageNo) error {
	s.r = s.v.s.planners.Get().(*extentReader)
	r := s.r
	r.s, r.vol, r.first, r.joined, r.most = s.v.s, s.vol, first, int(n)*PageSize, streamExtents
	at, err := s.v.volume(s.vol, s.gen, &r.row)
	if err != nil {
		return err
	}
	end := first + n + min(rest, streamAhead/PageSize, maxPages-first-n)
	if end, err = r.plan(s.v.p, at, Range{first, end}); err != nil {
		return err
	}
	s.plan = Range{first, end}
	return r.locate(s.v.p)
}

// Close lets go of what is planned. The stream can be used again.
func (s *Stream) Close() {
	if s.r != nil {
		s.r.letGo()
		s.v.s.planners.Put(s.r)
	}
	s.r, s.done = nil, 0
}
