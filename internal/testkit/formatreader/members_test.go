package formatreader

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pagevault/pagestore"
	"pagevault/replication"
	rules "pagevault/replication/roster"
	"pagevault/replication/segment"
)

// newWritten returns a store on n members, which is not open.
func newWritten(t *testing.T, n int, tune func(*pagestore.Options)) *written {
	w := &written{t: t, dir: t.TempDir(), blobs: map[string][]byte{}}
	w.options = pagestore.Options{Dir: filepath.Join(w.dir, "index"), Log: replication.Options{SegmentBytes: 1 << 19}}
	w.options.Maintenance.Disabled = true
	for i := range n {
		w.options.Members = append(w.options.Members, replication.Member{Dir: filepath.Join(w.dir, fmt.Sprint("member-", i+1))})
	}
	if tune != nil {
		tune(&w.options)
	}
	return w
}

// without returns the directories but for those of the given indices.
func without(dirs []string, gone ...int) (out []string) {
	for i, dir := range dirs {
		if !slices.Contains(gone, i) {
			out = append(out, dir)
		}
	}
	return out
}

// refuses wants a store to be refused.
func (w *written) refuses(what string, dirs []string) {
	w.t.Helper()
	if _, err := Open(dirs, nil); err == nil {
		w.t.Errorf("%s: it was read", what)
	}
}

// until waits for a condition.
func (w *written) until(what string, met func() bool) {
	w.t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for !met() {
		select {
		case <-look.C:
		case <-deadline.C:
			w.t.Fatalf("not within a minute: %s", what)
		}
	}
}

// files returns the names of the files of a directory with an ending.
func files(dir, pattern string) []string {
	names, _ := filepath.Glob(filepath.Join(dir, pattern))
	return names
}

// TestMissing reads stores of three and of five members, of which the latter have every segment on three, from as many of
// them as must be there, in any order, and while the program has them open. With fewer it refuses.
func TestMissing(t *testing.T) {
	for _, n := range []int{1, 3, 5} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			w := newWritten(t, n, nil)
			w.open()
			w.history(rand.New(rand.NewPCG(3, uint64(n))), 1500)
			w.compare("while it is open", nil)
			w.close()
			dirs := w.dirs()
			for _, dir := range dirs {
				w.ok(os.WriteFile(filepath.Join(dir, "SCRUB"), []byte("of no use"), 0o666))
			}
			slices.Reverse(dirs)
			w.compareFrom("in another order", dirs, nil)
			all, most := 0, 0
			for _, dir := range dirs {
				all, most = all+len(files(dir, "*.seg")), max(most, len(files(dir, "*.seg")))
			}
			if n == 5 && (most*5 == all || all == 0) {
				t.Errorf("of %d copies one member has %d: segments are not spread", all, most)
			}
			for i := range n {
				switch n {
				case 1:
					w.refuses("nothing", nil)
				case 3:
					w.compareFrom(fmt.Sprint("without one ", i), without(dirs, i), nil)
					w.refuses(fmt.Sprint("only ", i), dirs[i:i+1])
				case 5:
					for k := range i {
						w.compareFrom(fmt.Sprint("without ", i, k), without(dirs, i, k), nil)
						w.refuses(fmt.Sprint("only ", i, k), []string{dirs[k], dirs[i]})
					}
				}
			}
		})
	}
}

// TestBehind reads stores of which a member is behind, and old copies of members.
func TestBehind(t *testing.T) {
	w := newWritten(t, 3, nil)
	w.open()
	w.history(rand.New(rand.NewPCG(4, 4)), 200)
	w.close()
	dirs, all := w.dirs(), w.options.Members
	old := filepath.Join(w.dir, "old")
	w.ok(os.CopyFS(old, os.DirFS(dirs[0])))

	w.options.Members = all[:2]
	w.open()
	w.put("a", 7, bytes.Repeat([]byte("later"), 512))
	w.close()
	w.compareFrom("one is behind", dirs, nil)
	w.compareFrom("one is behind, one is missing", []string{dirs[2], dirs[1]}, nil)
	w.compareFrom("of two one is missing", dirs[:1], nil)
	w.compareFrom("an old copy", []string{old, dirs[1], dirs[2]}, nil)
	w.refuses("only the one that is behind", dirs[2:])
	w.refuses("a directory and its copy", []string{dirs[0], dirs[0]})

	w.options.Members = all
	w.open()
	w.until("the third member is current again", func() bool {
		m, err := readMember(dirs[0])
		return err == nil && m.current == 3 && m.isSettled()
	})
	w.put("a", 9, bytes.Repeat([]byte("still "), 512))
	w.close()
	w.compareFrom("it was caught up", dirs[1:], nil)
	w.compareFrom("an old copy again", []string{old, dirs[1], dirs[2]}, nil)
	w.refuses("an old copy does not count", []string{old, dirs[2]})
}

