package blobstore

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/blobstore/immutable"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/cond"
	"pagevault/internal/azure/header"
	"pagevault/internal/testkit"
	"pagevault/pagestore"
)

// TestModel makes random requests to a service and, side by side, to a model of plain byte slices, and compares what can
// be seen of them: a little after each request, everything from time to time. What is stored is checked as a whole at the
// end and each time it was opened again. PAGEVAULT_MODEL_OPS sets how many requests there are in all, over stores of
// several shapes; PAGEVAULT_SEED replays a run.
func TestModel(t *testing.T) {
	ops := testkit.Scale(t, "PAGEVAULT_MODEL_OPS", modelOps)
	seed := testkit.Seed(t)
	shapes := []struct {
		name      string
		immutable bool // blobs can be protected
		versions  bool // there is versioning, switched off now and then
		tune      func(o *pagestore.Options)
	}{
		{"defaults", false, false, func(o *pagestore.Options) { o.MemTableBytes = 0 }},
		{"small segments, immutable storage", true, false, func(o *pagestore.Options) { o.Log.SegmentBytes, o.MemTableBytes = 256<<10, 1<<20 }},
		{"small segments, versions", false, true, func(o *pagestore.Options) { o.Log.SegmentBytes, o.MemTableBytes = 256<<10, 1<<20 }},
		{"one member, tiny memtable", false, false, func(o *pagestore.Options) {
			o.Members, o.MemTableBytes = o.Members[:1], 128<<10
		}},
		{"one member, every record a segment, immutable storage", true, false, func(o *pagestore.Options) {
			o.Members, o.Log.SegmentBytes, o.MemTableBytes = o.Members[:1], 4096, 512<<10
		}},
		{"one member, tiny memtable, immutable storage, versions", true, true, func(o *pagestore.Options) {
			o.Members, o.MemTableBytes = o.Members[:1], 128<<10
		}},
	}
	for i, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			f := newBareFixture(t, shape.tune)
			m := newModel(f, rand.New(rand.NewPCG(seed, uint64(i))))
			m.immutable, m.versions, m.versioning = shape.immutable, shape.versions, shape.versions
			f.with = m.options
			f.reopen()
			for range ops / len(shapes) {
				m.step()
			}
			m.checkAll()
			m.checkStore("at the end")
			m.report()
		})
	}
}

const (
	modelPagesMax     = 3 * 128 // three regions of 64 KiB
	modelSnapshotsMax = 5       // of a blob, and as many previous versions, beyond which these are deleted
	modelFullEvery    = 150     // requests between full checks, on average
)

// modelState is a blob or a snapshot of one.
type modelState struct {
	id       string // of a snapshot
	version  string // id of the version that it is; "": it has none
	past     bool   // it is a previous version
	data     []byte
	valid    []bool // by page
	touched  []int  // by page: when it was last written or cleared, in requests
	at       int    // when the snapshot was taken, in requests
	volume   int    // which making of the blob this is of
	etag     cond.ETag
	created  cond.ETag
	sequence int64
	headers  HTTPHeaders
	meta     []header.Pair
	copied   *CopyInfo // nil unless it says so
	locks    immutable.State
	gone     deletion // set: it is deleted and kept
}

type modelBlob struct {
	modelState
	snapshots []*modelState // oldest first
	versions  []*modelState // previous ones, oldest first
	newest    string        // id of the newest snapshot or version there ever was
	gone      []*modelState // snapshots and versions that are deleted and kept, oldest first
}

// model is the expected state of a service, and the service.
type model struct {
	f      *fixture
	r      *rand.Rand
	now    int // requests so far
	blobs  map[string]*modelBlob
	gone   map[string]*modelBlob // that are deleted and kept
	vacant map[string]*modelBlob // of which there is only what they have left
	keep   keepPolicy
	pool   [][]byte       // chunks of 4 KiB that content is drawn from
	newest cond.ETag      // since the store was opened
	trace  []string       // the last requests
	counts map[string]int // requests by kind and outcome

	immutable  bool // blobs can be protected
	versions   bool // versioning is switched on and off
	versioning bool // it is on
}

var modelNames = []string{"a", "a/b", "disk.vhd", "\x00\xff"}

