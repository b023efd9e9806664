package pagestore

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/pagestore/pagemap"
)

// Changes are gathered for a window of regions at once, which doubles from the first of these sizes to the second: a
// small diff is answered from little memory, a large one from few passes over the generations. The largest is 4 GiB of
// a volume, 1 MiB of bitmaps.
const (
	diffWindowMin = 1 << 8
	diffWindowMax = 1 << 16
)

// Diff calls yield for each run of pages that were written or cleared after generation since ended and up to
// generation g, in order, as long as possible for each kind, within the given pages, until it returns false. What counts
// is the act, not the content:
//
//   - cleared false: the page was written and is valid at g, even if with the bytes it had;
//   - cleared true: the page was valid at since and is not at g.
//
// A page that came and went in between is not listed. Its cost is that of the changes, not of the volume.
func (v *View) Diff(vol VolumeID, since, g Gen, within Range, yield func(r Range, cleared bool) bool) error {
	d := differ{snap: v.snap, vol: vol, since: since, out: spans{yield: yield}}
	var err error
	if d.at, err = v.volume(vol, g, &d.row); err != nil {
		return err
	}
	readable := since == d.at
	if since != GenHead && since < d.at {
		if readable, err = readFrozen(v.snap, generation{vol, since}); err != nil {
			return err
		}
	}
	if !readable {
		return fmt.Errorf("volume %d, changes from generation %d to %d: %w", vol, since, d.at, ErrNoGeneration)
	}
	if within, err = checkRange(within); err != nil || within.Start == within.End || since == d.at {
		return err
	}
	return d.run(within)
}

// differ computes one Diff, window by window: which pages of which regions were touched, from the change rows and the
// erasures; then what became of them, from the page maps at both ends.
type differ struct {
	snap  *pebble.Snapshot
	vol   VolumeID
	row   volumeRow
	since Gen
	at    Gen
	out   spans

	changes *pebble.Iterator
	before  regionIter // at since
	after   regionIter // at at

	touched []pagemap.Bitmap // of the regions of the window
	first   uint64           // the window's first region
	end     uint64           // of the window
	key     []byte
}

func (d *differ) run(within Range) (err error) {
	if d.changes, err = d.snap.NewIter(&pebble.IterOptions{
		LowerBound: appendChangeKey(nil, d.vol, d.since+1, 0),
		UpperBound: appendVolumePrefix(nil, rowChange, d.vol+1),
	}); err != nil {
		return err
	}
	defer d.changes.Close()
	if err := d.before.open(d.snap, d.vol, &d.row, d.since, within); err != nil {
		return err
	}
	defer d.before.close()
	if err := d.after.open(d.snap, d.vol, &d.row, d.at, within); err != nil {
		return err
	}
	defer d.after.close()

	first, end := regionRange(within)
	for window := uint64(diffWindowMin); first < end && !d.out.ended; window = min(2*window, diffWindowMax) {
		if first, err = d.firstTouched(first, end); err != nil || first >= end {
			break
		}
		d.first, d.end = first, min(first+window, end)
		d.touched = slices.Grow(d.touched[:0], int(d.end-d.first))[:d.end-d.first]
		clear(d.touched)
		if err = d.gather(within); err == nil {
			err = d.judge(within)
		}
		if err != nil {
			return err
		}
		first = d.end
	}
	if err == nil {
		d.out.flush()
	}
	return err
}

// eachGen calls fn for each generation in (since, at] that has change rows, with the iterator at its first row at or
// after region no.
func (d *differ) eachGen(no uint64, fn func(g Gen, region uint64) error) error {
	for g := d.since; g < d.at; {
		g++
		d.key = appendChangeKey(d.key[:0], d.vol, g, no)
		if !d.changes.SeekGE(d.key) {
			return d.changes.Error()
		}
		found, region, err := decodeChangeKey(d.changes.Key())
		if err != nil {
			return err
		}
		if found > g { // nothing in g at or after no; the next generation with anything may have it before no
			g = found - 1
			continue
		}
		if err := fn(g, region); err != nil {
			return err
		}
	}
	return nil
}

