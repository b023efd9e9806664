package pagestore

import (
	"context"
	"fmt"

	"pagevault/pagestore/pagemap"
)

// A copy shares content: the entries of one volume's page map are written into another's, so that both refer to the same
// blocks, and from then on each goes its own way. No content is read or stored. It is done in records of bounded work, as
// a pass is, so that nobody waits long for one of them; the source is a frozen generation, which does not change meanwhile.

const (
	// copyWork bounds the entries that one record of a copy writes: some milliseconds of the goroutine that applies.
	copyWork = 1024
	// copyWorkBusy is that bound while others wait for their records to be applied.
	copyWorkBusy = 128
	// copyLook bounds the entries looked at in one step, empty ones too.
	copyLook = 1 << 16
)

// Copy makes the pages of a frozen generation of src those of dst, which should be a new volume that nobody else writes
// to: a region in which the generation shows any page is replaced as a whole, and others stay as they are.
//
// It is not one update but several, between which others run, and a view shows what is there so far. progress, if it is
// not nil, is told after each of them up to which page all was copied. After an error or a crash a part of the pages may
// have been copied; doing it again does no harm. Errors, beside those of Update: that of ctx; ErrNoVolume and
// ErrNoGeneration if one of them is not there, or not any more.
func (s *Store) Copy(ctx context.Context, dst, src VolumeID, g Gen, progress func(PageNo)) error {
	for from := uint64(0); from < maxRegions; {
		if err := ctx.Err(); err != nil {
			return err
		}
		step, err := s.planCopy(src, g, from)
		if err != nil {
			return err
		}
		if err := s.Update(func(tx *Tx) error { return tx.copyRegions(dst, src, g, step) }); err != nil {
			return err
		}
		from = step.next
		if progress != nil {
			progress(PageNo(from * pagemap.RegionPages))
		}
	}
	return nil
}

// planCopy looks which regions from the given one on can be copied by one record.
func (s *Store) planCopy(src VolumeID, g Gen, from uint64) (step passStep, err error) {
	v, err := s.View()
	if err != nil {
		return step, err
	}
	defer v.Close()
	var row volumeRow
	at, err := v.volume(src, g, &row)
	if err != nil {
		return step, err
	}
	enough := s.o.copyWork
	if s.flight.busy() {
		enough = min(enough, copyWorkBusy)
	}
	var r regionIter
	if err := r.open(v.snap, src, &row, at, Range{PageNo(from * pagemap.RegionPages), maxPages}); err != nil {
		return step, err
	}
	defer r.close()
	step.from, step.to, step.next = from, from, maxRegions
	for looked, work := 0, 0; ; looked++ {
		ok, err := r.next()
		if !ok || err != nil {
			return step, err
		}
		if looked == copyLook || work == enough {
			step.next = r.no
			return step, nil
		}
		if len(r.entry) > 0 {
			work, step.to = work+1, r.no+1
		}
	}
}

// copyRegions adds one step of a copy. It is the only operation of its update.
func (tx *Tx) copyRegions(dst, src VolumeID, g Gen, step passStep) error {
	if dst == src {
		return fmt.Errorf("volume %d: copied onto itself", dst)
	}
	if err := tx.exists(dst); err != nil {
		return err
	}
	if err := tx.exists(src); err != nil {
		return err
	}
	frozen, err := tx.isFrozen(generation{src, g})
	if err == nil && !frozen {
		err = fmt.Errorf("volume %d, generation %d: %w", src, g, ErrNoGeneration)
	}
	if err != nil || step.from == step.to {
		return err
	}
	tx.add(appendCopyOp(tx.buf, dst, src, g, step.from, step.to))
	return nil
}
