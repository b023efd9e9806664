package pagestore

import (
	"slices"

	"pagevault/pagestore/pagemap"
)

// clear makes the pages of a clear or a truncation invalid, region by region if few regions hold any, else by an
// erasure, which a pass will carry out.
func (a *applier) clear(o *op, v *volumeState) error {
	regions, all, err := a.regionsIn(o.volume, o.pages, int(a.limits.direct))
	if err != nil {
		return err
	}
	if !all && v.erase(o.pages, int(a.limits.erasures)) {
		v.dirty = true
		return a.due(o.volume)
	}
	if !all {
		if regions, _, err = a.regionsIn(o.volume, o.pages, -1); err != nil {
			return err
		}
	}
	return a.clearRegions(o, v, regions)
}

// clearRegions clears the pages of o in some regions.
func (a *applier) clearRegions(o *op, v *volumeState, regions []uint64) error {
	for _, no := range regions {
		k := regionKey{o.volume, no}
		old, err := a.current(k, v)
		if err != nil {
			return err
		}
		from, to := regionPart(o.pages, no)
		lost := old.Pages().And(pagemap.Span(from, to))
		if lost.Empty() {
			continue
		}
		a.entry = pagemap.Clear(a.entry[:0], old, from, to)
		if err := a.set(k, v, a.entry, lost); err != nil {
			return err
		}
	}
	return nil
}

// regionsIn returns the numbers of the regions touched by pages that have a page map entry. If there are more than limit
// it returns all == false and not all of them; a negative limit is none.
func (a *applier) regionsIn(v VolumeID, pages Range, limit int) (regions []uint64, all bool, err error) {
	first, end := regionRange(pages)
	for k, r := range a.regions {
		if k.volume == v && r.exists && first <= k.no && k.no < end {
			regions = append(regions, k.no)
		}
	}
	slices.Sort(regions)
	for no := first; limit < 0 || len(regions) <= limit; no++ {
		if no, _, err = a.seek(v, no, end); err != nil || no >= end {
			return regions, err == nil, err
		}
		if a.regions[regionKey{v, no}] == nil { // else it is one of its own, or gone
			regions = append(regions, no)
		}
	}
	return regions, len(regions) <= limit, nil
}