func newModel(f *fixture, r *rand.Rand) *model {
	m := &model{f: f, r: r, blobs: map[string]*modelBlob{}, gone: map[string]*modelBlob{}, vacant: map[string]*modelBlob{}, counts: map[string]int{}}
	for range 12 {
		chunk := make([]byte, 4096)
		for i := range chunk {
			chunk[i] = byte(r.Uint32())
		}
		m.pool = append(m.pool, chunk)
	}
	m.pool = append(m.pool, make([]byte, 4096)) // zeros
	mixed := slices.Clone(m.pool[0])
	clear(mixed[1024:2048])
	m.pool = append(m.pool, mixed)
	must(f.t)(f.CreateContainer("cont", nil))
	return m
}

func (m *model) options(o *AccountOptions) {
	o.Immutable.All, o.Versioning = m.immutable, m.versioning
}

// fatalf ends the test with the last requests.
func (m *model) fatalf(format string, args ...any) {
	m.f.t.Helper()
	m.f.t.Fatalf("request %d: %s\nthe last requests:\n  %s", m.now, fmt.Sprintf(format, args...), strings.Join(m.trace, "\n  "))
}

func (m *model) tracef(format string, args ...any) {
	m.trace = append(m.trace, fmt.Sprintf("%d: ", m.now)+fmt.Sprintf(format, args...))
	if len(m.trace) > 25 {
		m.trace = m.trace[1:]
	}
}

// outcome notes the outcome of a request; want is nil for success.
func (m *model) outcome(kind string, err, want error) bool {
	m.f.t.Helper()
	if want == nil && err != nil || want != nil && !errors.Is(err, want) {
		m.fatalf("%s: got %v, want %v", kind, err, want)
	}
	if want != nil {
		kind += " " + want.(azerr.Code).Wire()
	}
	m.counts[kind]++
	return want == nil
}

func (m *model) report() {
	var lines []string
	for kind, n := range m.counts {
		lines = append(lines, fmt.Sprintf("%s: %d", kind, n))
	}
	slices.Sort(lines)
	m.f.t.Logf("%d requests: %s", m.now, strings.Join(lines, ", "))
}

// step makes one request and looks at what it should have touched.
func (m *model) step() {
	m.now++
	if m.r.IntN(4) == 0 {
		m.f.clock.Advance(time.Duration(m.r.IntN(int(3 * time.Second))))
	}
	if m.r.IntN(60) == 0 {
		m.f.clock.Advance(time.Duration(m.r.IntN(int(30 * time.Hour))))
	}
	m.expire()
	name := modelNames[m.r.IntN(len(modelNames))]
	acts := []struct {
		weight int
		do     func(name string, b *modelBlob)
	}{
		{400, m.put}, {120, m.clear}, {60, m.resize}, {50, m.snapshot}, {25, m.copy}, {40, m.deleteSnapshot}, {20, m.delete},
		{12, m.create}, {30, m.setSequence}, {30, m.setMetadata}, {30, m.setHeaders},
		{16, m.undelete}, {10, m.deleteForGood}, {4, m.setPolicy},
		{m.protectWeight(), m.protect}, {2, m.reopen}, {2, m.crash}, {4, m.switchVersioning}, {40, m.deleteVersion}, {1, m.reopenWithoutIndex}, {1, m.recreateContainer},
	}
	pick := 0
	for _, a := range acts {
		pick += a.weight
	}
	pick = m.r.IntN(pick)
	for _, a := range acts {
		if pick -= a.weight; pick < 0 {
			a.do(name, m.blobs[name])
			break
		}
	}
	m.checkSome(name)
	if m.r.IntN(modelFullEvery) == 0 {
		m.checkAll()
	}
}

// pageRange draws pages within [0, n), mostly few, sometimes aligned to chunks or regions. n is not 0.
func (m *model) pageRange(n int) (from, to int) {
	length := 1 + m.r.IntN([]int{4, 16, 64, 256, 400}[m.r.IntN(5)])
	from = m.r.IntN(n)
	switch m.r.IntN(4) {
	case 0:
		from, length = from&^7, (length+7)&^7
	case 1:
		if m.r.IntN(4) == 0 {
			from, length = from&^127, 128
		}
	}
	return from, min(from+length, n)
}

