package blobstore

import (
	"errors"
	"maps"
	"slices"
	"time"

	"pagevault/blobstore/immutable"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/xmlbody"
)

// What TestModel knows of things that are deleted and kept.

// setRetention has the service keep what is deleted for so many days, 0 for none.
func (f *fixture) setRetention(days int, permanent bool) {
	f.t.Helper()
	r := xmlbody.DeleteRetention{Retention: xmlbody.Retention{Enabled: days > 0, Days: days}, AllowPermanentDelete: permanent}
	ok(f.t, f.SetServiceProperties(&xmlbody.ServicePropertiesUpdate{DeleteRetention: &r}))
}

// due counts what the reaper should have removed.
func (f *fixture) due() int {
	f.t.Helper()
	return len(value(f.expired())(f.t))
}

// everything returns all blobs, deleted or not.
func (m *model) everything() (all []*modelBlob) {
	for _, name := range modelNames {
		for _, b := range []*modelBlob{m.blobs[name], m.gone[name]} {
			if b != nil {
				all = append(all, b)
			}
		}
	}
	return all
}

// deletion is that of something that is deleted now.
func (m *model) deletion() deletion {
	now := m.f.clock.Now()
	return deletion{ticksAt(now), ticksAt(now.Add(time.Duration(m.keep.days) * 24 * time.Hour))}
}

// expire forgets what is over its time.
func (m *model) expire() {
	now := ticksAt(m.f.clock.Now())
	for _, b := range slices.Concat(m.everything(), slices.Collect(maps.Values(m.vacant))) {
		b.gone = slices.DeleteFunc(b.gone, func(s *modelState) bool { return s.modelExpired(now) })
	}
	for name, b := range m.gone {
		if b.modelState.modelExpired(now) {
			m.counts["blob expired"]++
			delete(m.gone, name)
			if len(b.versions) > 0 || b.goneVersions() {
				m.vacate(name, b)
			}
		}
	}
	m.dropBare()
}

func (s *modelState) modelExpired(now ticks) bool { return s.gone.until <= now }

// keepSnapshot puts a snapshot with those that are deleted.
func (b *modelBlob) keepSnapshot(s *modelState, d deletion) {
	s.gone, s.locks = d, immutable.State{}
	b.gone = append(b.gone, s)
	sortStates(b.gone)
}

// goneSnapshots counts the snapshots that are deleted and kept.
func (b *modelBlob) goneSnapshots() (n int) {
	for _, s := range b.gone {
		if !s.past {
			n++
		}
	}
	return n
}

func (b *modelBlob) goneVersions() bool { return b.goneSnapshots() < len(b.gone) }

func (m *model) deletedSnapshots(b *modelBlob) {
	for _, s := range b.snapshots {
		if m.keep.days > 0 {
			b.keepSnapshot(s, m.deletion())
		}
	}
	b.snapshots = nil
}

func (m *model) deleted(name string, b *modelBlob) {
	delete(m.blobs, name)
	m.deletedSnapshots(b)
	if m.keep.days == 0 {
		b.gone = slices.DeleteFunc(b.gone, func(s *modelState) bool { return !s.past })
	}
	if m.versioned(b) {
		m.keepVersion(b)
		m.vacate(name, b)
		return
	}
	if m.keep.days == 0 {
		m.vacate(name, b)
		return
	}
	b.modelState.gone, b.modelState.locks = m.deletion(), immutable.State{}
	for _, s := range b.gone {
		if s.past {
			continue
		}
		b.modelState.gone.until = max(b.modelState.gone.until, s.gone.until)
	}
	m.gone[name] = b
}

