package replication

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pagevault/internal/clock"
	"pagevault/replication/segment"
)

// filesOf1 returns the names of the copies and shards that the members have of segment 1, each behind the member.
func filesOf1(t *testing.T, members []Member) (out []string) {
	t.Helper()
	for i, m := range members {
		for name := range imageOf(t, m) {
			id, _, ok := segment.ParseName(name)
			if !ok {
				id, _, ok = segment.ParseShardName(name)
			}
			if ok && id == 1 {
				out = append(out, fmt.Sprintf("%d %s", i, name))
			}
		}
	}
	slices.Sort(out)
	return out
}

// TestOpenKeepsWhatIsNotRead crashes a conversion when copies and shards are there, and damages the footers of all copies and the
// inside of two shards. The frames of the shards are whole, so the log counts on those; the records are whole in the copies alone.
// They are read, the shards are healed from them, and only then they go.
func TestOpenKeepsWhatIsNotRead(t *testing.T) {
	a := newArrangeTest(t, 3, 1, 2000, nil)
	want(a.l, 3, rs21)
	if did, err := a.l.arrangeStep(t.Context()); !did || err != nil {
		t.Fatal(did, err)
	}
	s, _, _ := a.l.index.get(1)
	if err := a.l.Close(); err != nil {
		t.Fatal(err)
	}
	for i, m := range a.members {
		im := imageOf(t, m)
		im.flip(seg1, len(im[seg1])-20, 1).put(t, m, seg1)
		for shard, at := range s.shards {
			if name := segment.ShardName(1, shard); shard < 2 && int(at) == i {
				im.flip(name, segment.ShardFrameBytes+100, 1).put(t, m, name)
			}
		}
	}
	before := filesOf1(t, a.members)
	l, err := Open(a.members, Options{Passive: true, Clock: a.clock, KeepRedundancy: true, RepairBytesPerSecond: 1 << 50})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	a.l = l
	if after := filesOf1(t, a.members); !slices.Equal(after, before) {
		t.Errorf("Open has left %q of %q", after, before)
	}
	readBack(t, l, a.records)
	want(l, 3, rs21)
	for range 3 {
		a.all()
		a.clock.Advance(restMax)
	}
	a.check("healed from copies that are not counted on", 3, rs21)
	if files := filesOf1(t, a.members); len(files) != 3 {
		t.Errorf("left are %q", files)
	}
}

// readBack reads records with a check of their bytes.
func readBack(t *testing.T, l *Log, records []*Record) {
	t.Helper()
	for _, r := range records {
		data := slices.Concat(r.Data...)
		err := l.ReadChecked(make([]byte, len(data)), r.At, func(p []byte) error {
			if string(p) != string(data) {
				return errors.New("other bytes")
			}
			return nil
		})
		if err != nil {
			t.Errorf("record %d: %v", r.LSN, err)
		}
	}
}

// TestHealFromStray: what is lost in all copies that the log counts on is taken from one that it does not; that goes when the
// others are whole, and stays while they are not.
func TestHealFromStray(t *testing.T) {
	c := clock.NewManual(time.Unix(1e9, 0))
	l, members, was := sealedLog(t, 4, Options{Clock: c})
	want(l, 3, inCopies)
	l.index.setHolder(1, 3, false)
	at := recordsAt(t, was[seg1])
	for i := range 3 {
		was.flip(seg1, at[1]+50, byte(1+i)).put(t, members[i], seg1)
	}
	stray := was.flip(seg1, at[0]+50, 1) // it lacks another record
	stray.put(t, members[3], seg1)
	l.Heal(1)
	healAll(t, l)
	for i, m := range members {
		if got := imageOf(t, m)[seg1]; i < 3 && got != was[seg1] || i == 3 && got != "" {
			t.Errorf("member %d: %d bytes, healed: %t", i, len(got), got == was[seg1])
		}
	}

	c.Advance(2 * healAgainAfter)
	for i := range 3 {
		was.flip(seg1, at[1]+50, byte(1+i)).put(t, members[i], seg1)
	}
	stray = was.flip(seg1, at[1]+51, 1) // the same
	stray.put(t, members[3], seg1)
	l.Heal(1)
	healAll(t, l)
	if imageOf(t, members[3])[seg1] != stray[seg1] || l.Stats().Unhealable != 1 {
		t.Errorf("a stray was removed though something is lost: %+v", l.Stats())
	}
}

// TestHealCountsWhatItRemoves: a listing may be older than what others have removed since.
func TestHealCountsWhatItRemoves(t *testing.T) {
	var told healEvents
	l, members, was := sealedLog(t, 3, Options{Events: told.events()})
	if err := l.SaveCheckpoint(3, nil); err != nil {
		t.Fatal(err)
	}
	if err := l.Drop(1); err != nil {
		t.Fatal(err)
	}
	was.put(t, members[1], seg1)
	m := l.now().member(1)
	f, err := m.look()
	if err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		done, err := l.removeExtra(m, &f)
		if err != nil || len(done) != 1-n {
			t.Errorf("time %d: %v, %v", n+1, done, err)
		}
	}
	if healed, _ := told.counts(); healed != 1 || imageOf(t, members[1])[seg1] != "" {
		t.Errorf("%d were told", healed)
	}
}

