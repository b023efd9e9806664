package replication

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pagevault/internal/clock"
	"pagevault/replication/placement"
	"pagevault/replication/roster"
	"pagevault/replication/segment"
)

// arrangeTest is a log whose segments are to be kept in one way and another.
type arrangeTest struct {
	t       testing.TB
	l       *Log
	clock   *clock.Manual
	members []Member // without hooks
	records []*Record
	was     image // the segments as they were sealed, by name
}

// newArrangeTest returns a log of n members with some sealed segments of two records each.
func newArrangeTest(t testing.TB, n, segments, bytes int, h hook) *arrangeTest {
	t.Helper()
	a := &arrangeTest{t: t, clock: clock.NewManual(time.Unix(1e9, 0)), members: memMembers(n), was: image{}}
	members := a.members
	if h != nil {
		members = hooked(members, h)
	}
	a.open(members, segments, bytes)
	return a
}

// open opens the log, whose members may have hooks, and fills it.
func (a *arrangeTest) open(members []Member, segments, bytes int) {
	a.t.Helper()
	l, err := Open(members, Options{Passive: true, Clock: a.clock, RepairBytesPerSecond: 1 << 50})
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { l.Close() })
	a.l = l
	a.fill(segments, bytes)
}

// fill appends records to a log that is empty.
func (a *arrangeTest) fill(segments, bytes int) {
	a.t.Helper()
	dice := rand.New(rand.NewPCG(uint64(segments), uint64(bytes)))
	for range segments {
		for range 2 {
			data := make([]byte, bytes/2)
			for i := range data {
				data[i] = byte(dice.Uint32())
			}
			a.records = append(a.records, append1(a.t, a.l, "meta", string(data)))
		}
		if err := a.l.Rotate(); err != nil {
			a.t.Fatal(err)
		}
	}
	for _, m := range a.members {
		for name, b := range imageOf(a.t, m) {
			if strings.HasSuffix(name, ".seg") {
				a.was[name] = b
			}
		}
	}
}

// want says how segments are to be kept from now on.
func want(l *Log, copies int, r Redundancy) {
	ms := *l.now()
	ms.roster.Copies, ms.roster.K, ms.roster.M = copies, r.K, r.M
	l.membership.Store(&ms)
}

// all arranges and heals, as the custodian does, until there is nothing left to do just now. It returns how many tasks that were.
func (a *arrangeTest) all() (tasks int) {
	a.t.Helper()
	for range 10000 {
		did, err := a.l.healStep(a.t.Context())
		if err == nil && !did {
			if did, err = a.l.arrangeStep(a.t.Context()); did {
				tasks++
			}
		}
		if err != nil {
			a.t.Fatal(err)
		}
		attended(a.t, a.l)
		if !did {
			return tasks
		}
	}
	a.t.Fatal("there is no end to it")
	return 0
}

// attended waits until the members that have failed so far are left out.
func attended(t testing.TB, l *Log) {
	t.Helper()
	if err := l.change(false, func(*membership) (roster.Roster, []*member, error) { return roster.Roster{}, nil, errAttended }); err != errAttended {
		t.Fatal(err)
	}
}

var errAttended = errors.New("whatever was to be done before is done")

// bringUp brings up the members that were left out, as the custodian does.
func (a *arrangeTest) bringUp() {
	a.t.Helper()
	attended(a.t, a.l)
	for i := range a.members {
		if m := a.l.now().member(i); m != nil && a.l.now().has(m) {
			continue
		}
		if err := a.l.bringUp(a.t.Context(), i); err != nil {
			a.t.Fatal(err)
		}
		if !a.l.now().current.Has(i) {
			a.t.Fatalf("member %d is not brought up: %+v", i, a.l.Members()[i])
		}
	}
}

// read reads every record in both ways.
func (a *arrangeTest) read() error {
	for _, r := range a.records {
		p := make([]byte, len(r.Data[0]))
		if err := a.l.ReadAt(p, r.At); err != nil {
			return fmt.Errorf("record %d: %w", r.LSN, err)
		}
		if !bytes.Equal(p, r.Data[0]) {
			return fmt.Errorf("record %d: other bytes", r.LSN)
		}
	}
	return a.readChecked()
}

func (a *arrangeTest) readChecked() error {
	for _, r := range a.records {
		p := make([]byte, len(r.Data[0]))
		if err := a.l.ReadChecked(p, r.At, func(p []byte) error {
			if !bytes.Equal(p, r.Data[0]) {
				return errWrong
			}
			return nil
		}); err != nil {
			return fmt.Errorf("record %d: %w", r.LSN, err)
		}
	}
	return nil
}

