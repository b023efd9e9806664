package pagestore

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/pagestore/pagemap"
)

// copy copies a frozen generation: to a new volume, with other things going on between the steps, which may take the
// source away, or over what a volume has.
func (m *modelTest) copy() {
	id, v := m.pick()
	if len(v.frozen) == 0 {
		m.update(func(tx *Tx) error { return m.freezeIn(tx, id, v) })
	}
	g := v.frozen[m.rng.IntN(len(v.frozen))].gen
	shown := maps.Clone(v.at(g))
	if to, dst := m.pick(); to != id && m.rng.IntN(3) == 0 {
		if err := m.s.Copy(m.t.Context(), to, id, g, nil); err != nil {
			m.t.Fatal(err)
		}
		dst.overlay(shown)
		return
	}
	var to VolumeID
	m.update(func(tx *Tx) error { to = tx.CreateVolume(); return nil })
	nested := []func(){m.write, m.clear, m.truncate, m.freeze, m.thaw, m.reap, m.scatter, m.drop, func() { foldAll(m.t, m.s) }}
	err := m.s.Copy(m.t.Context(), to, id, g, func(PageNo) {
		if m.rng.IntN(2) == 0 {
			nested[m.rng.IntN(len(nested))]()
			m.counts["while copying"]++
		}
	})
	if err != nil {
		there := m.volumes[id] != nil && v.at(g) != nil
		if there || !errors.Is(err, ErrNoVolume) && !errors.Is(err, ErrNoGeneration) {
			m.t.Fatalf("copy of volume %d, generation %d: %v", id, g, err)
		}
		m.counts["copies without an end"]++
		m.update(func(tx *Tx) error { return tx.Drop(to) })
		m.dropped = append(m.dropped, to)
		return
	}
	m.volumes[to] = &modelVolume{pages: shown, touched: make(map[PageNo]bool)}
	m.checkRead(to, m.volumes[to], GenHead, Range{0, m.size + 400})
	m.checkRanges(to, m.volumes[to], GenHead, AllPages)
}

// overlay replaces the pages of every region in which shown has any.
func (v *modelVolume) overlay(shown map[PageNo]modelPage) {
	regions := make(map[PageNo]bool)
	for no, p := range shown {
		if p.valid {
			regions[no/pagemap.RegionPages] = true
		}
	}
	for no := range v.pages {
		if regions[no/pagemap.RegionPages] {
			v.touched[no] = true
			delete(v.pages, no)
		}
	}
	for no, p := range shown {
		if p.valid {
			v.pages[no], v.touched[no] = p, true
		}
	}
}

// copy begins a copy, carries it out and ends it. A crash leaves any part of its steps.
func (w *storm) copy(next stormState, id VolumeID, v stormVolume) {
	w.count("copy")
	if len(v.frozen) == 0 {
		return
	}
	gens := slices.Sorted(maps.Keys(v.frozen))
	g := gens[w.rng.IntN(len(gens))]
	var to VolumeID
	w.update(next, func(tx *Tx) error {
		to = tx.CreateVolume()
		next[to] = stormVolume{head: &stormPicture{}, copying: v.frozen[g]}
		return nil
	})
	if err := w.s.Copy(context.Background(), to, id, g, nil); err != nil {
		w.t.Error(err)
		return
	}
	done := maps.Clone(next)
	done[to] = stormVolume{head: v.frozen[g]}
	w.update(done, func(tx *Tx) error { return nil })
}

// soFar returns what of a picture is in a volume to which it is being copied: any of its regions, each as a whole.
func (p *stormPicture) soFar(got *stormPicture) *stormPicture {
	part := &stormPicture{}
	for from := 0; from < stormPages; from += pagemap.RegionPages {
		to := min(from+pagemap.RegionPages, stormPages)
		if slices.Contains(got.valid[from:to], true) {
			copy(part.valid[from:to], p.valid[from:to])
			copy(part.data[from*PageSize:to*PageSize], p.data[from*PageSize:])
		}
	}
	return part
}

// TestCopyRefused: what cannot be copied is not, and nothing happens.
func TestCopyRefused(t *testing.T) {
	s := openTest(t, testOptions(vfs.NewMem(), 1))
	var a, b VolumeID
	var g Gen
	update(t, s, func(tx *Tx) (err error) {
		a, b = tx.CreateVolume(), tx.CreateVolume()
		g, err = tx.Freeze(a)
		return err
	})
	f := func(dst, src VolumeID, g Gen, want error) {
		t.Helper()
		if err := s.Copy(t.Context(), dst, src, g, nil); !errors.Is(err, want) {
			t.Errorf("copy of volume %d, generation %d, to %d: %v, want %v", src, g, dst, err, want)
		}
	}
	f(b, a, g, nil)
	f(b, a, g+5, ErrNoGeneration)
	f(b, a, GenHead, ErrNoGeneration)
	f(b, 99, g, ErrNoVolume)
	f(99, a, g, ErrNoVolume)
	if err := s.Copy(t.Context(), a, a, g, nil); err == nil {
		t.Error("a volume was copied onto itself")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Copy(ended, b, a, g, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("copy without time: %v", err)
	}
}

// TestCopySteps: a large copy is done in records of bounded work, stores no content, and shows the same.
func TestCopySteps(t *testing.T) {
	o := testOptions(vfs.NewMem(), 1)
	o.copyWork, o.passive = 7, true
	s := openTest(t, o)
	var src, dst VolumeID
	update(t, s, func(tx *Tx) error { src, dst = tx.CreateVolume(), tx.CreateVolume(); return nil })
	want := make([]byte, 100*pagemap.RegionBytes)
	for i := range 100 * pagemap.RegionPages {
		fillPage(want[i*PageSize:][:PageSize], uint64(i)|1)
	}
	c, err := s.Prepare(0, want)
	if err != nil {
		t.Fatal(err)
	}
	var g Gen
	update(t, s, func(tx *Tx) (err error) {
		if err := tx.Write(src, c); err != nil {
			return err
		}
		g, err = tx.Freeze(src)
		return err
	})
	c.Release()
	before := s.Stats()
	steps := 0
	if err := s.Copy(t.Context(), dst, src, g, func(PageNo) { steps++ }); err != nil {
		t.Fatal(err)
	}
	after := s.Stats()
	if steps != 15 || after.Records-before.Records != 15 {
		t.Errorf("%d steps, %d records", steps, after.Records-before.Records)
	}
	if after.StoredBytes != before.StoredBytes || after.LogicalBytes != before.LogicalBytes || after.MappedBytes != 2*before.MappedBytes {
		t.Errorf("from %+v to %+v", before.Counters, after.Counters)
	}
	wantRead(t, s, dst, GenHead, 0, want)
	update(t, s, func(tx *Tx) error { return tx.Drop(src) })
	if err := s.Maintain(t.Context(), MaintainOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	wantRead(t, s, dst, GenHead, 0, want)
	wantMark(t, s)
}
