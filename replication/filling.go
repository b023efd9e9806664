package replication

import (
	"pagevault/replication/placement"
)

// ReasonFilling is the reason of a member that is current and gets copies or shards of sealed segments which lack them. A member
// that was replaced is current as soon as new records count on it; until it is filled, it guards less than it should.
const ReasonFilling = "being filled"

// filling is what members get of sealed segments that lack copies or shards.
type filling struct {
	ms    *membership
	gets  [membersMax]int64  // bytes, by index
	holds [membersMax]uint64 // what is there
}

// filling returns what arranging will bring to whom, if nothing else changes, by the plan that it goes by. A member that is
// brought up is counted as if that was over: what it still holds by itself is known only then.
func (l *Log) filling(ms *membership) *filling {
	a := l.arrangement()
	f := &filling{ms: ms, holds: l.index.held()}
	var coming Set
	for i := range a.members {
		a.members[i].Joining = false
	}
	for i := range a.ms.roster.Rows {
		i := a.ms.roster.Rows[i].Number - 1
		if up := l.seats.get(i).up; up != nil && !a.ms.written().Has(i) && !l.everywhere() {
			coming = coming.With(i)
			a.members = append(a.members, placement.Member{Index: i, Disk: up.device, Free: up.free.Load(), Total: up.total.Load()})
		}
	}
	then := *a.ms // as it will be
	then.current, then.joining = a.ms.written()|coming, 0
	a.ms = &then
	a.staying |= coming
	a.away &^= coming
	for _, t := range a.tasks() {
		s := a.rows[SegmentID(t.Segment)]
		switch {
		case !t.Urgent:
		case t.Kind == placement.Copy:
			f.gets[t.To] += s.length
		case t.Kind == placement.MakeShards:
			s.k, s.m = uint8(t.K), uint8(t.M)
			for _, at := range t.Make {
				f.gets[at.Member] += s.shardBytes()
			}
		}
	}
	return f
}

// describe adds what a member gets to how it is.
func (f *filling) describe(s *MemberStatus) {
	i := s.Number
	lacks, known := f.gets[i], s.State == Current || s.State == Joining || s.State == Behind && s.Want > 0
	switch {
	case s.State == Current && lacks > 0:
		s.Reason = ReasonFilling
		s.Have = int64(f.holds[i])
	case s.State == Current:
		return
	case known || lacks > 0:
		lacks = max(lacks, s.Want-s.Have)
		s.Have = max(s.Have, int64(f.holds[i]))
	default:
		return // nobody has looked
	}
	s.Want = s.Have + lacks
}
