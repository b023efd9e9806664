package replication

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/replication/roster"
	"pagevault/replication/segment"
)

// verify returns the problems that VerifyMembers finds.
func verify(t testing.TB, members []Member) (out []Problem) {
	t.Helper()
	err := VerifyMembers(context.Background(), members, VerifyOptions{Report: func(p Problem) { out = append(out, p) }})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// keptSample is a small log of which a checkpoint was saved and a segment dropped: segments 2 to 5, of one record each.
func keptSample(t testing.TB, n int) []image {
	t.Helper()
	members := memMembers(n)
	l, err := Open(members, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		append1(t, l, fmt.Sprint("meta ", i), fmt.Sprint("data ", i))
		if err := l.Rotate(); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.SaveCheckpoint(3, cpFiles{"a": "content of a", "b": "of b"}.list()); err != nil {
		t.Fatal(err)
	}
	if err := l.Drop(1); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var out []image
	for _, m := range members {
		out = append(out, imageOf(t, m))
	}
	want := []string{"0000000002.seg", "0000000003.seg", "0000000004.seg", "0000000005.seg", "CHECKPOINT", "MEMBER",
		"checkpoint/0000000001-000001", "checkpoint/0000000001-000002"}
	if got := slices.Sorted(maps.Keys(out[0])); !slices.Equal(got, want) {
		t.Fatalf("the sample holds %q", got)
	}
	return out
}

func membersOf(t testing.TB, images []image) (out []Member) {
	t.Helper()
	for i, im := range images {
		out = append(out, im.member(t, i))
	}
	return out
}

// TestVerifyFlips damages every byte of every file on one member: it is found there and nowhere else, and nothing is changed.
func TestVerifyFlips(t *testing.T) {
	images := keptSample(t, 3)
	if got := verify(t, membersOf(t, images)); len(got) > 0 {
		t.Fatalf("problems of a whole log: %v", got)
	}
	for name, content := range images[1] {
		for at := range len(content) {
			damaged := slices.Clone(images)
			damaged[1] = images[1].flip(name, at, 1<<(at%8))
			members := membersOf(t, damaged)
			got := verify(t, members)
			if len(got) == 0 {
				t.Fatalf("byte %d of %s was changed, and nothing was found", at, name)
			}
			for _, p := range got {
				if p.Member != 1 || p.Dir != members[1].Dir || p.File != name || p.Unfinished || p.Offset > int64(at) && p.Segment != 0 {
					t.Fatalf("byte %d of %s was changed, found: %+v", at, name, p)
				}
			}
			if after := imageOf(t, members[1]); !maps.Equal(after, damaged[1]) {
				t.Fatalf("the member was changed: %q", slices.Sorted(maps.Keys(after)))
			}
		}
	}
}

// TestVerifyCuts cuts every file of one member at every length, makes it longer, and takes it away.
func TestVerifyCuts(t *testing.T) {
	images := keptSample(t, 2)
	for name, content := range images[1] {
		try := func(what string, with *string) {
			t.Helper()
			damaged := slices.Clone(images)
			damaged[1] = maps.Clone(images[1])
			delete(damaged[1], name)
			if with != nil {
				damaged[1][name] = *with
			}
			got := verify(t, membersOf(t, damaged))
			if len(got) == 0 {
				t.Fatalf("%s %s, and nothing was found", name, what)
			}
			for _, p := range got {
				if p.Member != 1 || p.File != name || p.Unfinished {
					t.Fatalf("%s %s, found: %+v", name, what, p)
				}
			}
		}
		for at := range len(content) {
			cut := content[:at]
			try(fmt.Sprint("cut at ", at), &cut)
		}
		for _, more := range []string{"\x00", strings.Repeat("\x00", 8), strings.Repeat("x", 200)} {
			longer := content + more
			try("made longer", &longer)
		}
		try("is gone", nil)
	}
}

// TestVerifyTail flips every byte of a log that a killed process has left open: durable records are damage, what may never
// have been acknowledged is unfinished.
func TestVerifyTail(t *testing.T) {
	s := newSample(t, 3)
	sound := verify(t, membersOf(t, s.members))
	for _, p := range sound {
		if !p.Unfinished || p.Segment != 3 {
			t.Fatalf("a killed process left %+v", p)
		}
	}
	if len(sound) != 3 {
		t.Fatalf("the open segment has %d problems", len(sound))
	}
	const name = "0000000003.open"
	last := s.records[8].At.Offset // Meta is empty
	for at := range len(s.members[2][name]) {
		images := slices.Clone(s.members)
		images[2] = s.members[2].flip(name, at, 0x10)
		damage, more := 0, 0
		for _, p := range verify(t, membersOf(t, images)) {
			if p.Member != 2 && !slices.Contains(sound, p) || p.File != name && p.Member == 2 {
				t.Fatalf("byte %d was changed, found: %+v", at, p)
			}
			if !p.Unfinished {
				damage++
			}
			if !slices.Contains(sound, p) {
				more++
			}
		}
		if durable := at < int(last)-segment.RecordHeaderBytes; more == 0 || durable != (damage > 0) {
			t.Fatalf("byte %d was changed, %d more problems, %d of them damage", at, more, damage)
		}
	}
	// On all members: the record before the last is known to be durable, the last is not.
	for k, want := range map[int]bool{7: true, 8: false} {
		images := slices.Clone(s.members)
		for i := range images {
			images[i] = images[i].flip(name, int(s.records[k].At.Offset)-1, 1)
		}
		damage := 0
		for _, p := range verify(t, membersOf(t, images)) {
			if !p.Unfinished {
				damage++
			}
		}
		if want != (damage > 0) {
			t.Fatalf("record %d is damaged on all members, %d problems", k+1, damage)
		}
	}
}

// TestVerifyStrange are members that hold what they should not.
func TestVerifyStrange(t *testing.T) {
	for what, f := range map[string]struct {
		change func(images []image)
		want   string // files, of member 1 if not said otherwise; ! damage, ~ unfinished
	}{
		"a dropped segment":        {func(im []image) { im[1]["0000000001.seg"] = im[1]["0000000002.seg"] }, "~0000000001.seg"},
		"under both names":         {func(im []image) { im[1]["0000000003.open"] = "x" }, "~0000000003.open"},
		"another's segment":        {func(im []image) { im[1]["0000000003.seg"] = im[1]["0000000002.seg"] }, "!0000000003.seg"},
		"file of a checkpoint":     {func(im []image) { im[1]["checkpoint/0000000009-000001"] = "x" }, "~checkpoint/0000000009-000001"},
		"file being copied":        {func(im []image) { im[1]["checkpoint/0000000001-000002.tmp"] = "x" }, "~checkpoint/0000000001-000002.tmp"},
		"somebody's files":         {func(im []image) { im[1]["notes"], im[1]["checkpoint/notes"] = "x", "x" }, ""},
		"another's checkpoint":     {func(im []image) { swap(im[1], "checkpoint/0000000001-000001", "checkpoint/0000000001-000002") }, "!checkpoint/0000000001-000001 !checkpoint/0000000001-000002"},
		"an old manifest":          {func(im []image) { im[1]["CHECKPOINT"] = older(im[1]["CHECKPOINT"], 1) }, "~CHECKPOINT"},
		"another manifest":         {func(im []image) { im[1]["CHECKPOINT"] = older(im[1]["CHECKPOINT"], 2) }, "!CHECKPOINT"},
		"the last segment is gone": {func(im []image) { delete(im[1], "0000000005.seg") }, "!0000000005.seg"},
		"no MEMBER":                {func(im []image) { delete(im[1], "MEMBER") }, "!MEMBER"},
	} {
		images := keptSample(t, 2)
		f.change(images)
		var got []string
		for _, p := range verify(t, membersOf(t, images)) {
			mark := "!"
			if p.Unfinished {
				mark = "~"
			}
			if text := mark + p.File; p.Member == 1 && !slices.Contains(got, text) {
				got = append(got, text)
			}
		}
		slices.Sort(got)
		if strings.Join(got, " ") != f.want {
			t.Errorf("%s: found %q, wanted %q", what, got, f.want)
		}
	}
}

func swap(im image, a, b string) { im[a], im[b] = im[b], im[a] }

// older returns the manifest with another sequence number, and another time.
func older(b string, sequence uint64) string {
	m, err := segment.ParseManifest([]byte(b))
	if err != nil {
		panic(err)
	}
	m.Sequence, m.Created = sequence, m.Created+1
	return string(m.Append(nil))
}

// TestVerifyDifferent has two copies that are whole each for itself and differ.
func TestVerifyDifferent(t *testing.T) {
	images := keptSample(t, 2)
	b := []byte(images[1]["0000000004.seg"])
	r := segment.NewReader(strings.NewReader(string(b)), int64(len(b)), storeOfImage(t, images[1]), 4)
	h, err := r.RecordHeader(segment.HeaderBytes)
	if err != nil {
		t.Fatal(err)
	}
	copy(b[h.DataOffset():], "DATA") // and the checksums made right
	h.DataCRC = segment.Checksum(0, b[h.DataOffset():][:h.Data])
	copy(b[segment.HeaderBytes:], h.Append(nil, segment.Seed(storeOfImage(t, images[1]), 4)))
	images[1]["0000000004.seg"] = string(b)
	got := verify(t, membersOf(t, images))
	if len(got) != 1 || got[0].Member != 1 || got[0].Segment != 4 || got[0].Offset != segment.HeaderBytes || got[0].Unfinished {
		t.Fatalf("found %+v", got)
	}
}

func storeOfImage(t *testing.T, im image) segment.StoreID {
	t.Helper()
	who, err := segment.ParseMember([]byte(im["MEMBER"]))
	if err != nil {
		t.Fatal(err)
	}
	return who.Roster.Store
}

// TestVerifyRefuses has members that cannot be looked at.
func TestVerifyRefuses(t *testing.T) {
	dir := t.TempDir()
	members := []Member{{Dir: filepath.Join(dir, "1")}, {Dir: filepath.Join(dir, "2")}}
	var found []Problem
	try := func(members []Member) error {
		found = nil
		return VerifyMembers(context.Background(), members, VerifyOptions{Report: func(p Problem) { found = append(found, p) }})
	}
	if err := try(members); err != nil {
		t.Errorf("directories that do not exist: %v", err)
	}
	if list, err := vfs.Default.List(dir); err != nil || len(list) > 0 {
		t.Errorf("%q were made: %v", list, err)
	}
	l := mustOpen(t, members, Options{})
	append1(t, l, "m", "d")
	if err := try(members); !errors.Is(err, ErrInUse) {
		t.Errorf("of an open log: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := try(members); err != nil {
		t.Errorf("of a closed log: %v", err)
	}
	if err := try([]Member{members[1], members[0]}); err != nil || len(found) > 0 {
		t.Errorf("in another order: %v %v", err, found)
	}
	if err := try(members[:1]); err != nil || len(found) != 1 || found[0].Member != 1 || found[0].File != "" || found[0].Unfinished {
		t.Errorf("one of two, which holds all there is: %v %+v", err, found)
	}
	if err := try(membersOf(t, newSample(t, 3).members[:1])); !errors.Is(err, ErrMembers) || !errors.Is(err, roster.ErrMinority) || len(found) > 0 {
		t.Errorf("one of three, which may lack something: %v %v", err, found)
	}
	if err := try(membersOf(t, []image{newSample(t, 2).members[0], newSample(t, 2).members[1]})); !errors.Is(err, ErrMembers) || len(found) > 0 {
		t.Errorf("of two logs: %v %v", err, found)
	}
	if err := try([]Member{members[0], members[0]}); !errors.Is(err, ErrMembers) {
		t.Errorf("the same twice: %v", err)
	}
	if err := try(nil); !errors.Is(err, ErrMembers) {
		t.Errorf("none: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := VerifyMembers(ctx, members, VerifyOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := l.Verify(context.Background(), VerifyOptions{}); !errors.Is(err, ErrClosed) {
		t.Errorf("of a log that is closed: %v", err)
	}
}

// TestVerifyOpenLog damages files of a log that is open.
func TestVerifyOpenLog(t *testing.T) {
	members := memMembers(3)
	l := mustOpen(t, members, Options{})
	records := fill(t, l, 5)
	mustSave(t, l, 3, cpFiles{"a": "content of a", "b": "of b"})
	if err := l.Drop(1); err != nil {
		t.Fatal(err)
	}
	tail := append1(t, l, "tail", "data")
	append1(t, l, "tail", "data")
	if err := verifyNow(l); err != nil {
		t.Fatal(err)
	}
	change := func(member int, name string, at int) {
		t.Helper()
		b, err := readFile(members[member], name)
		if err != nil {
			t.Fatal(err)
		}
		b[at] ^= 4
		if err := writeFile(members[member], name, b); err != nil {
			t.Fatal(err)
		}
	}
	change(0, "0000000006.open", int(tail.At.Offset))
	change(0, "checkpoint/0000000001-000001", 3)
	change(1, "CHECKPOINT", 70)
	change(2, "MEMBER", 20)
	change(2, segment.Name(3, true), int(records[2].At.Offset))
	change(0, segment.Name(4, true), segment.HeaderBytes)
	for _, name := range []string{segment.Name(1, true), segment.Name(2, false)} {
		if err := writeFile(members[1], name, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := members[1].FS.Remove(members[1].Dir + "/" + segment.Name(5, true)); err != nil {
		t.Fatal(err)
	}
	var got []string
	err := l.Verify(context.Background(), VerifyOptions{Report: func(p Problem) {
		got = append(got, fmt.Sprintf("%d %s %d", p.Member+1, p.File, p.Offset))
		if p.Unfinished || p.Dir != members[p.Member].Dir {
			t.Errorf("found %+v", p)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	want := []string{
		"1 0000000004.seg 64", "1 0000000006.open 64", "1 checkpoint/0000000001-000001 0",
		"2 0000000001.seg 0", "2 0000000002.open 0", "2 0000000005.seg 0", "2 CHECKPOINT 0",
		"3 0000000003.seg 64", "3 MEMBER 0",
	}
	if !slices.Equal(got, want) {
		t.Fatalf("found %q, wanted %q", got, want)
	}
	// The next checkpoint mends the file that was found damaged, and the manifest.
	mustSave(t, l, 3, cpFiles{"a": "content of a", "b": "of b"})
	got = got[:0]
	err = l.Verify(context.Background(), VerifyOptions{Report: func(p Problem) { got = append(got, p.File) }})
	slices.Sort(got)
	if err != nil || strings.Contains(fmt.Sprint(got), "CHECKPOINT") || strings.Contains(fmt.Sprint(got), "checkpoint") {
		t.Fatalf("after another checkpoint: %q %v", got, err)
	}
}

// TestVerifyBesideWork verifies again and again while records are appended, checkpoints saved and segments dropped.
func TestVerifyBesideWork(t *testing.T) {
	members := memMembers(2)
	l := mustOpen(t, members, Options{SegmentBytes: 1500})
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for rounds := 0; ; rounds++ {
			if err := verifyNow(l); err != nil {
				t.Error(err)
				return
			}
			select {
			case <-stop:
				if rounds > 0 {
					return
				}
			default:
			}
		}
	}()
	for i := range 400 {
		r := append1(t, l, "meta", strings.Repeat("d", i))
		if i%20 == 19 {
			mustSave(t, l, r.LSN, cpFiles{"state": fmt.Sprint(i), "same": strings.Repeat("same", 1000)})
			for _, s := range l.Segments() {
				if s.Sealed && s.ID%2 == 0 {
					if err := l.Drop(s.ID); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	close(stop)
	<-stopped
}

// TestVerifyPace reads as fast as it may and says how far it is.
func TestVerifyPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		members := memMembers(2)
		l := mustOpen(t, members, Options{})
		append1(t, l, "m", strings.Repeat("d", 10<<20))
		mustSave(t, l, 1, cpFiles{"a": strings.Repeat("a", 5<<20)})
		var calls int
		var last, total int64
		o := VerifyOptions{BytesPerSecond: 1 << 20, Progress: func(done, all int64) {
			if done < last || done > all {
				t.Errorf("%d of %d bytes after %d", done, all, last)
			}
			calls, last, total = calls+1, done, all
		}}
		start := time.Now()
		if err := l.Verify(context.Background(), o); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 29*time.Second || took > 33*time.Second {
			t.Errorf("30 MiB at 1 MiB/s took %v", took)
		}
		if last != total || total < 30<<20 || total > 31<<20 || calls < 7 {
			t.Errorf("%d calls, the last with %d of %d", calls, last, total)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		start, last = time.Now(), 0
		if err := l.Verify(ctx, o); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("cancelled after 3 s: %v after %v", err, time.Since(start))
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestVerifyWritesNothing lets no operation through that changes a disk, on members that have everything to repair.
func TestVerifyWritesNothing(t *testing.T) {
	images := keptSample(t, 3)
	delete(images[1], "CHECKPOINT")
	delete(images[1], "checkpoint/0000000001-000001")
	delete(images[2], "0000000003.seg")
	images[2]["0000000001.seg"] = "a leftover"
	images[0]["0000000009.tmp"] = "another"
	check := func(what string, want int) {
		t.Helper()
		members := hooked(membersOf(t, images), func(op fsOp, do func(int) error) error {
			t.Errorf("%s: %v on member %d", what, op, op.member)
			return errInjected
		})
		if got := verify(t, members); len(got) != want {
			t.Errorf("%s: found %d problems: %v", what, len(got), got)
		}
	}
	check("all members", 4)
	// Of a directory that cannot be told to be a member, only that is a problem.
	delete(images[1], "MEMBER")
	check("no MEMBER", 3)
	images[1] = image{}
	check("an empty directory", 3)
}
