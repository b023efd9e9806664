package pagestore

import (
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/pagestore/pagemap"
	"pagevault/pagestore/refcount"
)

// usesMax bounds the problems of frames that wait for what shows them: some MiB.
const usesMax = 1 << 14

// uses are problems of frames that wait until it is known which pages of which volumes show them.
type uses struct {
	waiting map[pagemap.FrameID][]Problem
	count   int
}

// add takes a problem. When there are too many, those there are reported first.
func (u *uses) add(c *checker, p Problem) {
	if u.count == usesMax {
		u.report(c, true)
	}
	if u.waiting == nil {
		u.waiting = map[pagemap.FrameID][]Problem{}
	}
	u.waiting[p.Frame] = append(u.waiting[p.Frame], p)
	u.count++
}

// report reports the problems that wait, each once for every run of pages that shows it, and once without a volume if
// nothing does. lookUp false: all without.
func (u *uses) report(c *checker, lookUp bool) {
	waiting := u.waiting
	u.waiting, u.count = nil, 0
	if len(waiting) == 0 {
		return
	}
	shown := map[pagemap.FrameID]uint16{} // blocks of which a run was found
	if lookUp && c.scanUses(waiting, shown) != nil {
		c.summary.Unnamed = true
	}
	for id, problems := range waiting {
		for _, p := range problems {
			if blocks := p.blocks; shown[id] == 0 || blocks != 0 && shown[id]&blocks == 0 {
				c.o.Found(p)
			}
		}
	}
}

// scanUses reads all page maps once and reports the problems of those that refer to one of the frames.
func (c *checker) scanUses(waiting map[pagemap.FrameID][]Problem, shown map[pagemap.FrameID]uint16) error {
	it, err := c.v.snap.NewIter(&pebble.IterOptions{LowerBound: []byte{rowMap}, UpperBound: []byte{rowMap + 1}})
	if err != nil {
		return err
	}
	var entry pagemap.Entry
	var last mapPlace // of the row before, which is newer if it is of the same region
	for ok := it.First(); ok; ok = it.Next() {
		if err = c.step(); err != nil {
			break
		}
		at, e := decodeMapPlace(it.Key())
		if e != nil {
			continue // reported with the rows
		}
		until := GenHead
		if last.volume == at.volume && last.region == at.region {
			until = last.gen
		}
		last = at
		if entry, e = pagemap.DecodeEntry(entry[:0], it.Value()); e != nil {
			continue
		}
		c.showUses(waiting, shown, at, until, entry)
	}
	if err == nil {
		err = it.Error()
	}
	it.Close()
	return err
}

// mapPlace is what the key of a page map row says.
type mapPlace struct {
	volume VolumeID
	region uint64
	gen    Gen
}

func decodeMapPlace(k []byte) (at mapPlace, err error) {
	if at.region, at.gen, err = decodeMapKey(k); err == nil {
		at.volume = decodeRowVolume(k)
	}
	return at, err
}

// showUses reports the problems that one page map entry shows, one for each range of its pages.
func (c *checker) showUses(waiting map[pagemap.FrameID][]Problem, shown map[pagemap.FrameID]uint16, at mapPlace, until Gen, entry pagemap.Entry) {
	base := PageNo(at.region * pagemap.RegionPages)
	for i, run := range entry {
		if run.Frame == pagemap.ZeroFrame || slices.ContainsFunc(entry[:i], func(r pagemap.Run) bool { return r.Frame == run.Frame }) {
			continue
		}
		for _, p := range waiting[run.Frame] {
			pages, touched := pagesOf(entry, run.Frame, p.blocks)
			shown[run.Frame] |= touched
			p.Volume, p.From, p.Until = at.volume, at.gen, until
			for from, to := pages.Next(0); from < pagemap.RegionPages; from, to = pages.Next(to) {
				p.Pages = Range{base + PageNo(from), base + PageNo(to)}
				c.o.Found(p)
			}
		}
	}
}

// pagesOf returns the pages of an entry that lie in some blocks of a frame, 0 for any, and which blocks these are.
func pagesOf(entry pagemap.Entry, id pagemap.FrameID, blocks uint16) (pages pagemap.Bitmap, touched uint16) {
	if blocks == 0 {
		blocks = ^uint16(0)
	}
	for _, r := range entry {
		if r.Frame != id {
			continue
		}
		for i := range refcount.MaxBlocks {
			from, to := max(int(r.Off), i*pagemap.ChunkPages), min(int(r.Off)+int(r.Pages), (i+1)*pagemap.ChunkPages)
			if blocks>>i&1 != 0 && from < to {
				touched |= 1 << i
				pages.Add(int(r.First)+from-int(r.Off), int(r.First)+to-int(r.Off))
			}
		}
	}
	return pages, touched
}
