package replication

import (
	"errors"
	"fmt"

	"pagevault/replication/segment"
)

// errDiffers marks a whole record that is not the one that others hold in its place.
var errDiffers = errors.New("another record")

// merger reads the copies of one segment side by side, record by record: what any of them holds whole is there, so that
// copies of which none is whole are together a whole one. Open, Verify, healing and rewriting look at records through it.
type merger struct {
	readers []*segment.Reader // of each copy; nil: there is none

	header segment.RecordHeader // of the record that was read last, if of >= 0
	of     int                  // a copy that holds it; -1: none does
	errs   []error              // why a copy does not hold it: damage, errDiffers, or what the disk said
	heads  []segment.RecordHeader
}

// read reads the record at off, which should be number lsn (0: whatever it is), from every copy. If copies hold different
// whole ones, the one that most hold is taken; clear is false if there is no such one.
func (g *merger) read(off int64, lsn LSN) (found, clear bool) {
	n := len(g.readers)
	if len(g.errs) != n {
		g.errs, g.heads = make([]error, n), make([]segment.RecordHeader, n)
	}
	g.of = -1
	for i, r := range g.readers {
		g.errs[i] = nil
		if r == nil {
			continue
		}
		h, err := r.Record(off)
		if err == nil && lsn > 0 && h.LSN != lsn {
			err = fmt.Errorf("%w: record %d where %d should be", segment.ErrDamaged, h.LSN, lsn)
		}
		g.heads[i], g.errs[i] = h, err
	}
	g.of, clear = g.elect()
	if g.of < 0 {
		return false, true
	}
	g.header = g.heads[g.of]
	for i := range g.readers {
		if g.holds(i) && g.heads[i] != g.header {
			g.errs[i] = errDiffers
		}
	}
	return true, clear
}

// holds reports whether copy i has a whole record, before elect has compared it with that of others.
func (g *merger) holds(i int) bool { return g.readers[i] != nil && g.errs[i] == nil }

// elect returns the first copy whose record most copies hold.
func (g *merger) elect() (of int, clear bool) {
	of, most := -1, 0
	for i := range g.readers {
		if !g.holds(i) {
			continue
		}
		votes, first := 0, true
		for k := range g.readers {
			if g.holds(k) && g.heads[k] == g.heads[i] {
				votes++
				first = first && k >= i
			}
		}
		switch {
		case votes > most:
			of, most, clear = i, votes, true
		case votes == most && first:
			clear = false
		}
	}
	return of, clear
}

// unread returns the error of a copy that could not be read at all, so that nobody knows what it holds.
func (g *merger) unread() (copy int, err error) {
	for i, err := range g.errs {
		if err != nil && !errors.Is(err, segment.ErrDamaged) && err != errDiffers {
			return i, err
		}
	}
	return -1, nil
}
