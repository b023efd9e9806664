package blobstore

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/pagestore"
)

// blocksModel is what there should be, in plain slices.
type blocksModel struct {
	f     *fixture
	r     *rand.Rand
	blobs map[string]*blocksBlob
	seed  uint64
}

type blocksBlob struct {
	typ     BlobType // 0: there is none
	content []byte
	blocks  []blocksBlock // of a block blob; none: put at once
	staged  map[string][]byte
	frozen  map[string][]byte // snapshots by id
	appends int
	sealed  bool
}

type blocksBlock struct {
	id      string
	content []byte
}

func (m *blocksModel) blob(name string) *blocksBlob {
	b := m.blobs[name]
	if b == nil {
		b = &blocksBlob{staged: map[string][]byte{}, frozen: map[string][]byte{}}
		m.blobs[name] = b
	}
	return b
}

// bytes returns content of a length that is interesting: most are short.
func (m *blocksModel) bytes() []byte {
	m.seed++
	lengths := []int{1, 511, 512, 513, 4096, 5000, 65536, 65537, 200_000}
	if m.r.IntN(40) == 0 {
		lengths = []int{UploadPiece, UploadPiece + 1, 2*UploadPiece + 12345}
	}
	return fillRandom(m.seed, lengths[m.r.IntN(len(lengths))])
}

func (m *blocksModel) id() string { return fmt.Sprintf("%02d", m.r.IntN(12)) }

// step does one random thing to the store and to the model.
func (m *blocksModel) step() {
	t := m.f.t
	name := []string{"a", "b", "c", "d/e"}[m.r.IntN(4)]
	b, at := m.blob(name), ref(name)
	switch m.r.IntN(16) {
	case 0:
		p := m.bytes()
		must(t)(m.f.PutBlockBlob(at, &PutBlockBlob{}, upload(p)))
		b.replace(BlockBlob, p)
	case 1, 2, 3, 4, 5:
		id, p := m.id(), m.bytes()
		err := m.f.PutBlock(at, &PutBlock{ID: []byte(id)}, upload(p))
		if b.typ != 0 && b.typ != BlockBlob {
			wantCode(t, "a block for another type", err, azerr.InvalidBlobType)
			return
		}
		ok(t, err)
		b.staged[id] = p
	case 6, 7, 8:
		m.commit(name, b)
	case 9:
		if b.typ == 0 {
			return
		}
		s := value(m.f.SnapshotBlob(at, &Access{}, nil))(t)
		b.frozen[s.Snapshot] = b.content
	case 10:
		for id := range b.frozen {
			ok(t, m.f.DeleteBlob(snap(name, id), &Access{}, SnapshotsNone))
			delete(b.frozen, id)
			return
		}
	case 11:
		err := m.f.DeleteBlob(at, &Access{}, SnapshotsInclude)
		if b.typ == 0 {
			wantCode(t, "deleting nothing", err, azerr.BlobNotFound)
			return
		}
		ok(t, err)
		b.replace(0, nil)
		clear(b.frozen)
	case 12:
		must(t)(m.f.CreatePageBlob(at, &CreatePageBlob{Size: 8 * PageSize}))
		p := make([]byte, 8*PageSize)
		copy(p, bytes.Repeat([]byte{7}, PageSize))
		must(t)(m.f.PutPages(at, &PutPages{Range: header.Range{End: PageSize}, Body: p[:PageSize]}))
		b.replace(PageBlob, p)
	case 13, 14:
		m.append(at, b)
	case 15:
		m.copy(name)
	}
}

func (b *blocksBlob) replace(typ BlobType, content []byte) {
	b.typ, b.content, b.blocks, b.appends, b.sealed = typ, content, nil, 0, false
	clear(b.staged)
}

func (m *blocksModel) append(at BlobRef, b *blocksBlob) {
	t := m.f.t
	if b.typ != AppendBlob {
		if m.r.IntN(3) > 0 {
			return
		}
		must(t)(m.f.CreateAppendBlob(at, &CreateAppendBlob{}))
		b.replace(AppendBlob, nil)
	}
	p := m.bytes()
	done, err := m.f.AppendBlock(at, &AppendBlock{Position: Given(int64(len(b.content)))}, upload(p))
	if b.sealed {
		wantCode(t, "append to a sealed blob", err, azerr.BlobIsSealed)
		return
	}
	ok(t, err)
	b.appends++
	if done.Offset != int64(len(b.content)) || done.Blocks != int64(b.appends) {
		t.Fatalf("appended at %d as block %d, want %d, %d", done.Offset, done.Blocks, len(b.content), b.appends)
	}
	b.content = append(b.content[:len(b.content):len(b.content)], p...)
	if m.r.IntN(10) == 0 {
		must(t)(m.f.SealBlob(at, &Access{}, Int64{}))
		b.sealed = true
	}
}

// commit commits a random list, which now and then names what is not there.
func (m *blocksModel) commit(name string, b *blocksBlob) {
	t := m.f.t
	var list []ListedBlock
	var made []blocksBlock
	missing := false
	for range m.r.IntN(8) {
		from := BlockSource(m.r.IntN(3))
		id := m.id()
		for _, c := range b.blocks { // most ids are of something
			if m.r.IntN(4) == 0 {
				id = c.id
			}
		}
		for s := range maps.Keys(b.staged) {
			if m.r.IntN(3) == 0 {
				id = s
			}
		}
		p, found := b.find(from, id)
		if !found && m.r.IntN(20) > 0 {
			continue
		}
		missing = missing || !found
		list, made = append(list, ListedBlock{from, []byte(id)}), append(made, blocksBlock{id, p})
	}
	_, err := m.f.CommitBlocks(ref(name), &CommitBlocks{Blocks: list})
	switch {
	case b.typ != 0 && b.typ != BlockBlob:
		wantCode(t, "a list for another type", err, azerr.InvalidBlobType)
	case missing:
		wantCode(t, "a list that names what is not there", err, azerr.InvalidBlockList)
	default:
		ok(t, err)
		var p []byte
		for _, c := range made {
			p = append(p, c.content...)
		}
		b.replace(BlockBlob, p)
		b.blocks = made
	}
}

