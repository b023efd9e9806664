package pagestore

import (
	"bytes"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/internal/invariant"
	"pagevault/pagestore/pagemap"
)

// Changes are gathered for a window of regions at once. It begins small and widens where few regions were touched, however
// far apart they are, and ends early where it would hold more than diffTouchedMax: a small diff is answered from little memory, a
// large one from few passes over the generations.
const (
	diffWindow     = 1 << 8  // regions of the first window
	diffTouchedMax = 1 << 16 // 1.5 MiB of bitmaps, and as much to merge them
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
	return v.diff(vol, since, g, within, diffTouchedMax, yield)
}

// diff is Diff with a bound on the regions that are gathered at once.
func (v *View) diff(vol VolumeID, since, g Gen, within Range, most int, yield func(r Range, cleared bool) bool) error {
	d := differ{snap: v.snap, vol: vol, since: since, most: most, out: spans{yield: yield}}
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

	touched []touchedRegion // of the window, in order
	merged  []touchedRegion // memory for merge
	most    int             // of touched
	first   uint64          // the window's first region
	end     uint64          // of the window
	key     []byte
}

// touchedRegion is a region with the pages that were touched.
type touchedRegion struct {
	no    uint64
	pages pagemap.Bitmap
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
	for window := uint64(diffWindow); first < end && !d.out.ended; {
		if first, err = d.firstTouched(first, end); err != nil || first >= end {
			break
		}
		d.first, d.end = first, first+min(window, end-first)
		d.touched = d.touched[:0]
		if err = d.gather(); err == nil {
			err = d.judge(within)
		}
		if err != nil {
			return err
		}
		switch n := len(d.touched); {
		case n < d.most/16:
			window *= 8
		case n < d.most/2:
			window *= 2
		default:
			window = max(d.end-d.first, diffWindow)
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

// gather sets touched for the window, or for the beginning of it that has no more regions than may be gathered.
func (d *differ) gather() error {
	err := d.eachGen(d.first, func(g Gen, region uint64) error {
		prefix := bytes.Clone(d.key[:len(d.key)-8])
		old := len(d.touched)
		for region < d.end {
			value, err := d.changes.ValueAndErr()
			if err != nil {
				return err
			}
			b, err := pagemap.DecodeBitmap(value)
			if err != nil {
				return fmt.Errorf("%w: index: volume %d generation %d region %d: %w", ErrCorrupt, d.vol, g, region, err)
			}
			d.touch(old, region, b)
			if !d.changes.Next() || !bytes.HasPrefix(d.changes.Key(), prefix) {
				d.merge(old)
				return d.changes.Error()
			}
			if _, region, err = decodeChangeKey(d.changes.Key()); err != nil {
				return err
			}
		}
		d.merge(old)
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
	old := len(d.touched)
	ok, err := d.before.seek(from)
	for ; ok && d.before.no < min(to, d.end); ok, err = d.before.next() {
		a, b := regionPart(e.pages, d.before.no)
		d.touch(old, d.before.no, d.before.entry.Pages().And(pagemap.Span(a, b)))
	}
	d.merge(old)
	return err
}

// touch adds a region behind those that were touched[old:], in order. The window ends behind it if it is as many as may be.
func (d *differ) touch(old int, no uint64, pages pagemap.Bitmap) {
	d.touched = append(d.touched, touchedRegion{no, pages})
	if len(d.touched)-old >= d.most {
		d.end = no + 1
	}
}

// merge makes one ordered list of touched[:old] and touched[old:], and ends the window where that gets too long.
func (d *differ) merge(old int) {
	a, b := d.touched[:old], d.touched[old:]
	if len(a) == 0 || len(b) == 0 {
		return
	}
	out := d.merged[:0]
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].no < b[0].no:
			out, a = append(out, a[0]), a[1:]
		case len(a) == 0 || b[0].no < a[0].no:
			out, b = append(out, b[0]), b[1:]
		default:
			out = append(out, touchedRegion{a[0].no, a[0].pages.Or(b[0].pages)})
			a, b = a[1:], b[1:]
		}
	}
	d.touched, d.merged = out, d.touched
	for n := len(out); n > 0 && out[n-1].no >= d.end; n-- { // the window may have ended earlier meanwhile
		d.touched = out[:n-1]
	}
	if len(d.touched) > d.most {
		d.end = d.touched[d.most].no
		d.touched = d.touched[:d.most]
	}
}

// judge compares both ends where the window was touched.
func (d *differ) judge(within Range) error {
	invariant.Check(len(d.touched) <= d.most, "%d regions at once, of at most %d", len(d.touched), d.most)
	for i := range d.touched {
		no := d.touched[i].no
		from, to := regionPart(within, no)
		touched := d.touched[i].pages.And(pagemap.Span(from, to))
		if touched.Empty() {
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