// content draws bytes for pages [from, to), by which chunks and regions repeat now and then.
func (m *model) content(from, to int) []byte {
	p := make([]byte, 0, (to-from)*PageSize)
	k, same := m.r.IntN(len(m.pool)), m.r.IntN(3) == 0
	shift := []int{0, 0, 0, 1, 5}[m.r.IntN(5)]
	for page := from; page < to; page++ {
		if page%8 == 0 && !same {
			k = m.r.IntN(len(m.pool))
		}
		at := (page + shift) % 8 * PageSize
		p = append(p, m.pool[k][at:at+PageSize]...)
	}
	return p
}

// expect draws what a write of pages says it expects: mostly nothing, else a condition that holds or does not.
func (m *model) expect(b *modelBlob) (acc Access, seq cond.Sequence, want error) {
	t := m.f.t
	switch m.r.IntN(16) {
	case 0:
		return with(t, "If-Match", b.etag.String()), seq, nil
	case 1:
		return with(t, "If-Match", (b.etag - 1).String()), seq, azerr.ConditionNotMet
	case 2:
		return with(t, "If-None-Match", b.etag.String()), seq, azerr.ConditionNotMet
	case 3:
		return acc, sequence(t, "eq", fmt.Sprint(b.sequence)), nil
	case 4:
		return acc, sequence(t, "lt", fmt.Sprint(b.sequence)), azerr.SequenceNumberConditionNotMet
	case 5:
		return holding("no-such-lease"), seq, azerr.LeaseNotPresentWithBlobOperation
	}
	return acc, seq, nil
}

// written notes that a change of b got a new entity tag.
func (m *model) written(b *modelBlob, etag cond.ETag) {
	if etag <= b.etag || etag <= m.newest {
		m.fatalf("entity tag %v after the blob's %v and anybody's %v", etag, b.etag, m.newest)
	}
	m.newest, b.etag = etag, etag
}

func (m *model) put(name string, b *modelBlob) {
	if b == nil && m.gone[name] != nil {
		switch m.r.IntN(8) {
		case 0:
			m.undelete(name, b)
			return
		case 1:
		default: // let it be, for time to go by
			m.f.clock.Advance(time.Duration(m.r.IntN(int(2 * time.Hour))))
			m.expire()
			return
		}
	}
	if b == nil && m.vacant[name] != nil && m.r.IntN(3) > 0 {
		m.deleteVersion(name, b)
		return
	}
	if b == nil && m.r.IntN(3) > 0 {
		m.create(name, b)
		return
	}
	if b == nil {
		m.tracef("put to %q, which is missing", name)
		_, err := m.f.PutPages(ref(name), putReq(0, 1, 'x'))
		m.outcome("put", err, azerr.BlobNotFound)
		return
	}
	n := len(b.valid)
	if n == 0 || m.r.IntN(40) == 0 {
		m.tracef("put past the end of %q", name)
		_, err := m.f.PutPages(ref(name), putReq(int64(n), int64(n)+1, 'x'))
		m.outcome("put", err, m.guard(&b.modelState, immutable.Modify, azerr.InvalidPageRange))
		return
	}
	from, to := m.pageRange(n)
	body := m.content(from, to)
	acc, seq, want := m.expect(b)
	want = m.guard(&b.modelState, immutable.Modify, want)
	m.tracef("put %q pages [%d,%d), want %v", name, from, to, want)
	got, err := m.f.PutPages(ref(name), &PutPages{Access: acc, Sequence: seq, Range: bytesOf(from, to), Body: body})
	if !m.outcome("put", err, want) {
		return
	}
	m.written(b, got.ETag)
	copy(b.data[from*PageSize:], body)
	b.touch(from, to, true, m.now)
}

func bytesOf(from, to int) header.Range {
	return header.Range{Start: int64(from) * PageSize, End: int64(to) * PageSize}
}

func (s *modelState) touch(from, to int, valid bool, now int) {
	for p := from; p < to; p++ {
		s.valid[p], s.touched[p] = valid, now
	}
}

