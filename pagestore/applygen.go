package pagestore

import (
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// freeze ends the current generation of a volume, which can be read from now on.
func (a *applier) freeze(id VolumeID, v *volumeState) error {
	a.key = appendGenerationKey(a.key[:0], id, v.gen)
	if err := a.batch.Set(a.key, nil, nil); err != nil {
		return err
	}
	v.frozenGens = append(v.frozenGens, v.gen)
	v.frozen, v.gen, v.dirty = v.gen, v.gen+1, true
	return nil
}

// thaw lets go of a frozen generation. What only it showed goes when a pass comes by.
func (a *applier) thaw(o *op, v *volumeState) error {
	if err := a.listGenerations(o.volume, v); err != nil {
		return err
	}
	i, found := slices.BinarySearch(v.frozenGens, o.gen)
	if !found {
		return fmt.Errorf("%w: volume %d, thaw of generation %d: %w", ErrCorrupt, o.volume, o.gen, ErrNoGeneration)
	}
	v.frozenGens = slices.Delete(v.frozenGens, i, i+1)
	v.frozen, v.dirty = 0, true
	if n := len(v.frozenGens); n > 0 {
		v.frozen = v.frozenGens[n-1]
	}
	a.key = appendGenerationKey(a.key[:0], o.volume, o.gen)
	if err := a.batch.Delete(a.key, nil); err != nil {
		return err
	}
	return a.due(o.volume)
}

// listGenerations completes v.frozenGens.
func (a *applier) listGenerations(id VolumeID, v *volumeState) (err error) {
	if v.listed {
		return nil
	}
	added := v.frozenGens
	if v.frozenGens, err = readGenerations(a.db, id); err != nil {
		return err
	}
	v.frozenGens, v.listed = append(v.frozenGens, added...), true
	return nil
}

// readGenerations returns the frozen generations of a volume, ascending.
func readGenerations(from reader, id VolumeID) (gens []Gen, err error) {
	it, err := from.NewIter(&pebble.IterOptions{
		LowerBound: appendVolumePrefix(nil, rowGeneration, id),
		UpperBound: appendVolumePrefix(nil, rowGeneration, id+1),
	})
	if err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		_, g, err := decodeGenerationKey(it.Key())
		if err != nil {
			return nil, fmt.Errorf("%w: index: %w", ErrCorrupt, err)
		}
		gens = append(gens, g)
	}
	return gens, it.Error()
}

// drop ends a volume. Its rows stay, for passes to delete little by little: each entry has to be known, to keep account
// of what it refers to.
func (a *applier) drop(id VolumeID, v *volumeState) error {
	v.gone, v.dropped, v.dirty = true, true, true
	return a.due(id)
}

// due records that the record being applied makes a pass over the volume necessary.
func (a *applier) due(id VolumeID) error {
	a.passDue = true
	a.key = appendPassKey(a.key[:0], id)
	a.value = appendPassRow(a.value[:0], a.state.applied+1)
	return a.batch.Set(a.key, a.value, nil)
}
