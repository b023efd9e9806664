package pagestore

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// TestPardon frees a block that was in use for a moment after it was condemned, by a region with a name of its own. The
// flight remembers that name for somebody who began to look before the region was written, and who writes when the block
// is gone: it must not be taken for stored.
func TestPardon(t *testing.T) {
	s := openTest(t, gcOptions(vfs.NewMem(), 1))
	v, w := newVolume(t, s), newVolume(t, s)
	p := randomBytes(rand.New(rand.NewPCG(1, 2)), pagemap.RegionBytes)
	write(t, s, v, 0, p)
	update(t, s, func(tx *Tx) error { return tx.Clear(v, Range{0, pagemap.RegionPages}) })
	if err := s.log.Rotate(); err != nil {
		t.Fatal(err)
	}
	// The same chunks, as a region that has no name yet.
	turned := append(bytes.Clone(p[pagemap.ChunkBytes:]), p[:pagemap.ChunkBytes]...)
	early, err := s.Prepare(0, turned)
	if err != nil {
		t.Fatal(err)
	}
	c := &compaction{s: s, segment: s.log.Segments()[0].ID}
	c.decoder.Ring, c.encoder = s.ring, s.encoder(0)
	if err := s.log.SegmentRecords(c.segment, func(r *replication.Record) error { return c.list(context.Background(), r) }); err != nil {
		t.Fatal(err)
	}
	if err := c.condemn(); err != nil {
		t.Fatal(err)
	}
	looked := s.flight.newcomer()
	late, err := s.Prepare(0, turned)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Release()
	before := s.Stats().Counters
	update(t, s, func(tx *Tx) error { return tx.Write(v, early) })
	if st := s.Stats(); st.StoredBytes != before.StoredBytes {
		t.Fatal("what was looked up before is stored anew")
	}
	update(t, s, func(tx *Tx) error { return tx.Clear(v, Range{0, pagemap.RegionPages}) })
	early.Release()
	if err := c.rewrite(context.Background(), looked); err != nil {
		t.Fatal(err)
	}
	if c.freed != 1 || s.condemned.Load() != nil {
		t.Fatalf("%d frames were freed", c.freed)
	}
	update(t, s, func(tx *Tx) error { return tx.Write(w, late) })
	wantRead(t, s, w, GenHead, 0, turned)
	wantMark(t, s)
}

// TestRenamedInReplay stores a region anew while the frame it has begun with so far is condemned, and frees that. A replay,
// for which all that is one batch, leaves the same rows as batches of a record each: the frame that is gone is not listed
// as holding the region.
func TestRenamedInReplay(t *testing.T) {
	o := gcOptions(vfs.NewMem(), 1)
	s := openTest(t, o)
	v := newVolume(t, s)
	p := randomBytes(rand.New(rand.NewPCG(1, 2)), pagemap.RegionBytes)
	write(t, s, v, 0, p)
	update(t, s, func(tx *Tx) error { return tx.Clear(v, Range{0, pagemap.RegionPages}) })
	if err := s.log.Rotate(); err != nil {
		t.Fatal(err)
	}
	c := &compaction{s: s, segment: s.log.Segments()[0].ID}
	c.decoder.Ring, c.encoder = s.ring, s.encoder(0)
	if err := s.log.SegmentRecords(c.segment, func(r *replication.Record) error { return c.list(context.Background(), r) }); err != nil {
		t.Fatal(err)
	}
	if err := c.condemn(); err != nil {
		t.Fatal(err)
	}
	write(t, s, v, 0, p)
	if err := c.rewrite(context.Background(), s.flight.newcomer()); err != nil {
		t.Fatal(err)
	}
	if c.freed != 1 {
		t.Fatalf("%d frames were freed", c.freed)
	}
	wantMark(t, s)
	rows := allRows(t, s)
	mustClose(t, s)
	if err := o.FS.RemoveAll(o.Dir); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, o)
	wantMark(t, s)
	sameRows(t, allRows(t, s), rows)
	wantRead(t, s, v, GenHead, 0, p)
}