// firstTouched returns the first region in [no, end) that may have been touched, end or more if there is none.
func (d *differ) firstTouched(no, end uint64) (uint64, error) {
	first := end
	for _, e := range d.row.erasures {
		from, to := regionRange(e.pages)
		from, to = max(from, no), min(to, first)
		if d.since > e.gen || e.gen >= d.at || from >= to {
			continue
		}
		// An erasure may go on for ever: what it took begins where there was something.
		ok, err := d.before.seek(from)
		if err != nil {
			return 0, err
		}
		if ok {
			first = min(first, d.before.no)
		}
	}
	err := d.eachGen(no, func(_ Gen, region uint64) error {
		first = min(first, region)
		return nil
	})
	return first, err
}

// gather sets touched for the window.
func (d *differ) gather(within Range) error {
	err := d.eachGen(d.first, func(g Gen, region uint64) error {
		prefix := bytes.Clone(d.key[:len(d.key)-8])
		for region < d.end {
			value, err := d.changes.ValueAndErr()
			if err != nil {
				return err
			}
			b, err := pagemap.DecodeBitmap(value)
			if err != nil {
				return fmt.Errorf("%w: index: volume %d generation %d region %d: %w", ErrCorrupt, d.vol, g, region, err)
			}
			t := &d.touched[region-d.first]
			*t = t.Or(b)
			if !d.changes.Next() || !bytes.HasPrefix(d.changes.Key(), prefix) {
				return d.changes.Error()
			}
			if _, region, err = decodeChangeKey(d.changes.Key()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, e := range d.row.erasures {
		if d.since <= e.gen && e.gen < d.at {
			if err := d.gatherErased(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// gatherErased adds the pages that an erasure took and that were valid at since.
func (d *differ) gatherErased(e erasure) error {
	from, to := regionRange(e.pages)
	from, to = max(from, d.first), min(to, d.end)
	if from >= to {
		return nil
	}
	ok, err := d.before.seek(from)
	for ; ok && d.before.no < to; ok, err = d.before.next() {
		a, b := regionPart(e.pages, d.before.no)
		t := &d.touched[d.before.no-d.first]
		*t = t.Or(d.before.entry.Pages().And(pagemap.Span(a, b)))
	}
	return err
}

// judge compares both ends where the window was touched.
func (d *differ) judge(within Range) error {
	for i, touched := range d.touched {
		if touched.Empty() {
			continue
		}
		no := d.first + uint64(i)
		from, to := regionPart(within, no)
		if touched = touched.And(pagemap.Span(from, to)); touched.Empty() {
			continue
		}
		was, err := d.before.pages(no)
		if err != nil {
			return err
		}
		is, err := d.after.pages(no)
		if err != nil {
			return err
		}
		if !d.emit(no, touched.And(is), touched.And(was).AndNot(is)) {
			return nil
		}
	}
	return nil
}

// emit yields the pages of one region, both kinds in order of address.
func (d *differ) emit(no uint64, written, cleared pagemap.Bitmap) bool {
	base := PageNo(no * pagemap.RegionPages)
	all := written.Or(cleared)
	for at := 0; at < pagemap.RegionPages; {
		from, to := all.Next(at)
		if from == pagemap.RegionPages {
			break
		}
		kind := cleared.Has(from)
		same := written
		if kind {
			same = cleared
		}
		if _, end := same.Next(from); end < to {
			to = end
		}
		d.out.span(Range{base + PageNo(from), base + PageNo(to)}, kind)
		at = to
	}
	return !d.out.ended
}

// pages returns the valid pages of one region.
func (r *regionIter) pages(no uint64) (pagemap.Bitmap, error) {
	if r.no != no {
		if ok, err := r.seek(no); err != nil || !ok || r.no != no {
			return pagemap.Bitmap{}, err
		}
	}
	return r.entry.Pages(), nil
}
