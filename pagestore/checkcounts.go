package pagestore

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// counts has everything counted anew that page maps refer to, and reports what the rows say otherwise.
func (c *checker) counts() error {
	c.phase("counts")
	var wrong []Difference
	_, err := mark(c.ctx, c.v.snap, func(d Difference) {
		if len(wrong) < countsMax {
			wrong = append(wrong, d)
		} else {
			c.summary.Uncounted++
		}
	})
	for len(wrong) > 0 {
		n := 1
		for n < len(wrong) && sameFrame(&wrong[0], &wrong[n]) {
			n++
		}
		c.difference(wrong[:n])
		wrong = wrong[n:]
	}
	if errors.Is(err, ErrCorrupt) { // by a row that was reported with the rows
		c.errorf(KindCountsUnknown, "the counts cannot be checked before the rows can be read: %v", err)
		return nil
	}
	return err
}

// countsMax bounds the differences that are reported one by one: where there are so many, more say nothing.
const countsMax = 1 << 16

// sameFrame reports whether two differences say the same of blocks of one frame.
func sameFrame(a, b *Difference) bool {
	return a.Kind == b.Kind && (a.Kind == DifferentCount || a.Kind == DanglingRun) &&
		a.Frame == b.Frame && a.Volume == b.Volume && a.Region == b.Region && a.Gen == b.Gen
}

// difference reports what a mark has found: one difference, or several that say the same of blocks of one frame.
func (c *checker) difference(list []Difference) {
	d := &list[0]
	p := Problem{Severity: SeverityError, Text: d.String()}
	for _, d := range list {
		p.blocks |= 1 << d.Block
	}
	switch d.Kind {
	case DifferentCount:
		p.Kind, p.Frame = KindCountWrong, pagemap.FrameID(d.Frame)
		p.Text = fmt.Sprintf("block %d counts %d uses, and has %d", d.Block, d.Got, d.Want)
		if len(list) > 1 {
			p.Text += fmt.Sprintf("; the counts of %d more of its blocks are wrong", len(list)-1)
		}
	case DifferentSegment:
		p.Kind, p.At = KindSegmentTotals, replication.Position{Segment: d.Segment}
		p.Text = fmt.Sprintf("%s is %d, and should be %d", d.Name, d.Got, d.Want)
	case DifferentCounter:
		p.Kind = KindCounterWrong
	case DanglingRun:
		p.Kind, p.Frame = KindFrameMissing, pagemap.FrameID(d.Frame)
		c.dangling(&p, d)
		return
	case DanglingFold:
		p.Kind, p.Volume, p.Pages = KindFoldMark, d.Volume, regionPages(d.Region)
	case DanglingName:
		p.Kind, p.Frame = KindRegionUnlinked, pagemap.FrameID(d.Frame)
	case OrphanedRow:
		return // reported with the rows
	default:
		p.Kind = KindCounterWrong
	}
	c.found(p)
}

// dangling reports the pages of a page map entry that lead to blocks which are not there.
func (c *checker) dangling(p *Problem, d *Difference) {
	p.Text = fmt.Sprintf("the page map of generation %d leads there, and it is not", d.Gen)
	p.Volume, p.From, p.Until, p.Pages = d.Volume, d.Gen, c.newer(d.Volume, d.Region, d.Gen), regionPages(d.Region)
	base := p.Pages.Start
	c.get(appendMapKey(nil, d.Volume, d.Region, d.Gen), func(value []byte) {
		entry, err := pagemap.DecodeEntry(nil, value)
		if err != nil {
			return
		}
		pages, _ := pagesOf(entry, p.Frame, p.blocks)
		for from, to := pages.Next(0); from < pagemap.RegionPages; from, to = pages.Next(to) {
			p.Pages = Range{base + PageNo(from), base + PageNo(to)}
			c.found(*p)
		}
	})
}

// newer returns the generation of the next newer page map entry of the region, GenHead if there is none.
func (c *checker) newer(v VolumeID, region uint64, g Gen) (next Gen) {
	it, err := c.v.snap.NewIter(&pebble.IterOptions{LowerBound: appendMapKey(nil, v, region, ^Gen(0)), UpperBound: appendMapKey(nil, v, region, g)})
	if err != nil {
		return GenHead
	}
	if it.Last() {
		if at, err := decodeMapPlace(it.Key()); err == nil {
			next = at.gen
		}
	}
	it.Close()
	return next
}