// TestOldMembers reads stores whose MEMBER files have version 1, before and after the program has opened them.
func TestOldMembers(t *testing.T) {
	for _, n := range []int{1, 3, 5} {
		w := newWritten(t, n, nil)
		w.open()
		w.history(rand.New(rand.NewPCG(5, 5)), 200)
		w.close()
		dirs := w.dirs()
		var first *member
		for i, dir := range dirs {
			m, err := readMember(dir)
			w.ok(err)
			p := make([]byte, 64)
			copy(p, "PVMEMBER")
			binary.LittleEndian.PutUint32(p[8:], 1)
			binary.LittleEndian.PutUint32(p[12:], uint32(i+1))
			copy(p[16:], m.store[:])
			binary.LittleEndian.PutUint32(p[32:], uint32(n))
			binary.LittleEndian.PutUint64(p[40:], 1)
			binary.LittleEndian.PutUint32(p[60:], crc(p[:60]))
			w.ok(os.WriteFile(filepath.Join(dir, "MEMBER"), p, 0o666))
			if first, err = readMember(dir); err != nil || first.epoch != 1<<12 || first.current != n {
				t.Fatalf("%+v %v", first, err)
			}
		}
		w.compareFrom("version 1", dirs[n/3:], nil)
		w.open()
		w.put("a", 7, bytes.Repeat([]byte("later"), 512))
		w.close()
		for _, dir := range dirs {
			m, err := readMember(dir)
			if err != nil || m.epoch <= first.epoch || m.history != first.history || m.least != first.least || fmt.Sprint(m.rows) != fmt.Sprint(first.rows) {
				t.Errorf("of %d members: %+v %v, want after %+v", n, m, err, first)
			}
		}
		w.compare("version 2", nil)
	}
}

// TestShards reads stores whose sealed segments are kept in shards, from any members that are enough, some shards damaged.
func TestShards(t *testing.T) {
	for _, r := range []replication.Redundancy{{K: 2, M: 1}, {K: 4, M: 2}} {
		t.Run(r.String(), func(t *testing.T) {
			w := newWritten(t, r.K+r.M, func(o *pagestore.Options) { o.Log.Redundancy = r })
			w.open()
			w.history(rand.New(rand.NewPCG(6, 6)), 1500)
			dirs := w.dirs()
			w.until("all that is sealed is in shards", func() bool {
				for _, dir := range dirs {
					if len(files(dir, "*.rs[0-9][0-9]")) == 0 || len(files(dir, "*.seg")) > 0 {
						return false
					}
				}
				return true
			})
			w.close()
			w.compare("all", nil)
			for i := range dirs {
				w.compareFrom(fmt.Sprint("without ", i), without(dirs, i), nil)
				for k := range i {
					if r.M > 1 {
						w.compareFrom(fmt.Sprint("without ", i, k), without(dirs, i, k), nil)
					}
				}
			}
			for i, name := range files(dirs[0], "*.rs[0-9][0-9]") {
				p, err := os.ReadFile(name)
				w.ok(err)
				p[(i*len(p)/3+130)%len(p)] ^= 4
				w.ok(os.WriteFile(name, p, 0o666))
			}
			w.compare("damaged shards", nil)
			if r.M == 1 {
				w.refuses("damaged shards, and others missing", without(dirs, 1))
			}
		})
	}
}

// TestMerge reads a store of which no member has a whole copy of some segment.
func TestMerge(t *testing.T) {
	w := newWritten(t, 3, nil)
	w.open()
	w.history(rand.New(rand.NewPCG(8, 8)), 1500)
	w.close()
	dirs := w.dirs()
	for i, dir := range dirs {
		name := files(dir, "*.seg")[0]
		p, err := os.ReadFile(name)
		w.ok(err)
		p[64+40+200*i] ^= 1
		if i == 1 {
			p = p[:len(p)-100]
		}
		w.ok(os.WriteFile(name, p, 0o666))
	}
	w.compare("damaged in three places", nil)
}