func (m *model) clear(name string, b *modelBlob) {
	if b == nil || len(b.valid) == 0 {
		m.put(name, b)
		return
	}
	from, to := m.pageRange(len(b.valid))
	if m.r.IntN(12) == 0 {
		from, to = 0, len(b.valid)
	}
	acc, seq, want := m.expect(b)
	want = m.guard(&b.modelState, immutable.Modify, want)
	m.tracef("clear %q pages [%d,%d), want %v", name, from, to, want)
	got, err := m.f.ClearPages(ref(name), &ClearPages{Access: acc, Sequence: seq, Range: bytesOf(from, to)})
	if !m.outcome("clear", err, want) {
		return
	}
	m.written(b, got.ETag)
	clear(b.data[from*PageSize : to*PageSize])
	b.touch(from, to, false, m.now)
}

func (m *model) resize(name string, b *modelBlob) {
	if b == nil {
		return
	}
	n := m.r.IntN(modelPagesMax)
	if m.r.IntN(6) == 0 {
		n = 0
	}
	m.tracef("resize %q from %d to %d pages", name, len(b.valid), n)
	got, err := m.f.SetBlobProperties(ref(name), &SetProperties{Size: Given(int64(n) * PageSize)})
	if !m.outcome("resize", err, m.guard(&b.modelState, immutable.Modify, nil)) {
		return
	}
	b.copied = nil
	m.written(b, got.ETag)
	for len(b.valid) < n {
		b.valid, b.touched, b.data = append(b.valid, false), append(b.touched, m.now), append(b.data, make([]byte, PageSize)...)
	}
	b.valid, b.touched, b.data = b.valid[:n:n], b.touched[:n:n], b.data[:n*PageSize:n*PageSize]
}

func (m *model) snapshot(name string, b *modelBlob) {
	if b == nil || len(b.snapshots) == modelSnapshotsMax {
		m.deleteSnapshot(name, b)
		return
	}
	var meta []header.Pair
	if m.r.IntN(4) == 0 {
		meta = []header.Pair{{Name: "snap", Value: fmt.Sprint(m.now)}}
	}
	m.tracef("snapshot %q", name)
	got, err := m.f.SnapshotBlob(ref(name), &Access{}, meta)
	m.outcome("snapshot", err, nil)
	if got.Snapshot <= b.newest {
		m.fatalf("snapshot %s after %s", got.Snapshot, b.newest)
	}
	if want := m.nextID(b); got.Snapshot != want {
		m.fatalf("snapshot %s, want %s", got.Snapshot, want)
	}
	s := b.modelState
	s.locks, s.version = immutable.State{}, ""
	s.id, s.at, b.newest = got.Snapshot, m.now, got.Snapshot
	s.data, s.valid, s.touched = slices.Clone(b.data), slices.Clone(b.valid), slices.Clone(b.touched)
	if meta != nil {
		if got.ETag <= m.newest {
			m.fatalf("entity tag %v after %v", got.ETag, m.newest)
		}
		s.meta, s.etag, m.newest = meta, got.ETag, got.ETag
	} else if got.ETag != b.etag {
		m.fatalf("a snapshot without metadata has entity tag %v, the blob %v", got.ETag, b.etag)
	}
	b.snapshots = append(b.snapshots, &s)
	if m.versioning {
		m.keepVersion(b)
		m.nextVersion(b, got.Version)
	} else if got.Version != "" {
		m.fatalf("a snapshot without versioning has made version %q", got.Version)
	}
	m.now++ // so that what follows is later than the snapshot
}

func (m *model) deleteSnapshot(name string, b *modelBlob) {
	if b == nil {
		b = m.vacant[name]
	}
	if b == nil || len(b.snapshots) == 0 {
		m.tracef("delete an unknown snapshot of %q", name)
		err := m.f.DeleteBlob(snap(name, "2020-01-01T00:00:00.0000000Z"), &Access{}, SnapshotsNone)
		m.outcome("delete snapshot", err, azerr.BlobNotFound)
		return
	}
	i := m.r.IntN(len(b.snapshots))
	m.tracef("delete snapshot %d of %q", i, name)
	err := m.f.DeleteBlob(snap(name, b.snapshots[i].id), &Access{}, SnapshotsNone)
	if !m.outcome("delete snapshot", err, m.guard(b.snapshots[i], immutable.Delete, nil)) {
		return
	}
	if m.keep.days > 0 {
		b.keepSnapshot(b.snapshots[i], m.deletion())
	}
	b.snapshots = slices.Delete(b.snapshots, i, i+1)
	m.dropBare()
}