// TestBringUpKeeps: what a member that comes back has of a segment, unsealed or damaged, stays until others have it as they should.
func TestBringUpKeeps(t *testing.T) {
	l, members, was := sealedLog(t, 4, Options{})
	want(l, 3, inCopies)
	const unsealed = "0000000001.open"
	m := l.now().member(3)
	records := recordsAt(t, was[seg1])
	f := func(what, name, content string, holders Set, stays, counts bool) {
		t.Helper()
		for _, name := range []string{seg1, unsealed} {
			_ = m.fs.Remove(m.path(name)) // it may not be there
		}
		if err := writeFile(members[3], name, []byte(content)); err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			l.index.setHolder(1, i, holders.Has(i))
		}
		found, err := m.look()
		if err != nil {
			t.Fatal(err)
		}
		b := bringing{l: l, ctx: t.Context(), m: m, seen: map[SegmentID]bool{2: true}, doubtful: map[SegmentID]bool{}}
		b.keepUnsealed(&found)
		for range 2 { // once more when it joins
			if err := b.clean(&found); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.segments(&found); err != nil {
			t.Fatal(err)
		}
		s, _, _ := l.index.get(1)
		if got := imageOf(t, members[3])[name]; (got == content) != stays || s.holders.Has(3) != counts || b.doubtful[1] != (stays && !counts) {
			t.Errorf("%s: %d of %d bytes are left, holders %b, doubtful %t", what, len(got), len(content), s.holders, b.doubtful[1])
		}
	}
	two, three := setOf(2), setOf(3)
	open := was[seg1][:records[2]]
	f("unsealed, and one copy is lacking", unsealed, open, two, true, false)
	f("unsealed, and nothing is lacking", unsealed, open, three, false, false)
	f("unsealed, of another try", unsealed, "x"+open[1:], two, false, false)
	sealed := was[seg1]
	f("whole", seg1, sealed, two, true, true)
	f("damaged, and one copy is lacking", seg1, sealed[:len(sealed)-1], two, true, false)
	f("damaged, and nothing is lacking", seg1, sealed[:len(sealed)-1], three, false, false)
	l.remember(1, []Problem{{Member: 0, Segment: 1, Lost: true}})
	f("unsealed, and something is lost", unsealed, open, three, true, false)
	f("damaged, and something is lost", seg1, sealed[:len(sealed)-1], three, true, false)
}

// TestAdoptShard: a shard of which some blocks are damaged is counted on, and healed, since its others may be needed; one that
// somebody else has by now goes when all shards are there.
func TestAdoptShard(t *testing.T) {
	a := newArrangeTest(t, 4, 1, 2000, nil)
	want(a.l, 3, rs21)
	a.all()
	s, _, _ := a.l.index.get(1)
	at := int(s.shards[0])
	m := a.l.now().member(at)
	name := segment.ShardName(1, 0)
	whole := imageOf(t, a.members[at])
	f := func(what string, im image, shard0 int8, lacking, left, counts, doubt bool) {
		t.Helper()
		im.put(t, a.members[at], name)
		a.l.files.forgetCopy(m, 1)
		a.l.index.setShard(1, 0, int(shard0))
		a.l.index.setShard(1, 1, int(s.shards[1]))
		if lacking {
			a.l.index.setShard(1, 1, -1)
		}
		list, err := a.l.adoptShards(t.Context(), m, nil)
		if err != nil {
			t.Fatal(err)
		}
		now, _, _ := a.l.index.get(1)
		_, there := imageOf(t, a.members[at])[name]
		if there != left || (int(now.shards[0]) == at) != counts || (len(list) > 0) != doubt {
			t.Errorf("%s: there %t, shards %v, doubtful %v", what, there, now.shards, list)
		}
	}
	other := int8(0)
	for slices.Contains(s.shards, other) {
		other++
	}
	damaged := whole.flip(name, segment.ShardFrameBytes+10, 1)
	f("whole", whole, -1, false, true, true, false)
	f("a damaged block", damaged, -1, false, true, true, true)
	f("a damaged frame", whole.flip(name, 3, 1), -1, false, true, false, true)
	f("another has it, and one is lacking", whole, other, true, true, false, true)
	f("another has it", whole, other, false, false, false, false)
}

// TestAdoptClaims: while somebody has the claim of a segment, and may be removing strays of it, no member is noted as a holder.
func TestAdoptClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, members, was := sealedLog(t, 4, Options{})
		want(l, 3, inCopies)
		was.put(t, members[3], seg1) // which three others have
		release, err := l.claim(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		b := bringing{l: l, ctx: t.Context(), m: l.now().member(3), seen: map[SegmentID]bool{}, doubtful: map[SegmentID]bool{}}
		s, _, _ := l.index.get(1)
		go func() {
			if err := b.segment(&s, true); err != nil {
				t.Error(err)
			}
		}()
		counts := func() bool {
			synctest.Wait()
			now, _, _ := l.index.get(1)
			return now.holders.Has(3)
		}
		if counts() {
			t.Error("the member is counted on while somebody else has the claim")
		}
		release()
		if !counts() {
			t.Error("the member is not counted on")
		}
	})
}