// check looks at the files, which must be those that r asks for, at what is counted, and reads every byte.
func (a *arrangeTest) check(what string, copies int, r Redundancy) {
	a.t.Helper()
	files, total := map[string]int{}, int64(0)
	for i, m := range a.members {
		for name, b := range imageOf(a.t, m) {
			if strings.HasSuffix(name, segment.TempSuffix) {
				a.t.Errorf("%s: member %d has %s left", what, i, name)
			}
			_, isShard := shardOf(name)
			if _, sealed := a.was[name]; sealed && b != a.was[name] {
				a.t.Errorf("%s: member %d: %s has other bytes than before", what, i, name)
			} else if sealed || isShard {
				files[name]++
				total += int64(len(b))
			}
		}
	}
	wanted := map[string]int{}
	for name := range a.was {
		id := segmentOf(name)
		for i := range r.K + r.M {
			wanted[segment.ShardName(id, i)] = 1
		}
		if r.K == 0 {
			wanted[name] = copies
		}
	}
	if !maps.Equal(files, wanted) {
		a.t.Errorf("%s: the members hold %v", what, files)
	}
	s := a.l.Stats()
	if s.UnderReplicated != 0 || s.CopyBytes+s.ShardBytes != total || (r.K == 0) != (s.ShardBytes == 0) || (r.K > 0) != (s.CopyBytes == 0) {
		a.t.Errorf("%s: %+v, and there are %d bytes", what, s, total)
	}
	if err := a.read(); err != nil {
		a.t.Errorf("%s: %v", what, err)
	}
}

func segmentOf(name string) (id SegmentID) {
	if _, err := fmt.Sscanf(name, "%d.seg", &id); err != nil {
		panic(err)
	}
	return id
}

func shardOf(name string) (SegmentID, bool) {
	id, _, ok := segment.ParseShardName(name)
	return id, ok
}

// bytesHeld returns the bytes of all files of segments on all members.
func (a *arrangeTest) bytesHeld() (n int64) {
	for _, m := range a.members {
		for name, b := range imageOf(a.t, m) {
			if _, ok := shardOf(name); ok || strings.HasSuffix(name, ".seg") {
				n += int64(len(b))
			}
		}
	}
	return n
}

var (
	inCopies = Redundancy{}
	rs21     = Redundancy{2, 1}
	rs32     = Redundancy{3, 2}
	rs42     = Redundancy{4, 2}
)

// TestArrange takes segments from copies to shards, to those of other codes, and back.
func TestArrange(t *testing.T) {
	f := func(members int, way ...Redundancy) {
		t.Helper()
		a := newArrangeTest(t, members, 3, 3000, nil)
		for _, r := range way {
			want(a.l, 3, r)
			a.all()
			a.check(fmt.Sprintf("%v on %d members", r, members), 3, r)
		}
		if n := a.all(); n != 0 {
			t.Errorf("%d more tasks", n)
		}
	}
	f(3, rs21, inCopies, rs21)
	f(5, rs32, rs21, inCopies)
	f(6, inCopies, rs42, rs21, rs32, rs42, inCopies)
	f(4, rs21, inCopies)
}

// TestArrangeSpace compares what shards take with what they should: M/K more than the data, and 5 % for all the rest.
func TestArrangeSpace(t *testing.T) {
	f := func(members int, r Redundancy) {
		t.Helper()
		a := newArrangeTest(t, members, 2, 3<<20, nil)
		want(a.l, 3, r)
		a.all()
		a.check(r.String(), 3, r)
		once := int64(0)
		for _, b := range a.was {
			once += int64(len(b))
		}
		share := float64(a.bytesHeld()) / float64(once) / (float64(r.K+r.M) / float64(r.K))
		t.Logf("%v: %.4f of what is needed", r, share)
		if share > 1.05 {
			t.Errorf("%v takes %.3f times as much as it should", r, share)
		}
	}
	f(3, rs21)
	f(6, rs42)
}