func (m *model) delete(name string, b *modelBlob) {
	mode := DeleteSnapshots(m.r.IntN(3))
	m.tracef("delete %q %v", name, mode)
	err := m.f.DeleteBlob(ref(name), &Access{}, mode)
	switch {
	case b == nil:
		m.outcome("delete", err, azerr.BlobNotFound)
	case mode != SnapshotsOnly && !m.versioning && m.guard(&b.modelState, immutable.Delete, nil) != nil:
		m.outcome("delete", err, azerr.BlobImmutableDueToPolicy)
	case mode != SnapshotsNone && slices.ContainsFunc(b.snapshots, func(s *modelState) bool { return m.guard(s, immutable.Delete, nil) != nil }):
		m.outcome("delete with snapshots", err, azerr.BlobImmutableDueToPolicy)
	case mode == SnapshotsNone && (len(b.snapshots) > 0 || m.keep.days == 0 && b.goneSnapshots() > 0):
		m.outcome("delete", err, azerr.SnapshotsPresent)
	case mode == SnapshotsOnly:
		m.outcome("delete only snapshots", err, nil)
		m.deletedSnapshots(b)
	default:
		m.outcome("delete", err, nil)
		m.deleted(name, b)
	}
}

func (m *model) create(name string, b *modelBlob) {
	n := m.r.IntN(modelPagesMax)
	req := &CreatePageBlob{
		Size:        int64(n) * PageSize,
		Sequence:    int64(m.r.IntN(3)),
		HTTPHeaders: HTTPHeaders{ContentType: "x/" + fmt.Sprint(m.now)},
		Metadata:    []header.Pair{{Name: "made", Value: fmt.Sprint(m.now)}}[:m.r.IntN(2)],
	}
	var want error
	if b != nil && !m.versioning {
		want = m.guard(&b.modelState, immutable.Replace, nil)
	}
	if m.r.IntN(3) == 0 {
		req.Access = with(m.f.t, "If-None-Match", "*")
		if b != nil {
			want = azerr.BlobAlreadyExists
		}
	}
	m.tracef("create %q with %d pages, want %v", name, n, want)
	got, err := m.f.CreatePageBlob(ref(name), req)
	if !m.outcome("create", err, want) {
		return
	}
	b = m.overwrite(name)
	b.modelState = modelState{
		etag: b.etag, data: make([]byte, n*PageSize), valid: make([]bool, n), touched: make([]int, n),
		volume: m.now, created: got.ETag, sequence: req.Sequence, headers: req.HTTPHeaders, meta: req.Metadata,
	}
	m.nextVersion(b, got.Version)
	m.written(b, got.ETag)
}

func (m *model) setSequence(name string, b *modelBlob) {
	if b == nil {
		return
	}
	req := &SetProperties{Action: SequenceAction(1 + m.r.IntN(3))}
	next, want := b.sequence, error(nil)
	given := []int64{0, 5, b.sequence, math.MaxInt64, int64(m.r.IntN(100))}[m.r.IntN(5)]
	switch req.Action {
	case SequenceMax:
		req.Sequence, next = Given(given), max(next, given)
	case SequenceUpdate:
		req.Sequence, next = Given(given), given
	case SequenceIncrement:
		if next == math.MaxInt64 {
			want = azerr.SequenceNumberIncrementTooLarge
		} else {
			next++
		}
	}
	want = m.guard(&b.modelState, immutable.Modify, want)
	m.tracef("sequence of %q: %v %d, want %v", name, req.Action, given, want)
	got, err := m.f.SetBlobProperties(ref(name), req)
	if !m.outcome("sequence", err, want) {
		return
	}
	b.sequence = next
	b.copied = nil
	m.written(b, got.ETag)
}

func (m *model) setMetadata(name string, b *modelBlob) {
	if b == nil {
		return
	}
	meta := []header.Pair{{Name: "a", Value: fmt.Sprint(m.now)}, {Name: "B", Value: ""}}[:m.r.IntN(3)]
	m.tracef("metadata of %q", name)
	got, err := m.f.SetBlobMetadata(ref(name), &Access{}, meta)
	if !m.outcome("metadata", err, m.guard(&b.modelState, immutable.Modify, nil)) {
		return
	}
	if m.versioned(b) {
		m.keepVersion(b)
	}
	m.nextVersion(b, got.Version)
	b.meta = meta
	b.copied = nil
	m.written(b, got.ETag)
}

