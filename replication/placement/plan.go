package placement

import (
	"cmp"
	"slices"
)

// Policy says how the owner wants sealed segments to be kept.
type Policy struct {
	Copies int // whole copies, if K is 0 or while there are too few members for shards
	K, M   int // shards instead; 0: copies
}

// shards is K+M.
func (p Policy) shards() int { return p.K + p.M }

// Segment is a sealed segment and where it is.
type Segment struct {
	ID   uint32
	On   Set    // the members that hold a whole copy
	At   []int8 // the members that hold the shards, by index of the shard; -1: nobody. nil: there are none
	K, M int    // of the shards
}

// Kind is what a task does.
type Kind uint8

// The kinds of tasks.
const (
	Copy         Kind = iota // make a whole copy on member To
	RemoveCopy               // remove the copy on member To
	MakeShards               // make the shards in Make
	RemoveShards             // remove all shards
)

var kindNames = [...]string{"copy", "remove copy", "make shards", "remove shards"}

// String returns what is done, in words.
func (k Kind) String() string { return kindNames[k] }

// Task is one step on the way to what the owner wants. It moves at most the bytes of one segment to each member.
type Task struct {
	Kind    Kind
	Segment uint32
	To      int  // member, of Copy and RemoveCopy
	K, M    int  // of MakeShards
	Make    []At // of MakeShards, by index of the shard
	// Survives is how many more members may be lost before bytes of the segment are: 0 is the last chance.
	Survives int
	// Urgent says that this is less than the policy wants, and the task makes it more.
	Urgent bool
}

// At is a shard's place.
type At struct{ Shard, Member int }

// Plan returns what has to be done, the first first, so that every segment is kept as the policy says. Carrying out the
// first and asking again gets there; a task never takes away what keeps a segment as safe as the policy wants it. What
// endangers segments comes first, the most endangered before the others; then what frees space, so that a conversion needs
// no more of it than one segment takes; then conversions. What nothing can be done about (too few members, bytes that are on
// none of them, a disk that is full) is not in it.
//
// Members are all that can be written and read: current ones and those that are joining. What other members hold, absent ones, does not count.
func Plan(members []Member, segments []Segment, p Policy) []Task {
	w := planner{members: members, policy: p}
	for i := range members {
		w.present = w.present.With(members[i].Index)
		if !members[i].Leaving {
			w.staying = w.staying.With(members[i].Index)
		}
		if !members[i].Leaving && !members[i].Joining && !members[i].full() {
			w.room = w.room.With(members[i].Index)
		}
	}
	w.copies = min(p.Copies, w.staying.Len())
	for i := range segments {
		w.segment(&segments[i])
	}
	slices.SortStableFunc(w.tasks, func(a, b ranking) int { return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.rank, b.rank)) })
	out := make([]Task, len(w.tasks))
	for i := range w.tasks {
		out[i] = w.tasks[i].Task
	}
	return out
}

// Survives returns how many of the members in present may be lost before bytes of the segment are; negative if they are
// lost as it is.
func Survives(s *Segment, present Set) int {
	n := (s.On & present).Len() - 1
	if s.At != nil {
		n = max(n, s.shards(present)-s.K)
	}
	return n
}

// Lacks returns how many copies or shards the segment has less than the policy wants, counting what stays; 0 if the policy
// is met, or met in the way that was wanted before.
func Lacks(s *Segment, members []Member, p Policy) int {
	var staying Set
	for i := range members {
		if !members[i].Leaving {
			staying = staying.With(members[i].Index)
		}
	}
	lacks := max(0, p.Copies-(s.On&staying).Len())
	if s.At != nil {
		lacks = min(lacks, s.K+s.M-s.shards(staying))
	}
	return lacks
}

// Has reports whether member i has a shard of the segment.
func (s *Segment) Has(i int) bool { return slices.Contains(s.At, int8(i)) }

// shards returns how many shards are on the members of a set.
func (s *Segment) shards(on Set) (n int) {
	for _, i := range s.At {
		if on.Has(int(i)) {
			n++
		}
	}
	return n
}