// TestArrangeLosses damages and removes the shards of any M members: reads are right, and afterwards the files are those that
// were.
func TestArrangeLosses(t *testing.T) {
	f := func(members int, r Redundancy) {
		t.Helper()
		a := newArrangeTest(t, members, 2, 2000, nil)
		want(a.l, 3, r)
		a.all()
		var was []image
		for _, m := range a.members {
			was = append(was, imageOf(t, m))
		}
		for lost := range Set(1) << members {
			if lost.Len() == 0 || lost.Len() > r.M {
				continue
			}
			for _, remove := range []bool{true, false} {
				for i := range lost.All() {
					for name, b := range was[i] {
						id, ok := shardOf(name)
						if !ok {
							continue
						}
						im := maps.Clone(was[i])
						if remove {
							delete(im, name)
						} else {
							im = im.flip(name, (segment.ShardFrameBytes+int(lost)*7)%len(b), 0x10)
						}
						im.put(t, a.members[i], name)
						a.l.files.forgetCopy(a.l.now().member(i), id)
						a.l.Heal(id)
					}
				}
				read := a.readChecked
				if remove {
					read = a.read
				}
				if err := read(); err != nil {
					t.Errorf("%v without members %b: %v", r, lost, err)
				}
				if s := a.l.Stats(); s.UnderReplicated == 0 || s.UnderReplicated > s.Bytes {
					t.Errorf("%v without members %b: %d bytes of %d are counted as lacking", r, lost, s.UnderReplicated, s.Bytes)
				}
				a.all()
				for i, m := range a.members {
					if !maps.Equal(imageOf(t, m), was[i]) {
						t.Errorf("%v without members %b: member %d is not as it was", r, lost, i)
					}
				}
				a.clock.Advance(2 * healAgainAfter)
			}
		}
		a.check(r.String(), 3, r)
	}
	f(3, rs21)
	f(6, rs42)
}

// setAway has a member be behind since now, or current again.
func (a *arrangeTest) setAway(i int, away bool) {
	ms := *a.l.now()
	ms.roster = ms.roster.Clone()
	ms.roster.Rows = nil
	ms.current = setOf(len(ms.members))
	if away {
		ms.current = ms.current.Without(i)
	}
	for k := range ms.members {
		row := roster.Row{Number: k + 1, State: roster.Current, Time: a.clock.Now().UnixNano()}
		if !ms.current.Has(k) {
			row.State = roster.Behind
		}
		ms.roster.Rows = append(ms.roster.Rows, row)
	}
	a.l.membership.Store(&ms)
}

// TestArrangeAway: what a member has that was there a moment ago is not made again elsewhere; after a minute it is. Nothing is
// removed meanwhile, and one that has nothing to give keeps nobody waiting.
func TestArrangeAway(t *testing.T) {
	for _, r := range []Redundancy{inCopies, rs21} {
		a := newArrangeTest(t, 4, 4, 2000, nil)
		want(a.l, 3, r)
		a.all()
		want(a.l, 2, Redundancy{})
		a.setAway(3, true)
		if n := a.all(); n != 0 {
			t.Errorf("%v: %d tasks that are not urgent", r, n)
		}
		a.setAway(3, false)
		want(a.l, 3, r)
		was := a.bytesHeld()
		var lacking int64
		for s := range a.l.index.each() {
			if row := placed(s); s.holders.Has(1) || row.Has(1) {
				lacking += s.length
			}
		}
		if lacking == 0 {
			t.Fatalf("%v: member 1 has nothing", r)
		}
		a.setAway(1, true)
		if s := a.l.Stats(); s.UnderReplicated != lacking {
			t.Errorf("%v: %d bytes lack something, counted %d", r, lacking, s.UnderReplicated)
		}
		if n := a.all(); n != 0 {
			t.Errorf("%v: %d tasks at once", r, n)
		}
		a.clock.Advance(arrangeAfter - 1)
		if n := a.all(); n != 0 {
			t.Errorf("%v: %d tasks before the minute is over", r, n)
		}
		a.setAway(1, false)
		a.clock.Advance(time.Hour)
		if n := a.all(); n != 0 || a.bytesHeld() != was {
			t.Errorf("%v: %d tasks after the member is back", r, n)
		}
		// Another copy is lost while the member is away: that one is made at once, where it is needed.
		a.setAway(1, true)
		id, lost := a.loseOne(r, 1)
		if n := a.all(); n != 1 {
			t.Errorf("%v: %d tasks for what is lost beside", r, n)
		}
		if s, _, _ := a.l.index.get(id); r == inCopies && s.holders.Without(1).Len() != 2 {
			t.Errorf("%v: segment %d, of which member %d has lost its copy, is on %b", r, id, lost, s.holders)
		}
		a.clock.Advance(arrangeAfter)
		if n := a.all(); n == 0 {
			t.Errorf("%v: nothing was done after a minute", r)
		}
		if s := a.l.Stats(); s.UnderReplicated != 0 {
			t.Errorf("%v: %+v", r, s)
		}
		if err := a.read(); err != nil {
			t.Errorf("%v: %v", r, err)
		}
	}
}