func (m *model) setHeaders(name string, b *modelBlob) {
	if b == nil {
		return
	}
	h := HTTPHeaders{ContentType: "y", CacheControl: fmt.Sprint(m.now)}
	m.tracef("headers of %q", name)
	got, err := m.f.SetBlobProperties(ref(name), &SetProperties{Headers: &h})
	if !m.outcome("headers", err, m.guard(&b.modelState, immutable.Modify, nil)) {
		return
	}
	b.headers = h
	b.copied = nil
	m.written(b, got.ETag)
}

func (m *model) reopen(string, *modelBlob) {
	m.tracef("reopen")
	m.f.reopen()
	m.checkTotals()
	m.checkStore("after a restart")
	m.newest = 0
	m.counts["reopen"]++
}

// crash goes on from what disks would hold if power failed now: what was answered is there, whatever else is.
func (m *model) crash(string, *modelBlob) {
	m.tracef("crash")
	fs := m.f.fs.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: m.r.IntN(101), RNG: m.r})
	m.f.close()
	m.f.fs = fs
	m.f.open()
	m.checkTotals()
	m.checkStore("after a crash")
	m.newest = 0
	m.counts["crash"]++
}

// reopenWithoutIndex loses the index, which must cost nothing but time.
func (m *model) reopenWithoutIndex(string, *modelBlob) {
	m.tracef("reopen without the index")
	m.f.close()
	ok(m.f.t, m.f.fs.RemoveAll("index"))
	m.f.open()
	m.checkTotals()
	m.checkStore("with an index made anew")
	m.newest = 0
	m.counts["reopen without the index"]++
}

func (m *model) recreateContainer(string, *modelBlob) {
	m.tracef("delete the container and make it again")
	err := m.f.DeleteContainer("cont", &Access{})
	if m.immutable && len(m.blobs)+len(m.gone)+len(m.vacant) > 0 {
		m.outcome("container", err, azerr.ContainerImmutableStorageWithVersioningEnabled)
		return
	}
	ok(m.f.t, err)
	must(m.f.t)(m.f.CreateContainer("cont", nil))
	clear(m.blobs)
	clear(m.gone)
	clear(m.vacant)
	m.counts["container"]++
}

// checkSome looks at one blob: its properties, and of its state or a snapshot's a part of the bytes and pages.
func (m *model) checkSome(name string) {
	m.f.t.Helper()
	b := m.blobs[name]
	m.checkGone(name)
	m.checkPast(name)
	if b == nil {
		_, err := m.f.BlobInfo(ref(name), &Access{})
		if !errors.Is(err, azerr.BlobNotFound) {
			m.fatalf("%q: got %v, want BlobNotFound", name, err)
		}
		return
	}
	s := &b.modelState
	if n := len(b.snapshots); n > 0 && m.r.IntN(3) == 0 {
		s = b.snapshots[m.r.IntN(n)]
	}
	m.checkInfo(name, s)
	if len(s.data) == 0 {
		return
	}
	off := m.r.IntN(len(s.data))
	m.checkBytes(name, s, off, min(off+1+m.r.IntN(9000), len(s.data)))
	from, to := m.pageRange(len(s.valid))
	if n := len(b.snapshots); n > 0 && m.r.IntN(2) == 0 {
		i, j := m.r.IntN(n+1), m.r.IntN(n)
		m.checkDiff(name, append(slices.Clone(b.snapshots), &b.modelState)[i], b.snapshots[j], i < j)
	}
	ragged := bytesOf(from, to)
	ragged.Start += int64(m.r.IntN(PageSize / 2))
	ragged.End -= int64(m.r.IntN(PageSize / 2))
	m.checkRanges(name, s, &PageRangesRequest{Range: &ragged})
}

