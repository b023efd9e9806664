package pagestore

import "pagevault/pagestore/pagemap"

// condemned is a set of blocks that nothing used when the set was made and that are about to be freed. While it is
// published, in Store.condemned, no new content refers to them: whoever finds one of them under a fingerprint, in the
// index or in the flight, treats that as not found, and the content is stored anew, under a new frame.
//
// That alone does not make them garbage for good, because contents that looked before may have found them. So blocks are
// freed in this order:
//
//  1. In a view, find the blocks of a segment that have a count of 0. Publish them.
//  2. drain: every content that looked before has been released, and what it was used for is applied.
//  3. In a new view, those of them that have a count of 0 still have it for ever. The others live.
//  4. Free them. When that is applied, pardon: the names under which the flight still knows them go, and nil is published.
//     If the log has halted meanwhile that is when it has gone on, and another set is published only after it.
//
// The names have to go because a block can have been in use between the two views, for somebody who had looked before the
// first, under a name that the flight keeps for others: those who began to look later and before that use was applied, and
// who may ask for it after nil was published.
//
// A set is never changed after it was published. nil is the empty set.
type condemned struct {
	blocks map[pagemap.FrameID]uint16 // of each frame, the set of its condemned blocks
}

// chunk reports whether a chunk touches a condemned block.
func (c *condemned) chunk(at chunkRef) bool {
	return c != nil && c.blocks[at.frame]&blockSpan(int(at.off), int(at.off)+pagemap.ChunkPages) != 0
}

// runs reports whether one of the runs touches a condemned block.
func (c *condemned) runs(runs pagemap.Entry) bool {
	if c == nil {
		return false
	}
	for _, r := range runs {
		if r.Frame != pagemap.ZeroFrame && c.blocks[r.Frame]&blockSpan(int(r.Off), int(r.Off)+int(r.Pages)) != 0 {
			return true
		}
	}
	return false
}

// pardonLocked ends that blocks are condemned. Those that were to be freed are gone by now, so whoever finds nil published
// must not find them under a name of the flight, whose lock the caller has.
func (s *Store) pardonLocked() {
	f := &s.flight.mu
	gone := s.condemned.Load()
	s.condemned.Store(nil)
	if gone == nil || len(gone.blocks) == 0 {
		return
	}
	for name, at := range f.chunks {
		if gone.chunk(at) {
			delete(f.chunks, name)
		}
	}
	for name, runs := range f.regions {
		if gone.runs(runs) {
			delete(f.regions, name)
		}
	}
}
