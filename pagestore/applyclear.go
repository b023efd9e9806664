package pagestore

import (
	"slices"

	"pagevault/pagestore/pagemap"
)

// wipe is a range of regions [first, end) of a volume.
type wipe struct {
	volume     VolumeID
	first, end uint64
}

// clear makes the pages of a clear invalid, region by region if few regions hold any, else by an erasure.
func (a *applier) clear(o *op, v *volumeState) error {
	if v.frozen == 0 && a.limits.endsGeneration(o.pages) {
		return a.wipe(o, v)
	}
	regions, all, err := a.regionsIn(o.volume, o.pages, int(a.limits.direct))
	if err != nil {
		return err
	}
	if !all && v.erase(o.pages, int(a.limits.erasures)) {
		v.dirty = true
		return nil
	}
	if !all {
		if regions, _, err = a.regionsIn(o.volume, o.pages, -1); err != nil {
			return err
		}
	}
	return a.clearRegions(o, v, regions)
}

// truncate makes all pages from o.pages.Start on invalid, by an erasure.
func (a *applier) truncate(o *op, v *volumeState) error {
	if v.frozen == 0 {
		return a.wipe(o, v)
	}
	if _, none, err := a.regionsIn(o.volume, o.pages, 0); err != nil || none {
		return err
	}
	if v.erase(o.pages, int(a.limits.erasures)) {
		v.dirty = true
		return nil
	}
	regions, _, err := a.regionsIn(o.volume, o.pages, -1)
	if err != nil {
		return err
	}
	return a.clearRegions(o, v, regions)
}

// wipe deletes the page map rows of a volume that has no frozen generation to keep them for: the regions at both ends
// one by one, all between them at once.
func (a *applier) wipe(o *op, v *volumeState) error {
	first, end := regionRange(o.pages)
	if from, _ := regionPart(o.pages, first); from > 0 {
		if err := a.clearRegions(o, v, []uint64{first}); err != nil {
			return err
		}
		first++
	}
	if _, to := regionPart(o.pages, end-1); to < pagemap.RegionPages && first < end {
		if err := a.clearRegions(o, v, []uint64{end - 1}); err != nil {
			return err
		}
		end--
	}
	if first >= end {
		return nil
	}
	inner := Range{PageNo(first * pagemap.RegionPages), PageNo(end * pagemap.RegionPages)}
	if _, none, err := a.regionsIn(o.volume, inner, 0); err != nil || none {
		return err
	}
	for k, r := range a.regions {
		if k.volume == o.volume && first <= k.no && k.no < end {
			delete(a.regions, k)
			a.spare = append(a.spare, r)
		}
	}
	a.wiped = append(a.wiped, wipe{o.volume, first, end})
	from := appendMapKey(nil, o.volume, first, ^Gen(0))
	to := appendMapKey(nil, o.volume, end, ^Gen(0))
	if err := a.batch.DeleteRange(from, to, nil); err != nil {
		return err
	}
	return a.batch.DeleteRange(appendScatteredKey(nil, o.volume, first), appendScatteredKey(nil, o.volume, end), nil)
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
	own := len(regions)
	for no := first; limit < 0 || len(regions) <= limit; no++ {
		if no, _, err = a.seek(v, no, end); err != nil || no >= end {
			return regions, err == nil, err
		}
		if _, ok := slices.BinarySearch(regions[:own], no); !ok && !a.isWiped(v, no) {
			regions = append(regions, no)
		}
	}
	return regions, len(regions) <= limit, nil
}

func (a *applier) isWiped(v VolumeID, no uint64) bool {
	for _, w := range a.wiped {
		if w.volume == v && w.first <= no && no < w.end {
			return true
		}
	}
	return false
}

func (a *applier) drop(id VolumeID, v *volumeState) error {
	v.gone, v.dirty = true, false
	for k, r := range a.regions {
		if k.volume == id {
			delete(a.regions, k)
			a.spare = append(a.spare, r)
		}
	}
	for k := range a.changes {
		if k.volume == id {
			delete(a.changes, k)
		}
	}
	for _, row := range []byte{rowMap, rowScattered, rowChange} {
		if err := a.batch.DeleteRange(appendVolumePrefix(nil, row, id), appendVolumePrefix(nil, row, id+1), nil); err != nil {
			return err
		}
	}
	return a.batch.Delete(appendVolumeKey(nil, id), nil)
}
