package pagestore

import (
	"slices"

	"pagevault/pagestore/pagemap"
)

// What a pass does to the page map of a volume. This file is pure.
//
// An entry is shown by the generations from its own up to that of the next newer entry: it is needed if one of them can
// be read, that is if it is frozen or the current one. All who read an entry later than the oldest reader lose at least
// the pages that the oldest has lost to erasures; so these pages can be taken out of the entry for good.

// reapRules are what decides about the entries of a volume.
type reapRules struct {
	row    *volumeRow
	frozen []Gen // generations that can be read, ascending
}

// mapEntry is one page map entry of a region.
type mapEntry struct {
	gen  Gen
	runs pagemap.Entry
}

// reapAction says what becomes of an entry.
type reapAction struct {
	kind reapKind
	lost pagemap.Bitmap // of an entry that is masked: pages that it holds and nobody reads
}

type reapKind uint8

const (
	reapKeep reapKind = iota
	reapDrop
	reapMask
)

// oldestReader returns the oldest generation that can be read of those from from on and before end, which is that of the
// next newer entry or, for the newest, one more than the current one; 0 if there is none.
func (w *reapRules) oldestReader(from, end Gen) Gen {
	if i, _ := slices.BinarySearch(w.frozen, from); i < len(w.frozen) && w.frozen[i] < end {
		return w.frozen[i]
	}
	if from <= w.row.gen && w.row.gen < end {
		return w.row.gen
	}
	return 0
}

// plan appends to dst what becomes of the entries of region no, all there are, newest first. work is the number of
// entries that do not stay as they are.
func (w *reapRules) plan(dst []reapAction, no uint64, entries []mapEntry) (actions []reapAction, work int) {
	start := len(dst)
	end := w.row.gen + 1
	for _, e := range entries {
		var act reapAction
		if reader := w.oldestReader(e.gen, end); w.row.dropped || reader == 0 {
			act.kind = reapDrop
		} else if lost := w.row.erased(no, e.gen, reader).And(e.runs.Pages()); !lost.Empty() {
			act = reapAction{reapMask, lost}
		}
		dst, end = append(dst, act), e.gen
	}
	for i := len(entries) - 1; i >= 0; i-- { // an empty entry that hides nothing can go
		act := &dst[start+i]
		if act.kind != reapDrop && !entries[i].runs.Pages().AndNot(act.lost).Empty() {
			break
		}
		*act = reapAction{kind: reapDrop}
	}
	for _, act := range dst[start:] {
		if act.kind != reapKeep {
			work++
		}
	}
	return dst, work
}

// settle returns the erasures that are still needed at the end of a pass, which every entry was looked at in since the
// last erasure was made. An erasure is needed while a generation from before it can be read, which keeps its pages.
func (w *reapRules) settle() (kept []erasure) {
	for _, e := range w.row.erasures {
		if len(w.frozen) > 0 && w.frozen[0] <= e.gen {
			kept = append(kept, e)
		}
	}
	return kept
}

// unasked returns the generation up to which nobody can ask any more what was changed in it: changes are asked for
// since a frozen generation.
func (w *reapRules) unasked() Gen {
	if len(w.frozen) > 0 {
		return w.frozen[0]
	}
	return w.row.gen
}