// loseOne takes something of a segment away, that the member but has a part of too, from another, and says so to the index.
func (a *arrangeTest) loseOne(r Redundancy, but int) (SegmentID, int) {
	a.t.Helper()
	for _, s := range a.l.index.all() {
		if row := placed(&s); r == inCopies && s.holders.Has(but) {
			for i := range s.holders.Without(but).All() {
				a.l.index.setHolder(s.id, i, false)
				if err := a.members[i].FS.Remove(a.l.now().member(i).path(segment.Name(s.id, true))); err != nil {
					a.t.Fatal(err)
				}
				return s.id, i
			}
		} else if r == rs21 && s.sealed && !row.Has(but) {
			i := int(s.shards[0])
			a.l.index.setShard(s.id, 0, -1)
			if err := a.l.now().member(i).removeShard(s.id, 0); err != nil {
				a.t.Fatal(err)
			}
			return s.id, i
		}
	}
	a.t.Fatal("there is no such segment")
	return 0, 0
}

// TestArrangeLeaving moves what a member has that is being retired.
func TestArrangeLeaving(t *testing.T) {
	for _, r := range []Redundancy{inCopies, rs21} {
		a := newArrangeTest(t, 4, 3, 2000, nil)
		want(a.l, 3, r)
		a.all()
		a.l.custodian.setLeaving(0, true)
		if s := a.l.Stats(); s.UnderReplicated == 0 {
			t.Errorf("%v: what is on the member that leaves counts", r)
		}
		a.all()
		if s := a.l.Stats(); s.UnderReplicated != 0 {
			t.Errorf("%v: %+v", r, s)
		}
		for s := range a.l.index.each() {
			if row := placed(s); s.sealed && (row.Has(0) || s.holders.Without(0).Len() != 3 && r == inCopies) {
				t.Errorf("%v: segment %d is on %b and %v", r, s.id, s.holders, s.shards)
			}
		}
		if err := a.read(); err != nil {
			t.Error(err)
		}
		// Of four members three are left, so two are enough of two.
		for i := 1; i < 3; i++ {
			a.l.custodian.setLeaving(i, true)
		}
		if s := a.l.Stats(); s.UnderReplicated != 0 && r == inCopies {
			t.Errorf("%v: %+v", r, s)
		}
	}
}

// TestArrangeDoubts damages what is to take the place of something else, in the moment when that is to be removed: it is healed
// first.
func TestArrangeDoubts(t *testing.T) {
	step := func(a *arrangeTest, n int) {
		t.Helper()
		for range n {
			if did, err := a.l.arrangeStep(t.Context()); !did || err != nil {
				t.Fatal(did, err)
			}
		}
	}
	flip := func(a *arrangeTest, i int, name string) {
		t.Helper()
		im := imageOf(t, a.members[i])
		if _, ok := im[name]; !ok {
			t.Fatalf("member %d does not hold %s", i, name)
		}
		im.flip(name, len(im[name])/2, 1).put(t, a.members[i], name)
		a.l.files.forgetCopy(a.l.now().member(i), 1)
	}
	doubted := func(a *arrangeTest, what string) {
		t.Helper()
		before := a.bytesHeld()
		step(a, 1)
		if a.bytesHeld() != before || a.l.Stats().Healing != 1 {
			t.Errorf("%s: %d bytes where there were %d, %+v", what, a.bytesHeld(), before, a.l.Stats())
		}
		if did, _ := a.l.arrangeStep(t.Context()); did {
			t.Errorf("%s: it is not let rest", what)
		}
		a.all()
		a.clock.Advance(restMax)
		a.all()
	}
	a := newArrangeTest(t, 3, 1, 2000, nil)
	want(a.l, 3, rs21)
	step(a, 1) // shards are made
	s, _, _ := a.l.index.get(1)
	if !a.l.arranger.wasChecked(1) {
		t.Error("shards that were just read back are not known to be whole")
	}
	a.l.arranger.unnote(1) // as after another Open
	flip(a, int(s.shards[2]), segment.ShardName(1, 2))
	doubted(a, "a damaged shard")
	a.check("a damaged shard", 3, rs21)

	want(a.l, 3, inCopies)
	step(a, 3)
	flip(a, 1, seg1)
	doubted(a, "a damaged copy")
	a.check("a damaged copy", 3, inCopies)

	// One that is missing, though it was there when they were checked.
	want(a.l, 3, rs21)
	step(a, 2)
	if s, _, _ = a.l.index.get(1); s.holders.Len() != 2 {
		t.Fatalf("the copies are on %b", s.holders)
	}
	if err := a.l.now().member(int(s.shards[0])).removeShard(1, 0); err != nil {
		t.Fatal(err)
	}
	a.l.files.forget([]SegmentID{1})
	a.l.files.forgetIf(func(*fileKey) bool { return true })
	doubted(a, "a missing shard")
	a.check("a missing shard", 3, rs21)

	// More copies than are wanted, of which one is damaged.
	a = newArrangeTest(t, 4, 1, 2000, nil)
	want(a.l, 4, inCopies)
	a.all()
	want(a.l, 3, inCopies)
	flip(a, 0, seg1)
	doubted(a, "too many copies")
	a.check("too many copies", 3, inCopies)
}