func (m *model) checkInfo(name string, s *modelState) {
	m.f.t.Helper()
	got, err := m.f.BlobInfo(s.ref(name), &Access{})
	if err != nil {
		m.fatalf("%q@%s: %v", name, s.id, err)
	}
	if want := s.info(name); !reflect.DeepEqual(got, want) {
		m.fatalf("%q@%s:\ngot  %+v\nwant %+v", name, s.id, got, want)
	}
}

func (s *modelState) info(name string) BlobInfo {
	info := BlobInfo{
		Name: name, Snapshot: s.id, Type: PageBlob, Stamp: Stamp{ETag: s.etag, LastModified: s.etag.Time(), Version: s.version},
		Current: s.version != "" && !s.past,
		Created: s.created.Time(), Size: int64(len(s.data)), Sequence: s.sequence, HTTPHeaders: s.headers, Metadata: s.meta, Copy: s.copied, Protection: s.locks,
	}
	if len(s.meta) == 0 {
		info.Metadata = nil
	}
	if s.gone.at != 0 {
		info.Deleted = &Deletion{Time: s.gone.at.Time()}
	}
	return info
}

func (m *model) checkBytes(name string, s *modelState, from, to int) {
	m.f.t.Helper()
	reader, err := m.f.OpenBlob(s.ref(name), &Access{})
	if err != nil {
		m.fatalf("%q@%s: %v", name, s.id, err)
	}
	got := bytes.Repeat([]byte{0xEE}, to-from)
	n, err := reader.ReadAt(got, int64(from))
	ok(m.f.t, reader.Close()) // before anything can end the test: an open reader would keep the store from closing
	if n != len(got) || err != nil {
		m.fatalf("%q@%s: read [%d,%d): %d bytes, %v", name, s.id, from, to, n, err)
	}
	if !bytes.Equal(got, s.data[from:to]) {
		at := 0
		for got[at] == s.data[from+at] {
			at++
		}
		m.fatalf("%q@%s: byte %d, in page %d, is wrong", name, s.id, from+at, (from+at)/PageSize)
	}
}

// pageKind is what a list of pages says of one.
type pageKind byte

const (
	unlisted pageKind = iota
	listed
	cleared
)

// kinds returns what a list should say of each page of s: which are valid, or how they differ from prev.
func (s *modelState) kinds(prev *modelState) []pageKind {
	out := make([]pageKind, len(s.valid))
	for p := range out {
		wasValid := prev != nil && p < len(prev.valid) && prev.valid[p]
		switch {
		case s.valid[p] && (prev == nil || s.touched[p] > prev.at):
			out[p] = listed
		case wasValid && !s.valid[p]:
			out[p] = cleared
		}
	}
	return out
}

// checkRanges compares a list of pages, all its pages together, with the model.
func (m *model) checkRanges(name string, s *modelState, req *PageRangesRequest) {
	m.f.t.Helper()
	var prev *modelState
	for _, p := range m.any(name).snapshots {
		if p.id == req.PrevSnapshot {
			prev = p
		}
	}
	kinds := s.kinds(prev)
	if req.Range != nil {
		for p := range kinds {
			if int64(p+1)*PageSize <= req.Range.Start || int64(p)*PageSize >= req.Range.End {
				kinds[p] = unlisted
			}
		}
	}
	want := wantedEntries(kinds)
	var got []PageEntry
	for marker := ""; ; {
		page := *req
		page.Marker = marker
		r, err := m.f.PageRanges(s.ref(name), &page)
		if err != nil {
			m.fatalf("%q@%s: ranges %+v: %v", name, s.id, page, err)
		}
		if page.MaxResults > 0 && len(r.Entries) > page.MaxResults {
			m.fatalf("%q@%s: ranges %+v: %d entries", name, s.id, page, len(r.Entries))
		}
		got = append(got, r.Entries...)
		if marker = r.NextMarker; marker == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		m.fatalf("%q@%s: ranges %+v %v:\ngot  %s\nwant %s", name, s.id, req, req.Range, entries(got), entries(want))
	}
}

func wantedEntries(kinds []pageKind) (out []PageEntry) {
	for p, k := range kinds {
		if k == unlisted {
			continue
		}
		start, end := int64(p)*PageSize, int64(p+1)*PageSize
		if n := len(out); n > 0 && out[n-1].End == start && out[n-1].Clear == (k == cleared) {
			out[n-1].End = end
			continue
		}
		out = append(out, PageEntry{Start: start, End: end, Clear: k == cleared})
	}
	return out
}