// planner makes a plan.
type planner struct {
	members          []Member
	policy           Policy
	copies           int // that are wanted of a segment that is kept in copies
	present, staying Set
	room             Set // of staying, those that are not full
	tasks            []ranking
}

// ranking orders tasks: first class, then rank.
type ranking struct {
	Task
	class, rank int
}

const (
	endangered = iota
	freeing
	converting
)

func (w *planner) add(class, rank int, t Task) {
	w.tasks = append(w.tasks, ranking{Task: t, class: class, rank: rank})
}

// grow adds a task that makes something, for a segment that should survive the loss of wanted members.
func (w *planner) grow(t Task, wanted int) {
	if t.Survives < wanted {
		t.Urgent = true
		w.add(endangered, t.Survives, t)
		return
	}
	w.add(converting, int(t.Segment), t)
}

func (w *planner) segment(s *Segment) {
	t := Task{Segment: s.ID, Survives: Survives(s, w.present)}
	if t.Survives < 0 {
		return // there is nothing to make anything from
	}
	p := w.policy
	sharded := p.K > 0 && (s.At == nil || s.K == p.K && s.M == p.M)
	var places []At
	if sharded {
		var ok bool
		if places, ok = w.places(s); !ok && s.At == nil {
			sharded = false // too few members
		}
	}
	switch {
	case sharded && len(places) > 0:
		t.Kind, t.K, t.M, t.Make = MakeShards, p.K, p.M, places
		w.grow(t, p.M)
	case sharded && s.shards(w.staying) == p.shards():
		t.Kind = RemoveCopy
		for i := range (s.On & w.present).All() {
			t.To = i
			w.add(freeing, int(s.ID), t)
		}
	case sharded:
		// Shards are missing, and there is nobody to take them: what there is stays.
	default:
		w.inCopies(s, t)
	}
}

// places returns where the shards that nobody has, or only somebody who leaves, would go. ok says that all of them can be
// had; otherwise as many as there are members for.
func (w *planner) places(s *Segment) (missing []At, ok bool) {
	var used Set
	for _, i := range s.At {
		if w.staying.Has(int(i)) {
			used = used.With(int(i))
		}
	}
	n := w.policy.shards()
	spare := w.spare(n, used)
	ok = used.Len()+spare.Len() >= n
	// Parity is not read: which index comes first goes round, so that reads are spread.
	first := 0
	if s.At == nil {
		first = int(s.ID) % n
	}
	list := slices.Collect(spare.All())
	for k := range n {
		i := (first + k) % n
		if s.At != nil && w.staying.Has(int(s.At[i])) || len(list) == 0 {
			continue
		}
		missing = append(missing, At{Shard: i, Member: list[0]})
		list = list[1:]
	}
	slices.SortFunc(missing, func(a, b At) int { return a.Shard - b.Shard })
	return missing, ok
}

// spare returns who takes part so that with those in used there are n, if there are so many that have room.
func (w *planner) spare(n int, used Set) Set {
	list := slices.DeleteFunc(slices.Clone(w.members), func(m Member) bool { return !(used | w.room).Has(m.Index) })
	return Choose(list, n, used, 0) &^ used
}

// inCopies brings a segment to whole copies.
func (w *planner) inCopies(s *Segment, t Task) {
	have := s.On & w.staying
	switch n := have.Len(); {
	case n < w.copies:
		t.Kind = Copy
		wanted := w.copies - 1
		if s.At != nil {
			wanted = s.M
		}
		for i := range w.spare(w.copies, have).All() {
			t.To = i
			w.grow(t, wanted)
		}
	case s.At != nil:
		t.Kind = RemoveShards
		w.add(freeing, int(s.ID), t)
	case n > w.copies:
		t.Kind = RemoveCopy
		for _, m := range slices.Backward(ranked(w.members)) { // those that have the least room
			if n > w.copies && have.Has(m.Index) {
				t.To = m.Index
				w.add(freeing, int(s.ID), t)
				n--
			}
		}
	}
}
