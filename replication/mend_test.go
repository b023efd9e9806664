package replication

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pagevault/replication/segment"
)

// keptFiles is the checkpoint of keptSample.
var keptFiles = cpFiles{"a": "content of a", "b": "of b"}

// openKept opens images and returns what was repaired.
func openKept(t *testing.T, images []image) (*Log, []Member, Recovery, error) {
	t.Helper()
	members := membersOf(t, images)
	var r Recovery
	l, err := Open(members, Options{Events: &Events{Recovered: func(got Recovery) { r = got }}})
	if err == nil {
		t.Cleanup(func() { l.Close() })
	}
	return l, members, r, err
}

// mustBeKept checks that a log is that of keptSample, on all members.
func mustBeKept(t *testing.T, l *Log, members []Member) {
	t.Helper()
	mustRestore(t, l, keptFiles)
	if err := verifyNow(l); err != nil {
		t.Fatal(err)
	}
	v := verifier{t: t, name: "kept", members: members}
	v.equal()
	if s := l.Stats(); s.Segments != 4 || s.DroppedSegments != 1 || s.CheckpointLSN != 3 || s.Last != 5 {
		t.Fatalf("%+v", s)
	}
}

// mustRefuse checks that images are refused with an error of a kind, and nothing is changed.
func mustRefuse(t *testing.T, what string, images []image, kind error) {
	t.Helper()
	_, members, _, err := openKept(t, images)
	if !errors.Is(err, kind) {
		t.Errorf("%s: %v", what, err)
	}
	for i, m := range members {
		after, err := contents(m)
		if err != nil {
			t.Fatal(err)
		}
		before := maps.Clone(images[i])
		delete(before, "MEMBER")
		if !maps.Equal(before, after) {
			t.Errorf("%s: member %d was changed", what, i)
		}
	}
}

// TestManifestFlips damages every byte of the manifest, on one member and on all.
func TestManifestFlips(t *testing.T) {
	images := keptSample(t, 3)
	for at := range len(images[0]["CHECKPOINT"]) {
		one := slices.Clone(images)
		one[at%3] = one[at%3].flip("CHECKPOINT", at, 1<<(at%8))
		l, members, r, err := openKept(t, one)
		if err != nil {
			t.Fatalf("byte %d: %v", at, err)
		}
		mustBeKept(t, l, members)
		if len(r.Repaired) != 1 || r.Repaired[0].Member != at%3 || r.Repaired[0].File != "CHECKPOINT" || r.Repaired[0].Segment != 0 {
			t.Fatalf("byte %d: repaired %+v", at, r.Repaired)
		}
		all := slices.Clone(images)
		for i := range all {
			all[i] = all[i].flip("CHECKPOINT", at, 1<<(at%8))
		}
		mustRefuse(t, fmt.Sprint("byte ", at), all, ErrCorrupt)
	}
}

// TestManifestRefusals are manifests that the log does not fit.
func TestManifestRefusals(t *testing.T) {
	for what, c := range map[string]struct {
		change func(im image)
		kind   error
	}{
		"no manifest, and a segment missing": {func(im image) { delete(im, "CHECKPOINT") }, ErrCorrupt},
		"a segment that was not dropped":     {func(im image) { delete(im, "0000000003.seg") }, ErrCorrupt},
		"the end that the checkpoint is of": {func(im image) {
			maps.DeleteFunc(im, func(name, _ string) bool { return name > "0000000002" && name < "1" })
		}, ErrCorrupt},
		"other records were dropped": {func(im image) {
			im["CHECKPOINT"] = changed(im["CHECKPOINT"], func(m *segment.Manifest) { m.Dropped[0].Last++ })
		}, ErrCorrupt},
		"too few records were dropped": {func(im image) {
			im["CHECKPOINT"] = changed(im["CHECKPOINT"], func(m *segment.Manifest) {
				m.Dropped = append(m.Dropped, segment.Range{From: 3, To: 3, First: 4, Last: 4})
				m.LSN = 4
			})
		}, ErrCorrupt},
		"of another log": {func(im image) {
			im["CHECKPOINT"] = changed(im["CHECKPOINT"], func(m *segment.Manifest) { m.Store[0]++ })
		}, ErrMembers},
	} {
		images := keptSample(t, 2)
		for _, im := range images {
			c.change(im)
		}
		mustRefuse(t, what, images, c.kind)
	}
	images := keptSample(t, 2)
	images[1]["CHECKPOINT"] = changed(images[1]["CHECKPOINT"], func(m *segment.Manifest) { m.Created++ })
	mustRefuse(t, "two with one number", images, ErrCorrupt)
	images = keptSample(t, 2)
	b := []byte(images[1]["CHECKPOINT"])
	b[8]++
	sum := segment.Checksum(0, b[:60])
	copy(b[60:], []byte{byte(sum), byte(sum >> 8), byte(sum >> 16), byte(sum >> 24)})
	images[1]["CHECKPOINT"] = string(b)
	_, _, _, err := openKept(t, images)
	if version := (*segment.VersionError)(nil); !errors.As(err, &version) {
		t.Errorf("of another version: %v", err)
	}
}

// changed returns the manifest with a change, whole.
func changed(b string, f func(m *segment.Manifest)) string {
	m, err := segment.ParseManifest([]byte(b))
	if err != nil {
		panic(err)
	}
	f(m)
	return string(m.Append(nil))
}

