package replication

import (
	"cmp"

	"pagevault/replication/placement"
)

// placeWriters returns the members that write the next segment: all that are written, if there are no more than the roster
// wants copies; otherwise so many current ones, chosen by how much they hold for the room they have, and joining ones only if
// there are too few. A second member of a disk, and one that is being retired, is taken only if there are not enough others.
// Those in must, which have to write it, are among them; a joining one of them comes on top, since it does not count.
func (l *Log) placeWriters(ms *membership, must Set) Set {
	written := ms.written()
	copies := cmp.Or(ms.roster.Copies, written.Len())
	if written.Len() <= copies {
		return written
	}
	members := l.placeable(ms)
	current := make([]placement.Member, 0, len(members))
	for i := range members {
		if ms.current.Has(members[i].Index) {
			current = append(current, members[i])
		}
	}
	chosen := placement.Choose(current, copies, must, 0)
	if more := chosen | must&written; more != chosen || chosen.Len() < copies {
		chosen = placement.Choose(members, copies, more, 0)
	}
	return chosen
}

// placeable returns the members that are written, as package placement wants to know them.
func (l *Log) placeable(ms *membership) []placement.Member {
	held, leaving := l.index.held(), l.leaving()
	var out []placement.Member
	for i, m := range ms.each(ms.written()) {
		out = append(out, placement.Member{Index: i, Disk: m.device, Held: held[i], Free: m.free.Load(), Total: m.total.Load(),
			Leaving: leaving.Has(i), Joining: ms.joining.Has(i)})
	}
	return out
}

// held returns how many bytes of segments each member holds, by index.
func (x *index) held() (held [membersMax]uint64) {
	for s := range x.each() {
		for i := range s.holders.All() {
			held[i] += uint64(s.length)
		}
		for _, i := range s.shards {
			if i >= 0 {
				held[i] += uint64(s.shardBytes())
			}
		}
	}
	return held
}