// TestArrangeLost: of a segment of which something is lost on all members nothing is removed.
func TestArrangeLost(t *testing.T) {
	a := newArrangeTest(t, 3, 1, 2000, nil)
	at := recordsAt(t, a.was[seg1])
	for i, m := range a.members {
		imageOf(t, m).flip(seg1, at[1]+50, byte(1+i)).put(t, m, seg1)
		a.l.files.forgetCopy(a.l.now().member(i), 1)
	}
	want(a.l, 2, rs21)
	before := a.bytesHeld()
	for range 20 {
		a.all()
		a.clock.Advance(restMax)
	}
	if a.bytesHeld() != before || a.l.Stats().Unhealable != 1 {
		t.Errorf("%d bytes where there were %d, %+v", a.bytesHeld(), before, a.l.Stats())
	}
	want(a.l, 2, inCopies) // of three
	a.all()
	a.clock.Advance(restMax)
	a.all()
	if a.bytesHeld() != before {
		t.Errorf("%d bytes where there were %d", a.bytesHeld(), before)
	}
}

// TestArrangeLostCopy: a segment of which nobody has everything gets its copies all the same, and what is lost is told.
func TestArrangeLostCopy(t *testing.T) {
	a := newArrangeTest(t, 4, 1, 2000, nil)
	want(a.l, 2, inCopies)
	a.all()
	s, _, _ := a.l.index.get(1)
	at := recordsAt(t, a.was[seg1])
	for i := range s.holders.All() {
		imageOf(t, a.members[i]).flip(seg1, at[1]+50, byte(1+i)).put(t, a.members[i], seg1)
	}
	want(a.l, 3, inCopies)
	for range 5 {
		a.all()
		a.clock.Advance(restMax)
	}
	if s := a.l.Stats(); s.Unhealable != 1 || s.UnderReplicated != 0 {
		t.Errorf("%+v", s)
	}
}

// TestArrangeJoining: what a member that is being brought up has does not count when something is to be removed.
func TestArrangeJoining(t *testing.T) {
	a := newArrangeTest(t, 3, 1, 2000, nil)
	want(a.l, 3, rs21)
	a.all()
	want(a.l, 3, inCopies)
	for range 3 {
		if did, err := a.l.arrangeStep(t.Context()); !did || err != nil {
			t.Fatal(did, err)
		}
	}
	ms := *a.l.now()
	ms.current, ms.joining = placement.Of(0, 1), placement.Of(2)
	a.l.membership.Store(&ms)
	a.all()
	if s, _, _ := a.l.index.get(1); s.shards == nil {
		t.Error("the shards went before the third copy was known to be whole")
	}
	ms.current, ms.joining = placement.Of(0, 1, 2), 0
	again := ms
	a.l.membership.Store(&again)
	a.all()
	a.check("when it has joined", 3, inCopies)
}

// TestArrangeForgets has what is being removed opened by somebody who was told of it before: it does not stay open, as it would
// keep its room on the disk.
func TestArrangeForgets(t *testing.T) {
	var a *arrangeTest
	armed, opened := false, 0
	a = newArrangeTest(t, 3, 1, 2000, func(op fsOp, do func(int) error) error {
		if armed && op.kind == "remove" {
			key := fileKey{member: a.l.now().member(op.member), segment: 1}
			if _, i, ok := segment.ParseShardName(op.path); ok {
				key.shard = int8(i + 1)
			} else if op.path != seg1 {
				return do(op.bytes)
			}
			if err := a.l.readFile(key, make([]byte, 10), 100); err != nil {
				t.Error(err)
			}
			opened++
		}
		return do(op.bytes)
	})
	armed = true
	for _, r := range []Redundancy{rs21, inCopies} {
		want(a.l, 3, r)
		a.all()
		a.l.files.mu.Lock()
		for key := range a.l.files.mu.open {
			if (key.shard > 0) != (r == rs21) {
				t.Errorf("%v: shard %d of member %d is still open", r, key.shard-1, key.member.number)
			}
		}
		a.l.files.mu.Unlock()
	}
	if opened != 6 {
		t.Errorf("%d files were removed", opened)
	}
}

