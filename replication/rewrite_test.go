package replication

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/replication/segment"
)

// sealedLog is an open log of n members with two sealed segments of three records each, and what the members hold.
func sealedLog(t testing.TB, n int, o Options) (*Log, []Member, image) {
	t.Helper()
	members := memMembers(n)
	o.Passive = true
	l, err := Open(members, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	for i := range 6 {
		append1(t, l, fmt.Sprint("meta ", i), strings.Repeat(fmt.Sprint("data ", i), 1+i*20))
		if i%3 == 2 {
			if err := l.Rotate(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return l, members, imageOf(t, members[0])
}

// put replaces a member's file, or takes it away.
func (im image) put(t testing.TB, m Member, name string) {
	t.Helper()
	content, ok := im[name]
	var err error
	if !ok {
		err = m.FS.Remove(m.FS.PathJoin(m.Dir, name))
	} else {
		err = writeFile(m, name, []byte(content))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// recordsAt returns where the records of a segment's file begin.
func recordsAt(t testing.TB, file string) (at []int) {
	t.Helper()
	h := headerIn(t, file)
	r := segment.NewReader(strings.NewReader(file), int64(len(file)), h.Store, h.ID)
	for off := int64(segment.HeaderBytes); ; {
		h, err := r.Record(off)
		if err != nil {
			return at
		}
		at = append(at, int(off))
		off = h.End()
	}
}

func headerIn(t testing.TB, file string) segment.Header {
	t.Helper()
	h, err := segment.ParseHeader([]byte(file[:segment.HeaderBytes]))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

const seg1 = "0000000001.seg"

// mustRewrite writes segment 1 anew on a member and checks that nothing differs from the image.
func mustRewrite(t *testing.T, l *Log, members []Member, i int, want image, what string) {
	t.Helper()
	if err := l.rewriteCopy(t.Context(), 1, l.now().member(i), nil); err != nil {
		t.Fatalf("%s: member %d: %v", what, i, err)
	}
	if got := imageOf(t, members[i]); got[seg1] != want[seg1] {
		t.Fatalf("%s: member %d holds other bytes than before", what, i)
	} else if _, temp := got["0000000001.tmp"]; temp {
		t.Fatalf("%s: member %d has a temporary file left", what, i)
	}
}

// TestRewriteCopy damages copies in all ways and writes them anew: the bytes are those that were there.
func TestRewriteCopy(t *testing.T) {
	l, members, was := sealedLog(t, 3, Options{})
	content := was[seg1]
	at := recordsAt(t, content)
	if len(at) != 3 {
		t.Fatalf("segment 1 has records at %v", at)
	}
	footer := len(content) - segment.TrailerBytes
	f := func(what string, change func(images []image)) {
		t.Helper()
		images := []image{maps.Clone(was), maps.Clone(was), maps.Clone(was)}
		change(images)
		for i, m := range members {
			images[i].put(t, m, seg1)
		}
		for i := range members {
			mustRewrite(t, l, members, i, was, what)
		}
	}
	cut := func(im image, n int) { im[seg1] = im[seg1][:n] }
	f("nothing", func([]image) {})
	f("one is missing", func(im []image) { delete(im[0], seg1) })
	f("two are missing", func(im []image) { delete(im[0], seg1); delete(im[2], seg1) })
	f("one is empty", func(im []image) { cut(im[1], 0) })
	f("one is longer", func(im []image) { im[1][seg1] += "more" })
	f("a different record on every member", func(im []image) {
		for i := range im {
			im[i] = im[i].flip(seg1, at[i]+50, 1)
		}
	})
	f("two records on every member", func(im []image) {
		for i := range im {
			im[i] = im[i].flip(seg1, at[i], 1).flip(seg1, at[(i+1)%3]+4, 1)
		}
	})
	f("headers of two and a record of the third", func(im []image) {
		im[0], im[1], im[2] = im[0].flip(seg1, 3, 1), im[1].flip(seg1, 33, 1), im[2].flip(seg1, at[1], 1)
	})
	f("all footers", func(im []image) {
		for i := range im {
			im[i] = im[i].flip(seg1, footer+i*20, 1)
		}
	})
	f("all tables", func(im []image) {
		for i := range im {
			im[i] = im[i].flip(seg1, footer-10, 1)
		}
	})
	f("one cut short, records of the others", func(im []image) {
		cut(im[0], at[1])
		im[1], im[2] = im[1].flip(seg1, at[1]+9, 4), im[2].flip(seg1, at[2]+9, 4).flip(seg1, footer, 4)
	})
	f("another segment under its name", func(im []image) { im[2][seg1] = im[2]["0000000002.seg"] })
	f("rubbish", func(im []image) { im[2][seg1] = strings.Repeat("rubbish ", 100) })
	for k := range len(content) {
		for i, m := range members {
			was.flip(seg1, (k+i*len(content)/3)%len(content), 0x40).put(t, m, seg1)
		}
		mustRewrite(t, l, members, k%3, was, fmt.Sprint("byte ", k))
	}
}

// TestRewriteNot are segments that cannot be written anew: an error says why, and what is there stays.
func TestRewriteNot(t *testing.T) {
	l, members, was := sealedLog(t, 3, Options{})
	append1(t, l, "of the open segment")
	at := recordsAt(t, was[seg1])
	to := l.now().member(1)
	f := func(what string, id SegmentID, ctx context.Context, want error, change func(i int, im image) image) {
		t.Helper()
		var before []image
		for i, m := range members {
			change(i, was).put(t, m, seg1)
			before = append(before, imageOf(t, m))
		}
		if err := l.rewriteCopy(ctx, id, to, nil); err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v", what, err)
		}
		for i, m := range members {
			if !maps.Equal(imageOf(t, m), before[i]) {
				t.Errorf("%s: member %d was changed", what, i)
			}
		}
	}
	same := func(_ int, im image) image { return im }
	ended, end := context.WithCancel(t.Context())
	end()
	f("the context has ended", 1, ended, context.Canceled, same)
	f("the open segment", 3, t.Context(), nil, same)
	f("no segment", 9, t.Context(), nil, same)
	f("a record on all", 1, t.Context(), ErrCorrupt, func(_ int, im image) image { return im.flip(seg1, at[2]+3, 1) })
	f("a header on all", 1, t.Context(), ErrCorrupt, func(_ int, im image) image { return im.flip(seg1, 3, 1) })
	f("missing on all", 1, t.Context(), ErrCorrupt, func(_ int, im image) image {
		im = maps.Clone(im)
		im[seg1] = ""
		return im
	})
	other, _, others := sealedLog(t, 1, Options{})
	if other.StoreID() == l.StoreID() {
		t.Fatal("two logs of one name")
	}
	f("another log's", 1, t.Context(), ErrCorrupt, func(int, image) image { return others })
}

// TestRewriteElect lets copies differ that are whole by themselves: what most hold is taken.
func TestRewriteElect(t *testing.T) {
	l, members, was := sealedLog(t, 3, Options{})
	forged := was.forge(t, seg1, 1)
	forged.put(t, members[0], seg1)
	for i := range members {
		if _, err := l.rewriteClaimed(t.Context(), 1, l.now().member(i), nil, true); err != nil {
			t.Fatal(err)
		}
		if got := imageOf(t, members[i]); got[seg1] != was[seg1] {
			t.Fatalf("member %d holds something else", i)
		}
	}
	// One that differs and one that is damaged: nobody can tell who is right.
	forged.put(t, members[0], seg1)
	was.flip(seg1, recordsAt(t, was[seg1])[1]+5, 1).put(t, members[2], seg1)
	if _, err := l.rewriteClaimed(t.Context(), 1, l.now().member(2), nil, true); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("one against one: %v", err)
	}
}

// forge changes a byte of a record's Data, and its checksums so that nothing is wrong with it.
func (im image) forge(t testing.TB, name string, record int) image {
	t.Helper()
	b := []byte(im[name])
	off := int64(recordsAt(t, im[name])[record])
	of := headerIn(t, im[name])
	h, err := segment.ParseRecordHeader(b[off:], segment.Seed(of.Store, of.ID), off)
	if err != nil {
		t.Fatal(err)
	}
	b[h.DataOffset()] ^= 1
	h.DataCRC = segment.Checksum(0, b[h.DataOffset():][:h.Data])
	copy(b[off:], h.Append(nil, segment.Seed(of.Store, of.ID)))
	out := maps.Clone(im)
	out[name] = string(b)
	return out
}

// TestRewriteDrop drops the segment before each step of a rewrite: no file of it is left, and the rewrite says so.
func TestRewriteDrop(t *testing.T) {
	for step := 0; ; step++ {
		var l *Log
		var dropped error
		armed, steps := false, 0
		h := func(op fsOp, do func(int) error) error {
			if armed && op.kind != "lock" {
				if steps++; steps == step+1 {
					armed = false
					dropped = l.Drop(1)
				}
			}
			return do(op.bytes)
		}
		members := memMembers(3)
		var err error
		if l, err = Open(hooked(members, h), Options{Passive: true}); err != nil {
			t.Fatal(err)
		}
		append1(t, l, "meta", "data")
		if err := l.Rotate(); err != nil {
			t.Fatal(err)
		}
		if err := l.SaveCheckpoint(1, nil); err != nil {
			t.Fatal(err)
		}
		armed = true
		err = l.rewriteCopy(t.Context(), 1, l.now().member(0), nil)
		through := armed
		armed = false
		if dropped != nil {
			t.Fatal(dropped)
		}
		if !through && err != nil && !errors.Is(err, ErrDropped) || through && err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if through {
			if step < 5 {
				t.Fatalf("only %d steps", step)
			}
			return
		}
		for i, m := range members {
			if names := slices.Sorted(maps.Keys(imageOf(t, m))); !slices.Equal(names, []string{"CHECKPOINT", "MEMBER"}) {
				t.Fatalf("step %d: member %d holds %q", step, i, names)
			}
		}
	}
}

// TestRewriteCrash stops the world before every step of a rewrite that puts a segment together of copies none of which is
// whole, and opens what a crash leaves then: everything can be read, and the rewrite can be done again.
func TestRewriteCrash(t *testing.T) {
	l, members, was := sealedLog(t, 3, Options{})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	at := recordsAt(t, was[seg1])
	var mems []*vfs.MemFS
	for i, m := range members {
		was.flip(seg1, at[i]+50, 1).put(t, m, seg1)
		mems = append(mems, m.FS.(*vfs.MemFS))
	}
	states, dice := 0, rand.New(rand.NewPCG(1, 2))
	check := func(share int) {
		var after []Member
		for i, m := range mems {
			after = append(after, Member{FS: m.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: share, RNG: dice}), Dir: members[i].Dir})
		}
		l, err := Open(after, Options{Passive: true})
		if err != nil {
			t.Fatalf("after %d states: %v", states, err)
		}
		defer l.Close()
		for i := range after {
			if _, ok := imageOf(t, after[i])["0000000001.tmp"]; ok {
				t.Fatal("the temporary file is still there")
			}
			mustRewrite(t, l, after, i, was, "again")
		}
		states++
	}
	armed := false
	l, err := Open(hooked(members, func(op fsOp, do func(int) error) error {
		if armed {
			check(0)
			check(50)
			check(100)
		}
		return do(op.bytes)
	}), Options{Passive: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for i := range members {
		armed = true
		err := l.rewriteCopy(t.Context(), 1, l.now().member(i), nil)
		armed = false
		if err != nil {
			t.Fatal(err)
		}
		check(0) // what rewriteCopy has returned for stays
	}
	for i, m := range members {
		if got := imageOf(t, Member{FS: mems[i].CrashClone(vfs.CrashCloneCfg{}), Dir: m.Dir}); got[seg1] != was[seg1] {
			t.Fatalf("member %d lost what was written anew", i)
		}
	}
	if states < 20 {
		t.Fatalf("only %d states", states)
	}
}

// TestRewriteFails fails every operation of the member once: the error names it, what was there is there, and without the
// fault it goes.
func TestRewriteFails(t *testing.T) {
	boom := errors.New("boom")
	for step := 0; ; step++ {
		fail := -1
		members := memMembers(2)
		l, err := Open(hooked(members, func(op fsOp, do func(int) error) error {
			if fail == 0 {
				fail--
				return boom
			}
			if fail > 0 {
				fail--
			}
			return do(op.bytes)
		}), Options{Passive: true})
		if err != nil {
			t.Fatal(err)
		}
		append1(t, l, "meta", "data")
		if err := l.Rotate(); err != nil {
			t.Fatal(err)
		}
		was := imageOf(t, members[0])
		fail = step
		err = l.rewriteCopy(t.Context(), 1, l.now().member(1), nil)
		through := fail >= 0
		fail = -1
		if failure := (*MemberError)(nil); !through && err != nil && (!errors.As(err, &failure) || failure.Dir != members[1].Dir || !errors.Is(err, boom)) {
			t.Fatalf("step %d: %v", step, err)
		}
		if got := imageOf(t, members[1]); got[seg1] != was[seg1] {
			t.Fatalf("step %d: the copy is not as it was", step)
		}
		mustRewrite(t, l, members, 1, was, fmt.Sprint("after step ", step))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if through {
			if step < 5 {
				t.Fatalf("only %d steps", step)
			}
			return
		}
	}
}