// fleet is directories that are the members of one log, as the program's rules have them written, with crashes.
type fleet struct {
	rng   *rand.Rand
	now   rules.Roster // in effect
	dirs  map[rules.ID]*segment.Member
	where map[rules.ID]string
	tried uint64
}

func (f *fleet) id() (id rules.ID) {
	for i := range id {
		id[i] = byte(f.rng.Uint32())
	}
	return id
}

func (f *fleet) put(r *rules.Roster, number int) {
	f.dirs[r.Row(number).ID] = &segment.Member{Number: uint32(number), Roster: r.Clone()}
}

// change makes one change, or begins one and goes on without it.
func (f *fleet) change() {
	r, n := &f.now, f.rng.IntN(len(f.now.Rows))+1
	var next rules.Roster
	var err error
	switch f.rng.IntN(6) {
	case 0, 1:
		next, err = r.Drop(r.Current()&(1<<(n-1)), rules.ReasonSync, 1)
	case 2:
		next, err = r.Join(n, 2)
	case 3, 4:
		next, err = r.Admit(n, 3)
	case 5:
		next, err = r.Replace(n, f.id(), 4)
	}
	if err != nil {
		return
	}
	next.Epoch = max(next.Epoch, f.tried+1)
	f.tried = next.Epoch
	written := next.Current() | next.In(rules.Joining)
	crash := f.rng.IntN(3) == 0
	for i := range written.All() {
		if !crash || f.rng.IntN(2) == 0 {
			f.put(&next, i+1)
		}
	}
	if crash {
		return
	}
	f.now = next.Settle()
	for i := range written.All() {
		if f.rng.IntN(4) > 0 {
			f.put(&f.now, i+1)
		}
	}
	for i := range f.now.Rows { // who has taken a place gets its file
		if row := &f.now.Rows[i]; f.dirs[row.ID] == nil {
			f.put(&f.now, row.Number)
		}
	}
}

// TestWhichCount compares this package's reading of the rules with the program's, on members that were changed and replaced,
// with crashes in between, of which any may be missing.
func TestWhichCount(t *testing.T) {
	read, refused, unsettled := 0, 0, 0
	for seed := range uint64(150) {
		f := &fleet{rng: rand.New(rand.NewPCG(seed, 1)), dirs: map[rules.ID]*segment.Member{}, where: map[rules.ID]string{}}
		var ids []rules.ID
		for range f.rng.IntN(6) + 1 {
			ids = append(ids, f.id())
		}
		var err error
		if f.now, err = rules.New(f.id(), f.id(), ids, min(2, len(ids)), 0); err != nil {
			t.Fatal(err)
		}
		f.tried = f.now.Epoch
		for i := range ids {
			f.put(&f.now, i+1)
		}
		for range f.rng.IntN(12) {
			f.change()
		}
		root := t.TempDir()
		for id, m := range f.dirs {
			f.where[id] = filepath.Join(root, fmt.Sprintf("%x", id))
			if err := os.Mkdir(f.where[id], 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(f.where[id], "MEMBER"), m.Append(nil), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		for range 20 {
			var seen []rules.Seen
			var dirs []string
			for id, m := range f.dirs {
				if f.rng.IntN(3) > 0 {
					seen = append(seen, rules.Seen{Dir: f.where[id], Number: int(m.Number), ID: m.ID(), Roster: m.Roster})
					dirs = append(dirs, f.where[id])
				}
			}
			verdict, wantErr := rules.Decide(seen)
			got, counts, gotErr := currentMembers(dirs)
			if (wantErr == nil) != (gotErr == nil) {
				t.Fatalf("seed %d: the program says %v, this package %v", seed, wantErr, gotErr)
			}
			if wantErr != nil {
				refused++
				continue
			}
			read++
			if !verdict.Roster.Settled() {
				unsettled++
			}
			var want, have []string
			for i, s := range verdict.Stands {
				if s == rules.IsCurrent {
					want = append(want, seen[i].Dir)
				}
			}
			for _, m := range got {
				have = append(have, m.dir)
			}
			slices.Sort(want)
			slices.Sort(have)
			if !slices.Equal(want, have) || counts.epoch != verdict.Roster.Epoch {
				t.Fatalf("seed %d: %s count by epoch %#x, want %s by %#x", seed, strings.Join(have, " "), counts.epoch, strings.Join(want, " "), verdict.Roster.Epoch)
			}
		}
	}
	t.Logf("%d read, of these %d by a roster that was not settled, %d refused", read, unsettled, refused)
	if read == 0 || refused == 0 || unsettled == 0 {
		t.Error("something was never so")
	}
}
