// Package placement decides which members of a log keep what: the writers of a new segment (Choose), and what has to be done
// so that every sealed segment is kept as the owner wants it, as whole copies or as the shards of a Reed-Solomon code
// (Plan). It is pure: it is told what there is and answers; it promises that equal questions get equal answers. Doing it is
// left to replication.
//
// # Who is chosen
//
// A disk that was just mounted empty should fill, and disks of different sizes should fill together. So the member that
// comes first is the one that holds least of this log for the space it has free. Members on one disk die together: a second
// one of a disk is taken only when no other disk is left.
package placement

import (
	"cmp"
	"iter"
	"math/bits"
	"slices"
)

// Set is a set of members by index, from 0.
type Set uint64

// Of returns the set of the members given.
func Of(members ...int) (s Set) {
	for _, i := range members {
		s = s.With(i)
	}
	return s
}

// Has reports whether member i is in s.
func (s Set) Has(i int) bool { return i >= 0 && s>>i&1 == 1 }

// With returns s and member i.
func (s Set) With(i int) Set { return s | 1<<i }

// Without returns s but for member i.
func (s Set) Without(i int) Set { return s &^ (1 << i) }

// Len returns the number of members in s.
func (s Set) Len() int { return bits.OnesCount64(uint64(s)) }

// All goes through the members in s, ascending.
func (s Set) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for ; s != 0; s &= s - 1 {
			if !yield(bits.TrailingZeros64(uint64(s))) {
				return
			}
		}
	}
}

// reserveBytes is the free space below which a member gets new data only if there are not enough others: 1 GiB, four
// segments of the usual size; of a small disk, the share of it that reserveShare says.
const (
	reserveBytes = 1 << 30
	reserveShare = 20 // a twentieth
)

// Member is one that can be written: a current one, or one that is joining.
type Member struct {
	Index       int    // from 0
	Disk        string // members with the same one die together; "": a disk of its own
	Held        uint64 // bytes of this log on it
	Free, Total uint64 // bytes of its file system; Total 0: unknown
	Leaving     bool   // it is being retired: nothing new goes to it, and what it holds does not count
	Joining     bool   // it is being brought up: what it holds counts, and others see to what it lacks
}

// full says that the member has so little space left that others come first.
func (m *Member) full() bool { return m.Total > 0 && m.Free < min(reserveBytes, m.Total/reserveShare) }

// room is what a member has free; where that is unknown, as much as any.
func (m *Member) room(unknown uint64) uint64 {
	if m.Total == 0 {
		return unknown
	}
	return m.Free
}

// before orders members by how much they want new data: those with space first, then those that hold the least for the
// space they have, then by index.
func before(unknown uint64) func(a, b Member) int {
	return func(a, b Member) int {
		if a.full() != b.full() {
			return truth(a.full()) - truth(b.full())
		}
		// a.Held/a.room < b.Held/b.room, in 128 bits. Members of one file system have the same room up to what the others
		// write meanwhile, so rooms that differ by less than a 64th are equal.
		ra, rb := a.room(unknown), b.room(unknown)
		if max(ra, rb)-min(ra, rb) <= max(ra, rb)/64 {
			ra, rb = 1, 1
		}
		ahi, alo := bits.Mul64(a.Held, rb)
		bhi, blo := bits.Mul64(b.Held, ra)
		return cmp.Or(cmp.Compare(ahi, bhi), cmp.Compare(alo, blo), cmp.Compare(rb, ra), cmp.Compare(a.Index, b.Index))
	}
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// ranked returns the members in the order in which they want new data, without those that leave.
func ranked(members []Member) []Member {
	var unknown uint64 = 1
	for i := range members {
		unknown = max(unknown, members[i].Free)
	}
	list := slices.DeleteFunc(slices.Clone(members), func(m Member) bool { return m.Leaving })
	slices.SortFunc(list, before(unknown))
	return list
}

// Choose returns the writers of a new segment: copies of the members, or all of them if there are fewer. Those in must are
// among them if they are members, also if they leave or there are more than copies; those in avoid, and those that leave,
// only if there are not enough others.
func Choose(members []Member, copies int, must, avoid Set) Set {
	var chosen Set
	disks := map[string]bool{}
	take := func(m *Member) {
		chosen = chosen.With(m.Index)
		disks[m.Disk] = m.Disk != ""
	}
	for i := range members {
		if must.Has(members[i].Index) {
			take(&members[i])
		}
	}
	list := ranked(members)
	for i := range members {
		if members[i].Leaving {
			avoid = avoid.With(members[i].Index)
			list = append(list, members[i])
		}
	}
	// Other disks before disks that have one already, and anybody before those to be avoided.
	for _, round := range []struct{ avoided, again bool }{{false, false}, {false, true}, {true, false}, {true, true}} {
		for i := range list {
			m := &list[i]
			if chosen.Len() < copies && !chosen.Has(m.Index) && avoid.Has(m.Index) == round.avoided && (round.again || !disks[m.Disk]) {
				take(m)
			}
		}
	}
	return chosen
}