// checkAll compares everything that can be seen.
func (m *model) checkAll() {
	m.f.t.Helper()
	for _, name := range modelNames {
		if m.blobs[name] == nil {
			m.checkSome(name)
		}
		states := m.states(name)
		for _, s := range states {
			m.checkInfo(name, s)
			if len(s.data) > 0 {
				m.checkBytes(name, s, 0, len(s.data))
			}
			m.checkRanges(name, s, &PageRangesRequest{MaxResults: []int{0, 1, 2, 7}[m.r.IntN(4)]})
			for _, prev := range states {
				if prev.id != "" {
					m.checkDiff(name, s, prev, s.key() != "" && prev.at > s.at)
				}
			}
		}
	}
	m.checkList()
	m.checkTotals()
}

// checkStore has everything that is stored checked, as the command check does.
func (m *model) checkStore(when string) {
	m.f.t.Helper()
	if problems, _ := m.f.check(CheckFull); len(problems) > 0 {
		m.fatalf("%s, a check finds\n%s", when, problemLines(problems))
	}
}

// checkTotals compares what the account keeps of its totals with a recount, and both with the model. What the reaper has
// not come to yet is there in addition.
func (m *model) checkTotals() {
	m.f.t.Helper()
	reaped := m.f.rowCount(tableTomb) == 0 && m.f.due() == 0
	got, want := m.f.totals(), Totals{Containers: 1}
	for _, b := range m.everything() {
		want.Blobs++
		want.Snapshots += uint64(len(b.snapshots) + len(b.versions) + len(b.gone))
		want.ProvisionedBytes += uint64(len(b.data))
	}
	for _, b := range m.vacant {
		want.Snapshots += uint64(len(b.snapshots) + len(b.versions) + len(b.gone))
	}
	if reaped && got != want || got.Containers != 1 {
		m.fatalf("totals: got %+v, want %+v", got, want)
	}
}

func (m *model) checkDiff(name string, s, prev *modelState, newer bool) {
	m.f.t.Helper()
	req := &PageRangesRequest{PrevSnapshot: prev.id, MaxResults: []int{0, 3}[m.r.IntN(2)]}
	if n := len(s.valid); n > 0 && m.r.IntN(2) == 0 {
		from, to := m.pageRange(n)
		rng := bytesOf(from, to)
		req.Range = &rng
	}
	_, err := m.f.PageRanges(s.ref(name), req)
	switch {
	case newer && !(s.past && s.volume != prev.volume):
		m.outcome("diff", err, azerr.PreviousSnapshotCannotBeNewer)
	case s.volume != prev.volume:
		m.outcome("diff", err, azerr.BlobOverwritten)
	default:
		m.outcome("diff", err, nil)
		m.checkRanges(name, s, req)
	}
}

func (m *model) checkList() {
	m.f.t.Helper()
	var want []ListItem
	names := slices.Clone(modelNames)
	slices.SortFunc(names, cmp.Compare[string])
	req := &ListBlobsRequest{Snapshots: m.r.IntN(4) > 0, Metadata: true, Deleted: m.r.IntN(2) == 0, Versions: m.r.IntN(2) == 0, Vacant: m.r.IntN(2) == 0, MaxResults: []int{0, 1, 3}[m.r.IntN(3)]}
	for _, name := range names {
		for _, s := range m.listed(name, req) {
			info := s.info(name)
			if s == vacantState {
				m.checkVacant(name, &want)
				continue
			}
			if info.Deleted != nil {
				info.Deleted.RemainingDays = int(s.gone.until.Time().Sub(m.f.clock.Now()) / (24 * time.Hour))
			}
			want = append(want, ListItem{Blob: info})
		}
	}
	var got []ListItem
	for {
		page, err := m.f.ListBlobs("cont", req)
		if err != nil {
			m.fatalf("list: %v", err)
		}
		got = append(got, page.Items...)
		if req.Marker = page.NextMarker; req.Marker == "" {
			break
		}
	}
	if !reflect.DeepEqual(got, want) {
		m.fatalf("list:\ngot  %+v\nwant %+v", got, want)
	}
}
