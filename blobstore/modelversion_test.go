package blobstore

import (
	"cmp"
	"errors"
	"slices"

	"pagevault/blobstore/immutable"
	"pagevault/internal/azure/azerr"
)

// What TestModel knows of versions.

func versioningOn(o *AccountOptions) { o.Versioning = true }

func versionRef(name, version string) BlobRef {
	return BlobRef{Container: "cont", Blob: name, Version: version}
}

// ref names the state of a blob of that name.
func (s *modelState) ref(name string) BlobRef {
	if s.past {
		return versionRef(name, s.version)
	}
	return snap(name, s.id)
}

// key is the id of a snapshot or of a previous version.
func (s *modelState) key() string {
	if s.past {
		return s.version
	}
	return s.id
}

func sortStates(list []*modelState) {
	slices.SortFunc(list, func(x, y *modelState) int { return cmp.Compare(x.key(), y.key()) })
}

// states returns what can be read of a blob: snapshots and previous versions, then what it is now, if there is that.
func (m *model) states(name string) (list []*modelState) {
	if b := m.any(name); b != nil {
		list = append(list, b.snapshots...)
		list = append(list, b.versions...)
		sortStates(list)
	}
	if b := m.blobs[name]; b != nil {
		list = append(list, &b.modelState)
	}
	return list
}

// any returns what there is of a name: a blob, a deleted one, or versions only.
func (m *model) any(name string) *modelBlob {
	return cmp.Or(m.blobs[name], m.gone[name], m.vacant[name])
}

// nextID is the id that the next snapshot or version gets.
func (m *model) nextID(b *modelBlob) string {
	id := snapshotID(ticksAt(m.f.clock.Now()))
	if newest, ok := parseSnapshot(b.newest); ok {
		id = max(id, newest+1)
	}
	b.newest = id.String()
	return b.newest
}

func (m *model) nextVersion(b *modelBlob, got string) {
	b.version = ""
	if m.versioning {
		b.version = m.nextID(b)
	}
	if got != b.version {
		m.fatalf("version id %q, want %q", got, b.version)
	}
	m.now++ // so that what follows is later than the previous version
}

func (m *model) versioned(b *modelBlob) bool { return m.versioning || b.version != "" }

// keepVersion makes what the blob is now a previous version.
func (m *model) keepVersion(b *modelBlob) {
	s := b.modelState
	if s.version == "" {
		id := snapshotID(s.etag)
		if newest, ok := parseSnapshot(b.newest); ok {
			id = max(id, newest+1)
		}
		b.newest, s.version = id.String(), id.String()
	}
	s.id, s.past, s.at = "", true, m.now
	s.data, s.valid, s.touched = slices.Clone(b.data), slices.Clone(b.valid), slices.Clone(b.touched)
	b.versions = append(b.versions, &s)
	sortStates(b.versions)
	b.version = ""
	m.now++
	m.counts["previous version"]++
}

// vacate leaves of a blob what there is beside it.
func (m *model) vacate(name string, b *modelBlob) {
	b.modelState = modelState{etag: b.etag, created: b.created}
	if len(b.snapshots)+len(b.versions)+len(b.gone) > 0 {
		m.vacant[name] = b
	}
}

// dropBare forgets names of which nothing is left.
func (m *model) dropBare() {
	for name, b := range m.vacant {
		if len(b.snapshots)+len(b.versions)+len(b.gone) == 0 {
			delete(m.vacant, name)
			m.counts["last version gone"]++
		}
	}
}

func (m *model) switchVersioning(string, *modelBlob) {
	if !m.versions {
		return
	}
	m.versioning = !m.versioning
	m.tracef("versioning %v", m.versioning)
	m.reopen("", nil)
}

func (m *model) deleteVersion(name string, _ *modelBlob) {
	b := m.any(name)
	if b == nil || len(b.versions) == 0 {
		return
	}
	if b.version != "" && m.r.IntN(4) == 0 {
		err := m.f.DeleteBlob(versionRef(name, b.version), &Access{}, SnapshotsNone)
		m.outcome("delete current version", err, azerr.OperationNotAllowedOnRootBlob)
		return
	}
	i := m.r.IntN(len(b.versions))
	s := b.versions[i]
	m.tracef("delete version %s of %q", s.version, name)
	err := m.f.DeleteBlob(s.ref(name), &Access{}, SnapshotsNone)
	if !m.outcome("delete version", err, m.guard(s, immutable.Delete, nil)) {
		return
	}
	b.versions = slices.Delete(b.versions, i, i+1)
	if m.keep.days > 0 {
		b.keepSnapshot(s, m.deletion())
	}
	m.dropBare()
}

// checkPast looks at a version, and for an id as what it is not.
func (m *model) checkPast(name string) {
	m.f.t.Helper()
	b := m.any(name)
	if b == nil {
		return
	}
	if m.blobs[name] != nil && b.version != "" {
		got, err := m.f.BlobInfo(versionRef(name, b.version), &Access{})
		if err != nil || got.ETag != b.etag || !got.Current {
			m.fatalf("%q by its version id: %+v, %v", name, got, err)
		}
	}
	if len(b.versions) == 0 {
		return
	}
	s := b.versions[m.r.IntN(len(b.versions))]
	m.checkInfo(name, s)
	if n := len(s.data); n > 0 {
		m.checkBytes(name, s, 0, min(n, 5000))
	}
	if _, err := m.f.BlobInfo(snap(name, s.version), &Access{}); !errors.Is(err, azerr.BlobNotFound) {
		m.fatalf("%q@%s, which is a version: %v", name, s.version, err)
	}
	if len(b.snapshots) > 0 {
		if _, err := m.f.BlobInfo(versionRef(name, b.snapshots[0].id), &Access{}); !errors.Is(err, azerr.BlobNotFound) {
			m.fatalf("version %s of %q, which is a snapshot: %v", b.snapshots[0].id, name, err)
		}
	}
}

// vacantState stands in a list for a name of which there is no blob.
var vacantState = &modelState{}

// checkVacant puts into a list what it should show of a name of which there is no blob.
func (m *model) checkVacant(name string, want *[]ListItem) {
	etag := m.vacant[name].etag
	info := BlobInfo{Name: name, Vacant: true, Type: PageBlob, Stamp: Stamp{ETag: etag, LastModified: etag.Time()}, Created: m.vacant[name].created.Time()}
	*want = append(*want, ListItem{Blob: info})
}

func clonedState(s *modelState) *modelState {
	c := *s
	c.data, c.valid = slices.Clone(s.data), slices.Clone(s.valid)
	return &c
}
