package pagestore

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/pagestore/pagemap"
	"pagevault/pagestore/refcount"
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
	for i := range wrong {
		c.difference(&wrong[i])
	}
	if errors.Is(err, ErrCorrupt) { // by a row that was reported with the rows
		c.errorf(KindCountsUnknown, "the counts cannot be checked before the rows can be read: %v", err)
		return nil
	}
	return err
}

// countsMax bounds the differences that are reported one by one: where there are so many, more say nothing.
const countsMax = 1 << 16

// difference reports what a mark has found.
func (c *checker) difference(d *Difference) {
	p := Problem{Severity: SeverityError, Text: d.String()}
	switch d.Kind {
	case DifferentCount:
		p.Kind, p.Frame, p.blocks = KindCountWrong, pagemap.FrameID(d.Frame), 1<<d.Block
		p.Text = fmt.Sprintf("block %d counts %d uses, and has %d", d.Block, d.Got, d.Want)
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

// dangling reports the pages of a page map entry that lead to a block which is not there.
func (c *checker) dangling(p *Problem, d *Difference) {
	p.Text = fmt.Sprintf("the page map of generation %d leads to block %d, which is not there", d.Gen, d.Block)
	p.Volume, p.From, p.Until, p.Pages = d.Volume, d.Gen, c.newer(d.Volume, d.Region, d.Gen), regionPages(d.Region)
	whole := p.Pages.Start
	c.get(appendMapKey(nil, d.Volume, d.Region, d.Gen), func(value []byte) {
		entry, err := pagemap.DecodeEntry(nil, value)
		if err != nil {
			return
		}
		for _, run := range entry {
			if uint64(run.Frame) == d.Frame && refcount.Touched(run).Has(d.Block) {
				p.Pages = Range{whole + PageNo(run.First), whole + PageNo(run.End())}
				c.found(*p)
			}
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
