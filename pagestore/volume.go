package pagestore

import (
	"slices"

	"pagevault/pagestore/pagemap"
)

// limits bound what a clear does at once. They are part of the store, because applying a record depends on them.
type limits struct {
	// direct is how many page map entries a clear edits at most; a clear of more becomes an erasure.
	direct uint32
	// erasures is how many erasures a volume has at most: each read of a region looks through them. Beyond, clears edit
	// entry by entry, however many there are.
	erasures uint32
}

// defaultLimits are those of new stores. 1,024 entries take the one goroutine that applies some milliseconds; 256
// erasures make 4 KiB of a volume's row.
var defaultLimits = limits{direct: 1024, erasures: 256}

// endsGeneration reports whether a clear of these pages ends the generation it happens in. It depends on nothing but the
// pages, so that the sequencer knows the current generation without the index: any clear that may have to become an
// erasure ends it, whether it does or not.
func (l limits) endsGeneration(pages Range) bool {
	first, end := regionRange(pages)
	return end-first > uint64(l.direct)
}

// erase records that the pages of every entry stored so far are gone from now on, which is in generation v.gen. It
// returns false, and changes nothing, if that would make more than limit erasures.
//
// The erasure is labelled with the smallest generation that is right: no smaller than any stored entry's, so that all
// lose the pages, and no smaller than any frozen generation, so that none of those do. Clears with neither a write nor
// a freeze between them thus get the same label and unite.
func (v *volumeRow) erase(pages Range, limit int) bool {
	label := max(v.written, v.frozen)
	if label == 0 {
		return true // nothing was ever written
	}
	united := erasure{label, pages}
	touches := func(e erasure) bool {
		return e.gen == label && e.pages.Start <= united.pages.End && united.pages.Start <= e.pages.End
	}
	for _, e := range v.erasures {
		if touches(e) {
			united.pages.Start = min(united.pages.Start, e.pages.Start)
			united.pages.End = max(united.pages.End, e.pages.End)
		}
	}
	// An older erasure is superseded if this one takes all that it takes and no generation that can be read lies between.
	superseded := func(e erasure) bool {
		return v.frozen <= e.gen && united.pages.Start <= e.pages.Start && e.pages.End <= united.pages.End
	}
	kept := make([]erasure, 0, len(v.erasures)+1)
	for _, e := range v.erasures {
		if !touches(e) && !superseded(e) {
			kept = append(kept, e)
		}
	}
	if len(kept) >= limit {
		return false
	}
	at, _ := slices.BinarySearchFunc(kept, united, func(a, b erasure) int {
		if a.gen != b.gen {
			return int(int64(a.gen) - int64(b.gen))
		}
		return int(int64(a.pages.Start) - int64(b.pages.Start))
	})
	v.erasures = slices.Insert(kept, at, united)
	return true
}

// erased returns the pages of region no that an entry written in generation entry has lost when it is read at
// generation at.
func (v *volumeRow) erased(no uint64, entry, at Gen) (lost pagemap.Bitmap) {
	for i := len(v.erasures) - 1; i >= 0; i-- {
		e := &v.erasures[i]
		if e.gen < entry {
			break // sorted by gen: none before this one touches the entry
		}
		if e.gen < at {
			if from, to := regionPart(e.pages, no); from < to {
				lost.Add(from, to)
			}
		}
	}
	return lost
}
