package pagestore

import (
	"encoding/binary"
	"fmt"
	"math"
)

// erasure is a clear or a truncation kept as one row instead of being carried out region by region. An entry written in
// generation gen or before loses the pages [start, end) when it is read at a generation after gen. Reads at gen and
// before, so those of every generation frozen by then, are untouched.
type erasure struct {
	gen   Gen
	pages Range
}

// volumeRow is what is known of a volume beside its pages:
//
//	flags uvarint (1: dropped) · gen uvarint · frozen uvarint · written uvarint · erasures uvarint
//	· erasures × (gen uvarint · start page uvarint · end page uvarint)
//
// Erasures are sorted by gen and start; those of one gen neither overlap nor touch.
type volumeRow struct {
	dropped  bool // and its other rows not yet deleted
	gen      Gen  // the current one
	frozen   Gen  // the newest that has a generation row, 0: none. No read looks at a generation in (frozen, gen)
	written  Gen  // the last in which a page map entry was stored, 0: none
	erasures []erasure
}

const volumeDropped = 1 // flag of a volume

func appendVolumeRow(dst []byte, v *volumeRow) []byte {
	flags := uint64(0)
	if v.dropped {
		flags |= volumeDropped
	}
	for _, n := range [...]uint64{flags, uint64(v.gen), uint64(v.frozen), uint64(v.written), uint64(len(v.erasures))} {
		dst = binary.AppendUvarint(dst, n)
	}
	for _, e := range v.erasures {
		for _, n := range [...]uint64{uint64(e.gen), uint64(e.pages.Start), uint64(e.pages.End)} {
			dst = binary.AppendUvarint(dst, n)
		}
	}
	return dst
}

func decodeVolumeRow(v *volumeRow, p []byte) error {
	var flags, gen, frozen, written, n uint64
	p, err := uvarints(p, &flags, &gen, &frozen, &written, &n)
	if err != nil {
		return err
	}
	if flags > volumeDropped || gen == 0 || gen > math.MaxUint32 || frozen >= gen || written > gen {
		return fmt.Errorf("volume row: flags %#x, generation %d, frozen %d, written %d", flags, gen, frozen, written)
	}
	*v = volumeRow{dropped: flags != 0, gen: Gen(gen), frozen: Gen(frozen), written: Gen(written), erasures: v.erasures[:0]}
	for range n {
		var label, start, end uint64
		if p, err = uvarints(p, &label, &start, &end); err != nil {
			return err
		}
		if label >= gen || start >= end || end > uint64(maxPages) {
			return fmt.Errorf("volume row: erasure of [%d,%d) in generation %d of %d", start, end, label, gen)
		}
		v.erasures = append(v.erasures, erasure{Gen(label), Range{PageNo(start), PageNo(end)}})
	}
	if len(p) != 0 {
		return errRowCut
	}
	return nil
}
