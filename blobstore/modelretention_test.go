package blobstore

import (
	"cmp"
	"errors"
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
	for _, b := range m.everything() {
		b.gone = slices.DeleteFunc(b.gone, func(s *modelState) bool { return s.modelExpired(now) })
	}
	for name, b := range m.gone {
		if b.modelState.modelExpired(now) {
			m.counts["blob expired"]++
			delete(m.gone, name)
		}
	}
}

func (s *modelState) modelExpired(now ticks) bool { return s.gone.until <= now }

// keepSnapshot puts a snapshot with those that are deleted.
func (b *modelBlob) keepSnapshot(s *modelState, d deletion) {
	s.gone, s.locks = d, immutable.State{}
	b.gone = append(b.gone, s)
	slices.SortFunc(b.gone, func(x, y *modelState) int { return cmp.Compare(x.id, y.id) })
}

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
	if m.keep.days == 0 {
		return
	}
	m.deletedSnapshots(b)
	b.modelState.gone, b.modelState.locks = m.deletion(), immutable.State{}
	for _, s := range b.gone {
		b.modelState.gone.until = max(b.modelState.gone.until, s.gone.until)
	}
	m.gone[name] = b
}

// overwrite makes room for a new blob, and returns what survives of an old one.
func (m *model) overwrite(name string) *modelBlob {
	b, d := m.blobs[name], m.deletion()
	if b == nil {
		b = m.gone[name]
		delete(m.gone, name)
		if b != nil {
			d = b.modelState.gone
		}
	} else if m.keep.days == 0 {
		return b
	}
	if b == nil {
		b = &modelBlob{}
		m.blobs[name] = b
		return b
	}
	s := b.modelState
	id := snapshotID(ticksAt(m.f.clock.Now()))
	if newest, ok := parseSnapshot(b.newest); ok {
		id = max(id, newest+1)
	}
	s.id, s.at, b.newest = id.String(), m.now, id.String()
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
	for _, s := range b.gone {
		s.gone = deletion{}
		b.snapshots = append(b.snapshots, s)
	}
	b.gone = nil
	slices.SortFunc(b.snapshots, func(x, y *modelState) int { return cmp.Compare(x.id, y.id) })
}

func (m *model) deleteForGood(name string, b *modelBlob) {
	if b == nil {
		b = m.gone[name]
	}
	if b == nil || len(b.gone) == 0 {
		return
	}
	i := m.r.IntN(len(b.gone))
	m.tracef("delete snapshot %s of %q for good", b.gone[i].id, name)
	var want error
	if !m.keep.permanent {
		want = azerr.PermanentDeleteNotPermitted
	}
	_, err := m.f.Delete(snap(name, b.gone[i].id), &DeleteBlob{Permanent: true})
	if m.outcome("delete for good", err, want) {
		b.gone = slices.Delete(b.gone, i, i+1)
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
	for _, b := range []*modelBlob{m.blobs[name], m.gone[name]} {
		if b == nil || len(b.gone) == 0 {
			continue
		}
		s := b.gone[m.r.IntN(len(b.gone))]
		if _, err := m.f.BlobInfo(snap(name, s.id), &Access{}); !errors.Is(err, azerr.BlobNotFound) {
			m.fatalf("%q@%s, which is deleted: got %v, want BlobNotFound", name, s.id, err)
		}
	}
}

// listed returns what a list should show of a name, in order.
func (m *model) listed(name string, req *ListBlobsRequest) (list []*modelState) {
	for _, b := range []*modelBlob{m.blobs[name], m.gone[name]} {
		if b == nil {
			continue
		}
		if req.Snapshots {
			list = append(list, b.snapshots...)
			if req.Deleted {
				list = append(list, b.gone...)
			}
			slices.SortFunc(list, func(x, y *modelState) int { return cmp.Compare(x.id, y.id) })
		}
		if b.modelState.gone.at == 0 || req.Deleted {
			list = append(list, &b.modelState)
		}
	}
	return list
}
