package replication

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pagevault/replication/segment"
)

// TestScrub damages every kind of file on one member, on two and on all, in different places, and has everything read: it is
// found, told and put right, and nothing is found the next time.
func TestScrub(t *testing.T) {
	images := keptSample(t, 3)
	members := membersOf(t, images)
	var told healEvents
	var result ScrubResult
	ev := told.events()
	ev.Scrubbed = func(r ScrubResult) { result = r }
	l, err := Open(members, Options{Passive: true, Events: ev})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	scrub := func(what string) (found []Problem) {
		t.Helper()
		last, all := int64(0), int64(0)
		o := ScrubOptions{Report: func(p Problem) { found = append(found, p) }, Progress: func(done, total int64) {
			if done < last || done > total {
				t.Errorf("%s: %d of %d bytes after %d", what, done, total, last)
			}
			last, all = done, total
		}}
		if err := l.Scrub(t.Context(), o); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if last != all || all == 0 {
			t.Errorf("%s: ends with %d of %d bytes", what, last, all)
		}
		if s := l.ScrubStatus(); s.Running || s.Finished.IsZero() || s.Problems != len(found) || result.Problems != len(found) || result.Healed != s.Healed {
			t.Errorf("%s: %d problems, %+v, %+v", what, len(found), s, result)
		}
		return found
	}
	f := func(what string, change func(im []image)) {
		t.Helper()
		changed := []image{maps.Clone(images[0]), maps.Clone(images[1]), maps.Clone(images[2])}
		change(changed)
		for i, m := range members {
			for name := range unite(changed[i], images[i]) {
				if changed[i][name] != images[i][name] {
					changed[i].put(t, m, name)
				}
			}
		}
		if found := scrub(what); len(found) == 0 {
			t.Errorf("%s: nothing was found", what)
		}
		for i, m := range members {
			if got := imageOf(t, m); !maps.Equal(got, images[i]) {
				t.Fatalf("%s: member %d holds %q and is not as it was", what, i, slices.Sorted(maps.Keys(got)))
			}
		}
		if found := scrub(what); len(found) > 0 {
			t.Errorf("%s: again %v", what, found)
		}
	}
	if found := scrub("nothing"); len(found) > 0 {
		t.Errorf("problems of a whole log: %v", found)
	}
	for name, content := range images[0] {
		if name == segment.IdentityName {
			continue
		}
		places := []int{3, 100, len(content) - 10} // in header, record and footer
		if _, _, ok := segment.ParseName(name); !ok {
			places = []int{0, len(content) - 1} // one member must have it whole
		}
		for n := range places {
			f(fmt.Sprintf("%s is damaged on %d", name, n+1), func(im []image) {
				for i := range n + 1 {
					im[i] = im[i].flip(name, places[i], 0x10)
				}
			})
		}
		f(name+" is missing on two", func(im []image) { delete(im[0], name); delete(im[2], name) })
		f(name+" is cut", func(im []image) { im[1][name] = im[1][name][:len(content)/2] })
		f(name+" is longer", func(im []image) { im[1][name] += "x" })
	}
	f("a dropped segment", func(im []image) { im[1][seg1] = im[1]["0000000002.seg"] })
	f("an unsealed name", func(im []image) { im[2]["0000000003.open"] = im[2]["0000000003.seg"] })
	f("swapped segments", func(im []image) { swap(im[1], "0000000002.seg", "0000000003.seg") })
	f("swapped files", func(im []image) { swap(im[1], "checkpoint/0000000001-000001", "checkpoint/0000000001-000002") })
	f("a differing copy", func(im []image) { im[2] = im[2].forge(t, "0000000004.seg", 0) })
	f("an old manifest", func(im []image) { im[1]["CHECKPOINT"] = older(im[1]["CHECKPOINT"], 1) })
	healed, lost := told.counts()
	if healed == 0 || lost > 0 {
		t.Errorf("%d healed, %d lost", healed, lost)
	}
	// What is nobody's stays, what a rewrite has left goes.
	images[1]["notes"] = "x"
	images[1].put(t, members[1], "notes")
	image{"0000000009.tmp": "x"}.put(t, members[0], "0000000009.tmp")
	image{"0000000009.open": "x"}.put(t, members[0], "0000000009.open")
	if _, err := l.healDirectories(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, m := range members {
		got := imageOf(t, m)
		if i == 0 && got["0000000009.open"] != "x" {
			t.Error("a segment that is being made was removed")
		}
		delete(got, "0000000009.open")
		if !maps.Equal(got, images[i]) {
			t.Errorf("member %d holds %q", i, slices.Sorted(maps.Keys(got)))
		}
	}
}

func unite(a, b image) image {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

// TestScrubRate is the rate of a run for what is left of it.
func TestScrubRate(t *testing.T) {
	const day, most = 24 * time.Hour, 128 << 20
	f := func(left int64, until time.Duration, want int64) {
		t.Helper()
		if got := scrubRate(left, until, most); got != want {
			t.Errorf("%d bytes in %v: %d, want %d", left, until, got, want)
		}
	}
	f(0, day, scrubFloor)
	f(1<<30, day, scrubFloor)
	f(8<<20*86400, day, 8<<20)
	f(1<<50, day, most) // more than is allowed
	f(1, 0, most)       // too late
	f(1, -time.Hour, most)
}

// TestScrubLoop lets weeks pass: everything is read again and again, in less than ScrubEvery, also if restarts interrupt it, and
// damage is found and healed.
func TestScrubLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		members := memMembers(3)
		var runs atomic.Int64
		var read atomic.Int64
		o := Options{ScrubEvery: 10 * time.Minute, SegmentBytes: 1 << 20, Events: &Events{Scrubbed: func(r ScrubResult) {
			runs.Add(1)
			read.Add(r.Bytes)
		}}}
		l, err := Open(members, o)
		if err != nil {
			t.Fatal(err)
		}
		for range 60 { // 60 segments, 180 MiB in all: at 4 MiB/s they take 45 s
			append1(t, l, "meta", strings.Repeat("d", 900<<10))
		}
		if s := l.ScrubStatus(); s.Running || !s.Started.IsZero() || s.Age != 0 {
			t.Errorf("before the first run: %+v", s)
		}
		pass(scrubDelay + 20*time.Second)
		s := l.ScrubStatus()
		if !s.Running || s.Done < 40<<20 || s.Done > 110<<20 || s.Total < 150<<20 {
			t.Errorf("after 20 s: %+v", s)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		started := s.Started
		if l, err = Open(members, o); err != nil {
			t.Fatal(err)
		}
		pass(scrubDelay + 35*time.Second)
		if s := l.ScrubStatus(); s.Running || !s.Started.Equal(started) || s.Age > 30*time.Second || s.Age == 0 || runs.Load() != 1 {
			t.Errorf("35 s after the restart: %+v, %d runs", s, runs.Load())
		}
		if n := read.Load(); n < 50<<20 || n > 150<<20 {
			t.Errorf("after the restart %d bytes were read", n)
		}
		im := imageOf(t, members[1])
		im.flip("0000000007.seg", 500<<10, 1).put(t, members[1], "0000000007.seg")
		pass(o.ScrubEvery)
		if imageOf(t, members[1])["0000000007.seg"] != im["0000000007.seg"] {
			t.Error("damage was not found within ScrubEvery")
		}
		pass(5 * o.ScrubEvery)
		if n := runs.Load(); n < 12 || n > 14 { // every half of ScrubEvery
			t.Errorf("%d runs in an hour", n)
		}
		if s := l.ScrubStatus(); s.Age > o.ScrubEvery/2+time.Minute {
			t.Errorf("%+v", s)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestScrubEnds cancels a run and closes the log under another: they end, and what was read is not read again.
func TestScrubEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, _ := sealedLog(t, 3, Options{})
		append1(t, l, "meta", strings.Repeat("d", 8<<20))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		err := l.Scrub(ctx, ScrubOptions{BytesPerSecond: 1 << 20})
		if err != context.DeadlineExceeded {
			t.Errorf("cancelled: %v", err)
		}
		if s := l.ScrubStatus(); !s.Finished.IsZero() || !s.Running || s.Done == 0 {
			t.Errorf("cancelled: %+v", s)
		}
		done := make(chan error)
		go func() { done <- l.Scrub(t.Context(), ScrubOptions{BytesPerSecond: 1 << 20}) }()
		pass(2 * time.Second)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != ErrClosed {
			t.Errorf("closed: %v", err)
		}
	})
}
