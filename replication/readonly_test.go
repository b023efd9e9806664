package replication

import (
	"errors"
	"fmt"
	"maps"
	"testing"

	"pagevault/replication/roster"
)

// openedReadOnly opens images for reading only and checks, when the test ends, that they are as they were.
func openedReadOnly(t *testing.T, images []image) (*Log, error) {
	t.Helper()
	var members []Member
	for i, im := range images {
		members = append(members, im.member(t, i))
	}
	l, err := OpenReadOnly(members, Options{})
	t.Cleanup(func() {
		if err == nil {
			if err := l.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
		for i, m := range members {
			after := imageOf(t, m)
			delete(after, "LOCK")
			if !maps.Equal(after, images[i]) {
				t.Errorf("member %d was changed", i+1)
			}
		}
	})
	return l, err
}

// TestOpenReadOnly reads a log as a killed process has left it, whole and with every byte of one copy damaged in turn:
// all records are there, and nothing is changed.
func TestOpenReadOnly(t *testing.T) {
	s := newSample(t, 3)
	check := func(what string, images []image) {
		t.Helper()
		l, err := openedReadOnly(t, images)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if err := s.readAll(l, 0); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		n := 0
		for _, info := range l.Segments() {
			if err := l.SegmentRecords(info.ID, func(*Record) error { n++; return nil }); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		if n != len(s.records) || l.LastLSN() != LSN(n) || l.Stats().Last != LSN(n) {
			t.Fatalf("%s: %d records, the last %d", what, n, l.LastLSN())
		}
		if l.Segments()[2].Sealed || !l.Segments()[1].Sealed {
			t.Fatalf("%s: %+v", what, l.Segments())
		}
	}
	check("whole", s.members)
	for name := range s.members[0] {
		if name == "MEMBER" {
			continue
		}
		for at := 0; at < len(s.members[0][name]); at += 13 {
			check(fmt.Sprintf("%s with a flip at %d", name, at), []image{s.members[0].flip(name, at, 0x10), s.members[1], s.members[2]})
		}
		without := maps.Clone(s.members[1])
		delete(without, name)
		check(name+" missing", []image{s.members[0], without, s.members[2]})
	}
}

// TestReadOnlyWithoutSome reads a log of which directories are missing, empty or in another order.
func TestReadOnlyWithoutSome(t *testing.T) {
	three, two := newSample(t, 3), newSample(t, 2)
	for what, c := range map[string]struct {
		s      sample
		images []image
	}{
		"two of three":       {three, three.members[1:]},
		"an empty one":       {three, []image{three.members[0], {}, three.members[2]}},
		"no MEMBER":          {three, []image{three.members[0].cut("MEMBER", -1, false), three.members[1], three.members[2]}},
		"in another order":   {three, []image{three.members[2], three.members[0], three.members[1]}},
		"the first of two":   {two, two.members[:1]},
		"the second of two":  {two, two.members[1:]},
		"one more than were": {two, []image{two.members[0], {}, two.members[1]}},
	} {
		images := make([]image, len(c.images))
		for i, im := range c.images {
			images[i] = maps.Clone(im)
		}
		l, err := openedReadOnly(t, images)
		if err == nil {
			err = c.s.readAll(l, 0)
		}
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestReadOnlyRefusesToWrite(t *testing.T) {
	l, err := openedReadOnly(t, newSample(t, 2).members)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(&Record{Meta: []byte("x")}); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Append: %v", err)
	}
	if _, err := l.Next(nil); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Next: %v", err)
	}
	if err := l.Rotate(); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Rotate: %v", err)
	}
	if err := l.SaveCheckpoint(1, nil); !errors.Is(err, ErrReadOnly) {
		t.Errorf("SaveCheckpoint: %v", err)
	}
	if err := l.Drop(1); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Drop: %v", err)
	}
}

// TestReadOnlyRefuses: what is in use, what is no log, and what Open refuses too. Nothing is made.
func TestReadOnlyRefuses(t *testing.T) {
	members := memMembers(2)
	if _, err := OpenReadOnly(members, Options{}); !errors.Is(err, ErrMembers) {
		t.Errorf("empty: %v", err)
	}
	if list, err := members[0].FS.List(members[0].Dir); err == nil {
		t.Errorf("the directory was made: %v", list)
	}
	l := mustOpen(t, members, Options{})
	append1(t, l, "meta")
	for _, some := range [][]Member{members, members[:1], members[1:]} {
		if _, err := OpenReadOnly(some, Options{}); !errors.Is(err, ErrInUse) {
			t.Errorf("%d that are in use: %v", len(some), err)
		}
	}
	three := newSample(t, 3)
	for _, im := range three.members {
		if _, err := openedReadOnly(t, []image{im}); !errors.Is(err, ErrMembers) || !errors.Is(err, roster.ErrMinority) {
			t.Errorf("one of three members: %v", err)
		}
	}
	if _, err := openedReadOnly(t, []image{three.members[0], newSample(t, 3).members[1], three.members[2]}); !errors.Is(err, ErrMembers) {
		t.Errorf("one of another log: %v", err)
	}
	s := newSample(t, 1)
	name := "0000000002.seg"
	damaged := s.members[0].flip(name, len(s.members[0][name])-1, 1)
	delete(damaged, "0000000001.seg")
	if _, err := openedReadOnly(t, []image{damaged}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a segment is missing: %v", err)
	}
}

// TestReadOnlyOnDisk does on the operating system's file system what the other tests do in memory.
func TestReadOnlyOnDisk(t *testing.T) {
	dir := t.TempDir()
	members := []Member{{Dir: dir + "/a"}, {Dir: dir + "/b"}}
	l := mustOpen(t, members, Options{})
	append1(t, l, "meta")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := OpenReadOnly(members, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}
