package replication

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pagevault/internal/clock"
	"pagevault/replication/segment"
)

// healAll heals what was brought to Heal, until there is nothing left to do just now.
func healAll(t testing.TB, l *Log) {
	t.Helper()
	for {
		did, err := l.healStep(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !did {
			return
		}
	}
}

// healEvents collects what a log tells of healing.
type healEvents struct {
	sync.Mutex
	healed []Repair
	lost   []Problem
}

func (h *healEvents) events() *Events {
	return &Events{
		Healed:     func(r Repair) { h.Lock(); defer h.Unlock(); h.healed = append(h.healed, r) },
		Unhealable: func(p Problem) { h.Lock(); defer h.Unlock(); h.lost = append(h.lost, p) },
	}
}

func (h *healEvents) counts() (healed, lost int) {
	h.Lock()
	defer h.Unlock()
	return len(h.healed), len(h.lost)
}

// TestHealFlips flips bytes of sealed segments: all of them on one member, then other ones on each of two and of three. All are
// put right and counted.
func TestHealFlips(t *testing.T) {
	var told healEvents
	c := clock.NewManual(time.Unix(1e9, 0))
	l, members, was := sealedLog(t, 3, Options{Events: told.events(), Clock: c})
	n := len(was[seg1])
	wrong := 0
	for damaged := 1; damaged <= 3; damaged++ {
		for k := range n {
			if damaged > 1 && k%7 != 0 {
				continue
			}
			for i := range damaged {
				was.flip(seg1, (k+i*n/3)%n, 1<<(k%8)).put(t, members[i], seg1)
				wrong++
			}
			l.Heal(1)
			if s := l.Stats(); s.Healing != 1 || s.UnderReplicated < int64(n) {
				t.Fatalf("waiting to be healed: %+v", s)
			}
			healAll(t, l)
			for i, m := range members {
				if imageOf(t, m)[seg1] != was[seg1] {
					t.Fatalf("%d members, byte %d: member %d is not healed", damaged, k, i)
				}
			}
			c.Advance(2 * healAgainAfter)
		}
	}
	repaired := int64(0)
	for _, s := range l.Members() {
		repaired += s.Repaired
	}
	if healed, lost := told.counts(); healed != wrong || repaired != int64(wrong) || lost != 0 {
		t.Errorf("%d copies were damaged, %d healed, %d counted, %d lost", wrong, healed, repaired, lost)
	}
	if s := l.Stats(); s.Healing != 0 || s.Unhealable != 0 {
		t.Errorf("%+v", s)
	}
}

// TestHealMissing takes copies away, cuts them and puts others in their place.
func TestHealMissing(t *testing.T) {
	c := clock.NewManual(time.Unix(1e9, 0))
	l, members, was := sealedLog(t, 3, Options{Clock: c})
	f := func(what string, change func(images []image)) {
		t.Helper()
		images := []image{maps.Clone(was), maps.Clone(was), maps.Clone(was)}
		change(images)
		for i, m := range members {
			images[i].put(t, m, seg1)
		}
		l.Heal(1)
		healAll(t, l)
		for i, m := range members {
			if got := imageOf(t, m); !maps.Equal(got, members0(was, got)) {
				t.Fatalf("%s: member %d holds %q", what, i, slices.Sorted(maps.Keys(got)))
			}
		}
		c.Advance(2 * healAgainAfter)
	}
	f("one is missing", func(im []image) { delete(im[1], seg1) })
	f("two are missing", func(im []image) { delete(im[0], seg1); delete(im[2], seg1) })
	f("one is empty", func(im []image) { im[0][seg1] = "" })
	f("one is cut, one is longer", func(im []image) { im[0][seg1] = im[0][seg1][:200]; im[2][seg1] += "x" })
	f("swapped with another segment", func(im []image) { im[1][seg1] = im[1]["0000000002.seg"] })
	f("one differs", func(im []image) { im[2] = im[2].forge(t, seg1, 1) })
	f("each differs elsewhere", func(im []image) {
		for i := range im {
			im[i] = im[i].forge(t, seg1, i)
		}
	})
}

// members0 returns the image of a member with the MEMBER file of another.
func members0(im, member image) image {
	out := maps.Clone(im)
	out["MEMBER"] = member["MEMBER"]
	return out
}

// TestHealLost damages one record on all members and another on one: the other is healed, the first is told once and never
// served, and it is looked at again when somebody scrubs.
func TestHealLost(t *testing.T) {
	var told healEvents
	c := clock.NewManual(time.Unix(1e9, 0))
	l, members, was := sealedLog(t, 3, Options{Events: told.events(), Clock: c})
	at := recordsAt(t, was[seg1])
	for i, m := range members {
		im := was.flip(seg1, at[1]+41, byte(1+i))
		if i == 1 {
			im = im.flip(seg1, at[2]+50, 1).flip(seg1, len(was[seg1])-3, 1)
		}
		im.put(t, m, seg1)
	}
	for range 3 {
		l.Heal(1)
		healAll(t, l)
		c.Advance(2 * healAgainAfter)
	}
	for i, m := range members {
		if got, want := imageOf(t, m), was.flip(seg1, at[1]+41, byte(1+i)); got[seg1] != want[seg1] {
			t.Errorf("member %d: more or less than the lost record differs", i)
		}
	}
	if healed, lost := told.counts(); healed != 1 || lost != 1 || !told.lost[0].Lost || told.lost[0].Offset != int64(at[1]) {
		t.Errorf("%d healed, lost %+v", healed, told.lost)
	}
	if s := l.Stats(); s.Unhealable != 1 || s.Healing != 0 {
		t.Errorf("%+v", s)
	}
	err := l.SegmentRecords(1, func(*Record) error { return nil })
	if !errors.Is(err, ErrCorrupt) {
		t.Errorf("reading the lost record: %v", err)
	}
	// A disk with the record comes back.
	was.put(t, members[2], seg1)
	if err := l.Scrub(t.Context(), ScrubOptions{}); err != nil {
		t.Fatal(err)
	}
	for i, m := range members {
		if imageOf(t, m)[seg1] != was[seg1] {
			t.Errorf("member %d is not healed", i)
		}
	}
	if s := l.Stats(); s.Unhealable != 0 {
		t.Errorf("%+v", s)
	}
}

// TestHealDiffer lets two members hold different records that are both whole: nobody can tell which is right.
func TestHealDiffer(t *testing.T) {
	var told healEvents
	l, members, was := sealedLog(t, 2, Options{Events: told.events()})
	other := was.forge(t, seg1, 1)
	other.put(t, members[0], seg1)
	l.Heal(1)
	healAll(t, l)
	if healed, lost := told.counts(); healed != 0 || lost != 1 {
		t.Errorf("%d healed, %d lost", healed, lost)
	}
	if imageOf(t, members[0])[seg1] != other[seg1] || imageOf(t, members[1])[seg1] != was[seg1] {
		t.Error("one of them was changed")
	}
}

// TestHealTail damages the segment that is being written: it is sealed, and healed.
func TestHealTail(t *testing.T) {
	l, members, _ := sealedLog(t, 3, Options{Clock: clock.System})
	r := append1(t, l, "meta", "of the tail")
	const name = "0000000003.open"
	im := imageOf(t, members[1])
	im.flip(name, int(r.At.Offset), 1).put(t, members[1], name)
	l.Heal(3)
	if did, err := l.healStep(t.Context()); !did || err != nil {
		t.Fatal(did, err)
	}
	if err := l.Rotate(); err != nil { // returns when the rotation that was asked for is over, too
		t.Fatal(err)
	}
	if _, err := l.healSegment(t.Context(), 3, nil); err != nil {
		t.Fatal(err)
	}
	want := imageOf(t, members[0])
	for i, m := range members {
		if got := imageOf(t, m); got["0000000003.seg"] != want["0000000003.seg"] || got[name] != "" {
			t.Errorf("member %d holds %q", i, slices.Sorted(maps.Keys(got)))
		}
	}
	if s := l.Stats(); s.Sealed != 3 {
		t.Errorf("%d segments were sealed", s.Sealed)
	}
}

// TestHealRetry fails the writes of the member that has to be healed, for want of room: it is tried again, at growing times.
func TestHealRetry(t *testing.T) {
	c := clock.NewManual(time.Unix(1e9, 0))
	full := false
	members := memMembers(3)
	l, err := Open(hooked(members, func(op fsOp, do func(int) error) error {
		if full && op.member == 1 && op.kind == "create" {
			return syscall.ENOSPC
		}
		return do(op.bytes)
	}), Options{Passive: true, Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	append1(t, l, "meta", "data")
	if err := l.Rotate(); err != nil {
		t.Fatal(err)
	}
	was := imageOf(t, members[0])
	was.flip(seg1, 100, 1).put(t, members[1], seg1)
	full = true
	l.Heal(1)
	tried := 0
	for range 200 {
		did, err := l.healStep(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if did {
			tried++
		}
		c.Advance(time.Second)
	}
	if tried < 6 || tried > 12 { // at 0, 1, 3, 7, 15, 31, 63, 123, 183 s
		t.Errorf("tried %d times in 200 s", tried)
	}
	if l.Failed() != nil || l.Stats().Healing != 1 {
		t.Errorf("%v, %+v", l.Failed(), l.Stats())
	}
	full = false
	c.Advance(healRetryMax)
	healAll(t, l)
	if imageOf(t, members[1])[seg1] != was[seg1] {
		t.Error("it is not healed")
	}
}

// TestHealBesideAll damages copies, one of each segment at any time, while records are appended and read, and segments are
// dropped: nobody reads a wrong byte, and in the end the members are equal.
func TestHealBesideAll(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 0))
	members := memMembers(3)
	l, err := Open(members, Options{Passive: true, SegmentBytes: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var all struct {
		sync.Mutex
		records []*Record
		dropped SegmentID
		done    bool
	}
	var running sync.WaitGroup
	for range 2 {
		running.Go(func() {
			p := make([]byte, 8)
			for k := 0; ; k++ {
				all.Lock()
				if all.done {
					all.Unlock()
					return
				}
				if len(all.records) == 0 {
					all.Unlock()
					continue
				}
				r := all.records[k*7919%len(all.records)]
				all.Unlock()
				want := string(r.Data[0][:len(p)])
				err := l.ReadChecked(p, r.At, func(p []byte) error {
					if string(p) != want {
						return errors.New("other bytes")
					}
					return nil
				})
				if err != nil && !errors.Is(err, ErrDropped) {
					t.Errorf("record %d: %v", r.LSN, err)
					return
				}
			}
		})
	}
	damage := func() {
		for _, s := range l.Segments() {
			if !s.Sealed {
				continue
			}
			m := members[(int(s.ID)+dice.IntN(2))%3] // never on all three
			name := segment.Name(s.ID, true)
			content, err := readFile(m, name)
			if err != nil || len(content) == 0 {
				continue
			}
			content[dice.IntN(len(content))] ^= 1 << dice.IntN(8)
			if err := writeFile(m, name, content); err != nil {
				t.Fatal(err)
			}
			if _, err := l.healSegment(t.Context(), s.ID, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	for k := range 300 {
		r := append1(t, l, fmt.Sprint("meta ", k), strings.Repeat(fmt.Sprintf("%08d", k), 1+dice.IntN(60)))
		all.Lock()
		all.records = append(all.records, r)
		all.Unlock()
		switch {
		case k%20 == 19:
			damage()
		case k%50 == 5:
			list := l.Segments()
			if s := list[0]; s.Sealed && len(list) > 3 {
				if err := l.SaveCheckpoint(s.Last, nil); err != nil {
					t.Fatal(err)
				}
				l.Heal(s.ID)
				running.Go(func() { healAll(t, l) })
				if err := l.Drop(s.ID); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	all.Lock()
	all.done = true
	all.Unlock()
	running.Wait()
	damage()
	healAll(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	want := imageOf(t, members[0])
	for i, m := range members {
		if got := imageOf(t, m); !maps.Equal(members0(got, want), want) {
			t.Errorf("member %d differs", i)
		}
	}
	if found := verify(t, members); len(found) > 0 {
		t.Errorf("%v", found)
	}
}
