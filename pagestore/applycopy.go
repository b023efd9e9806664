package pagestore

import (
	"fmt"

	"pagevault/pagestore/pagemap"
)

// copy carries out one step of a copy. The batch is empty before it, so that the rows are those in the database. The
// source is frozen, and stays so until the record that thaws or drops it, which comes after this one; passes and folds
// change how its entries are kept, and not what they show.
//
// No block comes to life here: each that an entry written here refers to is referred to by the entry it is copied from.
func (a *applier) copy(o *op) error {
	if !a.alone || len(a.decoder.p) > 0 {
		return fmt.Errorf("%w: copy beside other operations", ErrCorrupt)
	}
	v, err := a.volume(o.volume)
	if err != nil {
		return err
	}
	var row volumeRow
	ok, err := readVolume(a.db, o.source, &row)
	if err == nil && ok {
		ok, err = readFrozen(a.db, generation{o.source, o.gen})
	}
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("%w: copy of generation %d of volume %d, which is not there", ErrCorrupt, o.gen, o.source)
	}
	var r regionIter
	pages := Range{PageNo(o.region * pagemap.RegionPages), PageNo(o.end * pagemap.RegionPages)}
	if err := r.open(a.db, o.source, &row, o.gen, pages); err != nil {
		return err
	}
	defer r.close()
	for {
		ok, err := r.next()
		if !ok || err != nil {
			return err
		}
		if len(r.entry) == 0 {
			continue
		}
		if err := a.set(regionKey{o.volume, r.no}, v, r.entry, pagemap.Span(0, pagemap.RegionPages)); err != nil {
			return err
		}
	}
}