func (b *blocksBlob) find(from BlockSource, id string) ([]byte, bool) {
	if p, ok := b.staged[id]; ok && from != BlockCommitted {
		return p, true
	}
	if from != BlockUncommitted {
		for i := range slices.Backward(b.blocks) {
			if b.blocks[i].id == id {
				return b.blocks[i].content, true
			}
		}
	}
	return nil, false
}

// copy copies one blob, or a snapshot of one, over another.
func (m *blocksModel) copy(to string) {
	t := m.f.t
	names := slices.Sorted(maps.Keys(m.blobs))
	from := names[m.r.IntN(len(names))]
	src := m.blobs[from]
	if src.typ == 0 || from == to {
		return
	}
	dst := m.blob(to)
	_, err := m.f.CopyBlob(t.Context(), ref(to), &CopyBlob{Source: ref(from)})
	if dst.typ != 0 && dst.typ != src.typ {
		wantCode(t, "a copy over another type", err, azerr.InvalidBlobType)
		return
	}
	ok(t, err)
	blocks := slices.Clone(src.blocks)
	appends := src.appends
	dst.replace(src.typ, src.content)
	dst.blocks, dst.appends = blocks, appends
}

// compare compares everything.
func (m *blocksModel) compare() {
	t := m.f.t
	for name, b := range m.blobs {
		for id, want := range b.frozen {
			m.f.readsAs(snap(name, id), want)
		}
		list, err := m.f.BlockList(ref(name), &Access{}, true)
		switch {
		case b.typ == 0:
			if _, err := m.f.OpenBlob(ref(name), &Access{}); !errors.Is(err, azerr.BlobNotFound) {
				t.Fatalf("%s is there: %v", name, err)
			}
			if len(b.staged) == 0 {
				wantCode(t, "the list of nothing", err, azerr.BlobNotFound)
				continue
			}
		default:
			m.f.readsAs(ref(name), b.content)
			if b.typ != BlockBlob {
				wantCode(t, "the list of another type", err, azerr.InvalidBlobType)
				continue
			}
		}
		ok(t, err)
		if len(list.Committed) != len(b.blocks) || len(list.Uncommitted) != len(b.staged) {
			t.Fatalf("%s: %d and %d blocks, want %d and %d", name, len(list.Committed), len(list.Uncommitted), len(b.blocks), len(b.staged))
		}
		for i, c := range list.Committed {
			if string(c.ID) != b.blocks[i].id || c.Size != int64(len(b.blocks[i].content)) {
				t.Fatalf("%s: block %d is %q of %d bytes", name, i, c.ID, c.Size)
			}
		}
		for _, c := range list.Uncommitted {
			if p, ok := b.staged[string(c.ID)]; !ok || c.Size != int64(len(p)) {
				t.Fatalf("%s: block %q of %d bytes waits", name, c.ID, c.Size)
			}
		}
	}
}

// swept sweeps, and checks that nothing is left to sweep in any volume.
func (f *fixture) swept() {
	f.t.Helper()
	ok(f.t, f.sweep())
	err := f.view(func(v *pagestore.View) error {
		from := []byte{tableBlob}
		return scanView(v, from, appendAfter(nil, from), func(it *pagestore.Iter) (bool, error) {
			row, err := decodeBlobRow(it.Value())
			if err == nil && row.gen == pagestore.GenHead && row.volume != 0 {
				gaps, err := sweepable(v, &row, row.blocks.next, nil)
				if err != nil || len(gaps) > 0 {
					f.t.Errorf("row %x: %v is left, %v", it.Key(), gaps, err)
				}
			}
			return it.Next(), err
		})
	})
	ok(f.t, err)
}

// TestBlocksModel does random things to block and append blobs, also with versions and soft delete, and compares with a model, after
// crashes too.
func TestBlocksModel(t *testing.T) {
	steps := 400
	if s := os.Getenv("PAGEVAULT_BLOCKS_OPS"); s != "" {
		steps = value(strconv.Atoi(s))(t)
	}
	for i, kind := range []string{"plain", "versions", "soft delete"} {
		t.Run(kind, func(t *testing.T) {
			f := newBareFixture(t, nil)
			if kind == "versions" {
				f.close()
				f.with = func(o *AccountOptions) { o.Versioning = true }
				f.open()
			}
			must(t)(f.CreateContainer("cont", nil))
			if kind == "soft delete" {
				f.setRetention(2, false)
			}
			m := &blocksModel{f: f, r: rand.New(rand.NewPCG(1, uint64(i))), blobs: map[string]*blocksBlob{}}
			for n := range steps {
				m.step()
				f.clock.Advance(time.Second)
				switch {
				case n%100 == 99:
					fs := f.fs.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: m.r.IntN(101), RNG: m.r})
					f.close()
					f.fs = fs
					f.open()
					m.compare()
					f.checks()
				case n%50 == 49:
					f.swept()
					m.compare()
					f.checks()
				}
			}
			m.compare()
		})
	}
}