// arrangeWays are the conversions that between them have every kind of task.
var arrangeWays = []struct {
	name     string
	members  int
	from, to Redundancy
	copies   int // of to
}{
	{"to shards", 3, inCopies, rs21, 3},
	{"to copies", 3, rs21, inCopies, 3},
	{"to another code", 6, rs42, rs32, 3},
	{"to fewer copies", 3, inCopies, inCopies, 2},
}

// TestArrangeFails fails each operation of a conversion on the disks, and in another round all of that member from then on:
// everything can be read, and when the disk is well again the conversion is carried through.
func TestArrangeFails(t *testing.T) {
	boom := errors.New("boom")
	for _, way := range arrangeWays {
		steps := 0
		for ; ; steps++ {
			through := false
			for _, lasting := range []bool{false, true} {
				var mu sync.Mutex
				left, bad := -1, -1
				arm := func(n int) {
					mu.Lock()
					defer mu.Unlock()
					left = n
				}
				fails := func(member int) bool {
					mu.Lock()
					defer mu.Unlock()
					if left == 0 && bad < 0 {
						bad = member
						return true
					}
					if left > 0 {
						left--
					}
					return left == 0 && bad == member && lasting
				}
				a := newArrangeTest(t, way.members, 1, 2000, func(op fsOp, do func(int) error) error {
					if fails(op.member) {
						return boom
					}
					return do(op.bytes)
				})
				want(a.l, 3, way.from)
				a.all()
				want(a.l, way.copies, way.to)
				arm(steps)
				for range 3 {
					a.all()
					if err := a.read(); err != nil {
						t.Fatalf("%s, step %d: %v", way.name, steps, err)
					}
					a.clock.Advance(restMax)
				}
				arm(-1)
				through = bad < 0
				a.bringUp()
				a.all()
				a.check(fmt.Sprintf("%s, step %d of member %d, lasting %v", way.name, steps, bad, lasting), way.copies, way.to)
				if err := a.l.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if through {
				break
			}
			if t.Failed() {
				return
			}
		}
		t.Logf("%s: %d operations failed", way.name, steps)
		if steps < 1 {
			t.Errorf("%s: only %d steps", way.name, steps)
		}
	}
}

// TestArrangeBesideAll has segments kept in one way and another while records are appended and read and segments are dropped:
// nobody reads a wrong byte or misses one, and in the end all is as it should be.
func TestArrangeBesideAll(t *testing.T) {
	const n = 6
	members := memMembers(n)
	l, err := Open(members, Options{Passive: true, SegmentBytes: 8 << 10, RepairBytesPerSecond: 1 << 50, Events: &Events{
		ReadFailed: func(member int, at Position, err error) { t.Errorf("member %d at %v: %v", member, at, err) },
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a := &arrangeTest{t: t, l: l, members: members}
	var all struct {
		sync.Mutex
		records []*Record
		done    bool
	}
	var running sync.WaitGroup
	done := func() bool {
		all.Lock()
		defer all.Unlock()
		return all.done
	}
	for reader := range 2 {
		running.Go(func() {
			for k := reader; !done(); k++ {
				all.Lock()
				list := all.records
				all.Unlock()
				if len(list) == 0 {
					continue
				}
				r := list[k*7919%len(list)]
				p := make([]byte, len(r.Data[0]))
				err := l.ReadAt(p, r.At)
				if reader == 1 {
					err = l.ReadChecked(p, r.At, func([]byte) error { return nil })
				}
				if err != nil && !errors.Is(err, ErrDropped) || err == nil && !bytes.Equal(p, r.Data[0]) {
					t.Errorf("record %d: wrong bytes, or %v", r.LSN, err)
					return
				}
			}
		})
	}
	tasks := 0
	running.Go(func() {
		for !done() {
			did, err := l.arrangeStep(t.Context())
			if err != nil {
				t.Error(err)
			}
			if did {
				tasks++
			}
		}
	})
	dice := rand.New(rand.NewPCG(3, 4))
	for k := range 400 {
		r := append1(t, l, fmt.Sprint("meta ", k), strings.Repeat(fmt.Sprintf("%08d", k), 1+dice.IntN(300)))
		all.Lock()
		all.records = append(all.records, r)
		all.Unlock()
		if k%25 == 0 {
			want(l, 3, []Redundancy{rs42, inCopies, rs21, rs32}[k/25%4])
		}
		if k%60 == 59 {
			list := l.Segments()
			if err := l.SaveCheckpoint(list[1].Last, nil); err != nil {
				t.Fatal(err)
			}
			if err := l.Drop(list[0].ID, list[1].ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	all.Lock()
	all.done = true
	all.Unlock()
	running.Wait()
	t.Logf("%d tasks beside appends and reads", tasks)
	if err := l.Rotate(); err != nil {
		t.Fatal(err)
	}
	for _, r := range []Redundancy{rs42, inCopies} {
		want(l, 3, r)
		a.all()
		a.was, a.records = image{}, nil
		for _, s := range l.Segments() {
			name := segment.Name(s.ID, true)
			for i := range n {
				if b, err := readFile(members[i], name); err == nil {
					a.was[name] = string(b)
				}
			}
			if _, ok := a.was[name]; !ok {
				a.was[name] = "in shards"
			}
		}
		for _, r := range all.records {
			if l.index.holds(r.At.Segment) {
				a.records = append(a.records, r)
			}
		}
		a.check(fmt.Sprintf("%v in the end", r), 3, r)
	}
}

// TestArrangeDrop drops the segment before each operation of a conversion: nothing of it is left.
func TestArrangeDrop(t *testing.T) {
	for _, way := range arrangeWays {
		for step := 0; ; step++ {
			var a *arrangeTest
			armed, steps := false, 0
			a = newArrangeTest(t, way.members, 1, 1000, func(op fsOp, do func(int) error) error {
				if armed {
					if steps++; steps == step+1 {
						armed = false
						if err := a.l.Drop(1); err != nil {
							t.Errorf("%s, step %d: %v", way.name, step, err)
						}
					}
				}
				return do(op.bytes)
			})
			if err := a.l.SaveCheckpoint(2, nil); err != nil {
				t.Fatal(err)
			}
			want(a.l, 3, way.from)
			a.all()
			want(a.l, way.copies, way.to)
			armed = true
			a.all()
			through := armed
			armed = false
			if through {
				a.l.Close()
				break
			}
			if n := a.bytesHeld(); n != 0 || a.l.Stats().ShardBytes != 0 {
				t.Errorf("%s, step %d: %d bytes are left", way.name, step, n)
			}
			a.l.Close()
		}
	}
}

// TestArrangeReadFails fails one read after the other during a conversion: the same as TestArrangeFails, for reads.
func TestArrangeReadFails(t *testing.T) {
	for _, way := range arrangeWays {
		n := 0
		for through := false; !through && !t.Failed(); n++ {
			var hook atomic.Pointer[readHook]
			var open, reads, under atomic.Int64
			reads.Store(-1)
			a := &arrangeTest{t: t, clock: clock.NewManual(time.Unix(1e9, 0)), members: memMembers(way.members), was: image{}}
			var hooked []Member
			for i, m := range a.members {
				hooked = append(hooked, Member{FS: &readFS{FS: m.FS, member: i, hook: &hook, open: &open, under: &under}, Dir: m.Dir})
			}
			a.open(hooked, 1, 2000)
			want(a.l, 3, way.from)
			a.all()
			want(a.l, way.copies, way.to)
			fail := readHook(func(_ int, name string, _ int64, _ int, do func() (int, error)) (int, error) {
				if reads.Add(1) == int64(n) {
					return 0, errors.New("boom")
				}
				return do()
			})
			hook.Store(&fail)
			a.all()
			through = reads.Load() < int64(n)
			if err := a.read(); err != nil {
				t.Errorf("%s, read %d: %v", way.name, n, err)
			}
			a.clock.Advance(restMax)
			a.bringUp()
			a.all()
			a.check(fmt.Sprintf("%s, read %d", way.name, n), way.copies, way.to)
			if err := a.l.Close(); err != nil {
				t.Error(err)
			}
			if k := open.Load(); k != 0 {
				t.Errorf("%s, read %d: %d files are open", way.name, n, k)
			}
		}
		t.Logf("%s: %d reads failed", way.name, n-1)
	}
}

// TestArrangeStaleReader reads with what the index had before the segment got shards of another code, under the same names on
// the same members: the bytes are right, and nobody is to blame.
func TestArrangeStaleReader(t *testing.T) {
	ways := []Redundancy{rs21, rs32, rs42, rs21, inCopies}
	a := newArrangeTest(t, 6, 1, 200<<10, nil)
	for i, from := range ways {
		want(a.l, 3, from)
		a.all()
		old, _, _ := a.l.index.get(1)
		for _, to := range ways[i+1:] {
			want(a.l, 3, to)
			a.all()
			data, p := a.records[1].Data[0], make([]byte, 4<<10)
			for off := 0; off < len(data); off += len(p) {
				for _, check := range []func([]byte) error{nil, func([]byte) error { return nil }} {
					at, p := a.records[1].At, p[:min(len(p), len(data)-off)]
					at.Offset += uint32(off)
					if err := a.l.readAny(old, p, at, check); err != nil {
						t.Fatalf("from %v to %v: %v", from, to, err)
					} else if !bytes.Equal(p, data[off:][:len(p)]) {
						t.Fatalf("from %v to %v: wrong bytes at %d", from, to, off)
					}
				}
			}
			if s := a.l.Stats(); s.Healing != 0 {
				t.Errorf("from %v to %v: %+v", from, to, s)
				a.all()
			}
		}
	}
}

// TestArrangeInBackground leaves everything to the custodian.
func TestArrangeInBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &arrangeTest{t: t, members: memMembers(6), was: image{}}
		var err error
		if a.l, err = Open(a.members, Options{ScrubEvery: -1}); err != nil {
			t.Fatal(err)
		}
		a.fill(3, 2000)
		for _, r := range []Redundancy{rs42, rs21, inCopies} {
			want(a.l, 3, r)
			<-time.After(10 * watchEvery)
			a.check(r.String(), 3, r)
		}
		if err := a.l.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestArrangeStats counts what there is, and what is lacking while a member is away: the open segment, too.
func TestArrangeStats(t *testing.T) {
	a := newArrangeTest(t, 3, 2, 2000, nil)
	append1(t, a.l, "meta", "of the open segment")
	want(a.l, 3, inCopies)
	s := a.l.Stats()
	if s.UnderReplicated != 0 || s.CopyBytes != 3*s.Bytes || s.ShardBytes != 0 {
		t.Errorf("as it should be: %+v", s)
	}
	a.setAway(2, true)
	if s := a.l.Stats(); s.UnderReplicated != s.Bytes {
		t.Errorf("a member is away: %+v", s)
	}
	a.l.Heal(1)
	if s := a.l.Stats(); s.UnderReplicated != s.Bytes || s.Healing != 1 {
		t.Errorf("a member is away, and something is to be healed: %+v", s)
	}
	a.setAway(2, false)
	a.all()
	if s := a.l.Stats(); s.UnderReplicated != 0 {
		t.Errorf("the member is back: %+v", s)
	}
	want(a.l, 3, rs42) // for which there are too few members: copies do
	if n := a.all(); n != 0 || a.l.Stats().UnderReplicated != 0 {
		t.Errorf("%d tasks, %+v", n, a.l.Stats())
	}
}

// TestArrangeStops: a task that is under way when the log closes ends, and is no failure.
func TestArrangeStops(t *testing.T) {
	a := newArrangeTest(t, 3, 1, 1000, nil)
	want(a.l, 3, rs21)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.l.arrangeStep(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if !a.l.arranger.due(1, a.clock.Now()) {
		t.Error("the segment is let rest")
	}
	a.all()
	a.check("after that", 3, rs21)
}

// BenchmarkArrangeStats is what /metrics and an idle custodian cost with 4,000 segments, 1 TiB.
func BenchmarkArrangeStats(b *testing.B) {
	a := newArrangeTest(b, 6, 1, 1000, nil)
	for id := SegmentID(2); id < 4000; id++ {
		a.l.index.add(indexed{id: id, first: 3, length: 256 << 20, sealed: true, shards: []int8{0, 1, 2, 3, 4, 5}, k: 4, m: 2})
	}
	want(a.l, 3, rs42)
	a.all()
	b.Run("stats", func(b *testing.B) {
		for b.Loop() {
			a.l.Stats()
		}
	})
	b.Run("nothing to do", func(b *testing.B) {
		for b.Loop() {
			a.l.arrangement().tasks()
		}
	})
	want(a.l, 3, inCopies)
	b.Run("everything to do", func(b *testing.B) {
		for b.Loop() {
			a.l.arrangement().tasks()
		}
	})
	want(a.l, 3, rs42)
	ms := *a.l.now()
	ms.current = ms.current.Without(3)
	a.l.membership.Store(&ms)
	b.Run("nobody to do it", func(b *testing.B) {
		for b.Loop() {
			a.l.arrangement().tasks()
		}
	})
	b.Run("stats without a member", func(b *testing.B) {
		for b.Loop() {
			a.l.Stats()
		}
	})
}