// overwrite makes room for a new blob, and returns what survives of an old one.
func (m *model) overwrite(name string) *modelBlob {
	b, d := m.blobs[name], m.deletion()
	switch {
	case b == nil && m.vacant[name] != nil:
		b = m.vacant[name]
		delete(m.vacant, name)
		m.blobs[name] = b
		return b
	case b == nil:
		b = m.gone[name]
		delete(m.gone, name)
		if b != nil {
			d = b.modelState.gone
		}
	case m.versioned(b):
		m.keepVersion(b)
		return b
	case m.keep.days == 0:
		return b
	}
	if b == nil {
		b = &modelBlob{}
		m.blobs[name] = b
		return b
	}
	s := b.modelState
	s.id, s.at = m.nextID(b), m.now
	b.keepSnapshot(&s, d)
	b.modelState.gone = deletion{}
	m.blobs[name] = b
	m.now++ // so that what follows is later than the snapshot
	m.counts["overwritten and kept"]++
	return b
}

func (m *model) undelete(name string, b *modelBlob) {
	m.tracef("undelete %q", name)
	err := m.f.UndeleteBlob(ref(name))
	gone := m.gone[name]
	if left := m.vacant[name]; b == nil && left != nil && len(left.gone) > 0 {
		m.outcome("undelete versions", err, nil)
		left.undeleteAll()
		return
	}
	if b == nil && gone == nil {
		m.outcome("undelete", err, azerr.BlobNotFound)
		return
	}
	if b == nil {
		b = gone
		m.outcome("undelete blob", err, nil)
		b.modelState.gone = deletion{}
		delete(m.gone, name)
		m.blobs[name] = b
		info, err := m.f.BlobInfo(ref(name), &Access{})
		if err != nil {
			m.fatalf("after undelete: %v", err)
		}
		m.written(b, info.ETag)
	} else {
		m.outcome("undelete snapshots", err, nil)
	}
	b.undeleteAll()
}

func (b *modelBlob) undeleteAll() {
	for _, s := range b.gone {
		s.gone = deletion{}
		if s.past {
			b.versions = append(b.versions, s)
		} else {
			b.snapshots = append(b.snapshots, s)
		}
	}
	b.gone = nil
	sortStates(b.snapshots)
	sortStates(b.versions)
}

func (m *model) deleteForGood(name string, b *modelBlob) {
	if b == nil {
		b = m.any(name)
	}
	if b == nil || len(b.gone) == 0 {
		return
	}
	i := m.r.IntN(len(b.gone))
	m.tracef("delete %s of %q for good", b.gone[i].key(), name)
	var want error
	if !m.keep.permanent {
		want = azerr.PermanentDeleteNotPermitted
	}
	_, err := m.f.Delete(b.gone[i].ref(name), &DeleteBlob{Permanent: true})
	if m.outcome("delete for good", err, want) {
		b.gone = slices.Delete(b.gone, i, i+1)
		m.dropBare()
	}
}

func (m *model) setPolicy(string, *modelBlob) {
	m.keep = keepPolicy{days: m.r.IntN(5), permanent: m.r.IntN(2) == 0}
	m.tracef("keep %+v", m.keep)
	m.f.setRetention(m.keep.days, m.keep.permanent)
}

// checkGone looks for something deleted, which nobody finds.
func (m *model) checkGone(name string) {
	m.f.t.Helper()
	for _, b := range []*modelBlob{m.any(name)} {
		if b == nil || len(b.gone) == 0 {
			continue
		}
		s := b.gone[m.r.IntN(len(b.gone))]
		if _, err := m.f.BlobInfo(s.ref(name), &Access{}); !errors.Is(err, azerr.BlobNotFound) {
			m.fatalf("%q@%s, which is deleted: got %v, want BlobNotFound", name, s.key(), err)
		}
	}
}

// listed returns what a list should show of a name, in order.
func (m *model) listed(name string, req *ListBlobsRequest) (list []*modelState) {
	b := m.any(name)
	if b == nil {
		return nil
	}
	list = append(list, b.snapshots...)
	list = append(list, b.versions...)
	if req.Deleted {
		list = append(list, b.gone...)
	}
	list = slices.DeleteFunc(list, func(s *modelState) bool { return s.past && !req.Versions || !s.past && !req.Snapshots })
	sortStates(list)
	switch {
	case m.vacant[name] != nil:
		if req.Vacant {
			list = append(list, vacantState)
		}
	case b.modelState.gone.at == 0 || req.Deleted:
		list = append(list, &b.modelState)
	}
	return list
}