// TestNoManifestAtAll has members that lost their manifests while no segment is missing: the log is there, the checkpoint
// is not.
func TestNoManifestAtAll(t *testing.T) {
	members := memMembers(2)
	l := mustOpen(t, members, Options{})
	fill(t, l, 3)
	mustSave(t, l, 2, keptFiles)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		if err := m.FS.Remove(m.Dir + "/CHECKPOINT"); err != nil {
			t.Fatal(err)
		}
	}
	l = mustOpen(t, members, Options{})
	if _, ok := l.Checkpoint(); ok || l.LastLSN() != 3 {
		t.Fatalf("checkpoint %v, last record %d", ok, l.LastLSN())
	}
	if files, err := contents(members[0]); err != nil || len(files) != 3 {
		t.Fatalf("left: %q %v", slices.Sorted(maps.Keys(files)), err)
	}
	mustSave(t, l, 3, keptFiles)
	mustRestore(t, l, keptFiles)
}

// TestMend has members that lack something another has, as a crash or an operator may leave them.
func TestMend(t *testing.T) {
	const a, b = "checkpoint/0000000001-000001", "checkpoint/0000000001-000002"
	for what, c := range map[string]struct {
		change   func(im image) // of member 1
		repaired string         // files on member 1
		dropped  int            // leftovers
	}{
		"nothing":                   {func(im image) {}, "", 0},
		"no manifest":               {func(im image) { delete(im, "CHECKPOINT") }, "CHECKPOINT", 0},
		"an older manifest":         {func(im image) { im["CHECKPOINT"] = older(im["CHECKPOINT"], 1) }, "CHECKPOINT", 0},
		"a file is missing":         {func(im image) { delete(im, a) }, a, 0},
		"a file is short":           {func(im image) { im[b] = im[b][1:] }, b, 0},
		"a file is long":            {func(im image) { im[b] += "x" }, b, 0},
		"all of it":                 {func(im image) { delete(im, "CHECKPOINT"); delete(im, a); delete(im, b) }, a + " " + b + " CHECKPOINT", 0},
		"leftovers of a checkpoint": {func(im image) { im[a+".tmp"], im["checkpoint/0000000007-000001"] = "x", "y" }, "", 0},
		"of a manifest":             {func(im image) { im["CHECKPOINT.tmp"] = "x" }, "", 0},
		"of dropped segments":       {func(im image) { im["0000000001.seg"], im["0000000001.open"] = "x", "y" }, "", 2},
		"an identity only": {func(im image) {
			maps.DeleteFunc(im, func(name, _ string) bool { return name != "MEMBER" })
		}, "0000000002.seg 0000000003.seg 0000000004.seg 0000000005.seg " + a + " " + b + " CHECKPOINT", 0},
	} {
		images := keptSample(t, 3)
		c.change(images[1])
		l, members, r, err := openKept(t, images)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		mustBeKept(t, l, members)
		var got []string
		for _, p := range r.Repaired {
			name := p.File
			if p.Segment > 0 {
				name = segment.Name(p.Segment, true)
			}
			if p.Member != 1 || p.Bytes == 0 || p.Reason == "" {
				t.Errorf("%s: repaired %+v", what, p)
			}
			got = append(got, name)
		}
		if want := strings.Fields(c.repaired); len(got) != len(want) || !sameElements(got, want) || r.Dropped != c.dropped {
			t.Errorf("%s: repaired %q and removed %d, wanted %q and %d", what, got, r.Dropped, want, c.dropped)
		}
	}
}

func sameElements(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// TestCheckpointFlips damages every byte of a checkpoint's files, on one member and on all.
func TestCheckpointFlips(t *testing.T) {
	const name = "checkpoint/0000000001-000001"
	images := keptSample(t, 3)
	for at := range len(images[0][name]) {
		one := slices.Clone(images)
		one[0] = one[0].flip(name, at, 1)
		l, members, _, err := openKept(t, one)
		if err != nil {
			t.Fatal(err)
		}
		mustRestore(t, l, keptFiles)
		if n := l.Members()[0].ReadErrors; n != 1 {
			t.Fatalf("%d read errors", n)
		}
		mustSave(t, l, 3, keptFiles) // the keys are the same, but one copy is known to be bad
		mustBeKept(t, l, members)

		all := slices.Clone(images)
		for i := range all {
			all[i] = all[i].flip(name, at, 1)
		}
		l, members, _, err = openKept(t, all)
		if err != nil {
			t.Fatal(err)
		}
		mustBeLost(t, l)
		mustSave(t, l, 3, keptFiles)
		mustBeKept(t, l, members)
		if err := l.Drop(2); err != nil {
			t.Fatal(err)
		}
	}
	// Missing on all members: opening finds out by itself.
	for _, im := range images {
		delete(im, name)
	}
	l, members, _, err := openKept(t, images)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Drop(2); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("dropped a segment that only a lost checkpoint stands for: %v", err)
	}
	mustBeLost(t, l)
	mustSave(t, l, 3, keptFiles)
	mustBeKept(t, l, members)
}

// mustBeLost checks that a checkpoint which no member has whole is not given out, and not relied on.
func mustBeLost(t *testing.T, l *Log) {
	t.Helper()
	if got, err := restore(l); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("restored %q: %v", got, err)
	}
	if err := l.Drop(2); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("dropped a segment that only a lost checkpoint stands for: %v", err)
	}
}
