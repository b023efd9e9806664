package pagestore

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/pagestore/pagemap"
)

func (a *applier) write(o *op, v *volumeState) error {
	d := &a.decoder
	a.state.LogicalBytes += uint64(o.pages.End-o.pages.Start) * PageSize
	for d.region() {
		g := &d.reg
		for _, r := range g.runs {
			if r.Frame == pagemap.ZeroFrame {
				a.state.ZeroBytes += uint64(r.Pages) * PageSize
			} else if r.Frame >= a.state.nextFrame {
				return fmt.Errorf("%w: volume %d region %d: run %v of a frame to come", ErrCorrupt, o.volume, g.no, r)
			}
		}
		if g.name != nil {
			if err := a.nameRegion(g.name, g.runs); err != nil {
				return err
			}
		}
		if err := a.writeRegion(regionKey{o.volume, g.no}, v, g); err != nil {
			return err
		}
	}
	return d.err
}

// writeRegion lays the runs of one region over what the volume holds there.
func (a *applier) writeRegion(k regionKey, v *volumeState, g *region) error {
	if g.to-g.from == pagemap.RegionPages { // nothing of the old map is left
		return a.set(k, v, g.runs, pagemap.Span(0, pagemap.RegionPages))
	}
	old, err := a.current(k, v)
	if err != nil {
		return err
	}
	a.entry = pagemap.Overlay(a.entry[:0], old, g.runs)
	return a.set(k, v, a.entry, pagemap.Span(g.from, g.to))
}

// touch adds pages to what was written or cleared in the current generation. It is kept only where there is a frozen
// generation to compare with. It must be called before the region's entry is set.
func (a *applier) touch(k regionKey, v *volumeState, pages pagemap.Bitmap) error {
	if v.frozen == 0 {
		return nil
	}
	ck := changeKey{k.volume, v.gen, k.no}
	old, ok := a.changes[ck]
	if !ok && pages != pagemap.Span(0, pagemap.RegionPages) {
		r, err := a.load(k)
		if err != nil {
			return err
		}
		if r.exists && r.gen == v.gen { // else nothing has touched the region in this generation
			if old, err = a.readChange(ck); err != nil {
				return err
			}
		}
	}
	a.changes[ck] = old.Or(pages)
	return nil
}

func (a *applier) readChange(k changeKey) (b pagemap.Bitmap, err error) {
	a.key = appendChangeKey(a.key[:0], k.volume, k.gen, k.no)
	value, closer, err := a.db.Get(a.key)
	if errors.Is(err, pebble.ErrNotFound) {
		return b, nil
	}
	if err != nil {
		return b, err
	}
	defer closer.Close()
	return pagemap.DecodeBitmap(value)
}
