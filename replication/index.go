package replication

import (
	"cmp"
	"iter"
	"slices"
	"sync"

	"pagevault/replication/segment"
)

// index knows every segment that is there: which records it holds and up to where its bytes are durable on all members.
//
// Invariant: only the last segment may be unsealed, and only sealed ones leave.
type index struct {
	mu struct {
		sync.RWMutex
		segments []indexed // in order of id, with gaps where segments were dropped
		newest   SegmentID // the highest id that ever was, also if that segment was dropped
		through  LSN       // the last durable record, wherever it is
		sealed   int64     // since Open
	}
}

// indexed is one segment. count, end, length and data grow while it is open.
type indexed struct {
	id     SegmentID
	first  LSN
	count  int
	end    int64 // of the last durable record
	length int64 // of the file
	data   int64 // bytes of Data in it
	sealed bool

	holders Set    // members that have a whole copy, as far as known
	shards  []int8 // the member that has each shard, -1: none. nil: there are no shards. Never changed, but replaced
	k, m    uint8  // of shards: how many are data and how many parity

	table []segment.Entry // of the records, if the log is read only and no footer has it; otherwise nil
}

// last returns the LSN of the segment's last record; one less than first if it holds none.
func (s *indexed) last() LSN { return s.first + LSN(s.count) - 1 }

// sameSources reports whether the bytes of the segment are to be had where they were when old was taken.
func (s *indexed) sameSources(old *indexed) bool {
	return s.holders == old.holders && slices.Equal(s.shards, old.shards) && s.k == old.k
}

// shardBytes is how long the file of each shard is.
func (s *indexed) shardBytes() int64 {
	f := segment.Shard{K: int(s.k), M: int(s.m), Trailer: segment.Trailer{Length: uint32(s.length)}}
	return f.FileBytes()
}

// passed notes that segments up to id, whose last record is lsn, were there once.
func (x *index) passed(id SegmentID, lsn LSN) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.mu.newest, x.mu.through = max(x.mu.newest, id), max(x.mu.through, lsn)
}

func (x *index) add(s indexed) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.mu.segments = append(x.mu.segments, s)
	x.mu.newest, x.mu.through = s.id, s.last()
}

// findLocked returns where segment id stands, or would.
func (x *index) findLocked(id SegmentID) (int, bool) {
	return slices.BinarySearchFunc(x.mu.segments, id, func(s indexed, id SegmentID) int { return cmp.Compare(s.id, id) })
}

// get returns segment id. dropped says that it is not there any more.
func (x *index) get(id SegmentID) (s indexed, ok, dropped bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if i, ok := x.findLocked(id); ok {
		return x.mu.segments[i], true, false
	}
	return indexed{}, false, id > 0 && id <= x.mu.newest
}

// holds reports whether segment id is there.
func (x *index) holds(id SegmentID) bool {
	_, ok, _ := x.get(id)
	return ok
}

// remove forgets sealed segments. It returns when no look-up finds them any more.
func (x *index) remove(ids []SegmentID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.mu.segments = slices.DeleteFunc(x.mu.segments, func(s indexed) bool { return s.sealed && slices.Contains(ids, s.id) })
}

// all returns a copy of the segments, in order.
func (x *index) all() []indexed {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return slices.Clone(x.mu.segments)
}

// each goes through the segments, in order, without copying them. Nobody waits for the body but who changes the index, so it
// must be quick; it must not ask the index, nor keep the pointer.
func (x *index) each() iter.Seq[*indexed] {
	return func(yield func(*indexed) bool) {
		x.mu.RLock()
		defer x.mu.RUnlock()
		for i := range x.mu.segments {
			if !yield(&x.mu.segments[i]) {
				return
			}
		}
	}
}

// end returns the highest id that ever was and the last durable record.
func (x *index) end() (SegmentID, LSN) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.mu.newest, x.mu.through
}

// grow notes that the last segment now has count durable records that end at end and hold data
// bytes of Data.
func (x *index) grow(count int, end, data int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := &x.mu.segments[len(x.mu.segments)-1]
	s.count, s.end, s.length, s.data = count, end, end, data
	x.mu.through = s.last()
}

// seal notes that the last segment is sealed, on some members.
func (x *index) seal(length int64, on Set) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := &x.mu.segments[len(x.mu.segments)-1]
	s.length, s.sealed, s.holders = length, true, on
	x.mu.sealed++
}

// forgetTail forgets the last segment, which is open and has no record. The next one has its number.
func (x *index) forgetTail() {
	x.mu.Lock()
	defer x.mu.Unlock()
	last := len(x.mu.segments) - 1
	x.mu.newest, x.mu.segments = x.mu.segments[last].id-1, x.mu.segments[:last]
}

// setHolder notes whether member i has a whole copy of segment id.
func (x *index) setHolder(id SegmentID, i int, has bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if at, ok := x.findLocked(id); ok {
		s := &x.mu.segments[at]
		if s.holders = s.holders.Without(i); has {
			s.holders = s.holders.With(i)
		}
	}
}

// setShards notes which members have the shards of segment id, k of data and then m of parity; nil: there are none. The
// caller does not change at any more.
func (x *index) setShards(id SegmentID, k, m uint8, at []int8) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if i, ok := x.findLocked(id); ok {
		s := &x.mu.segments[i]
		s.shards, s.k, s.m = at, k, m
	}
}

// setShard notes that member i has a shard of segment id, or, with -1, that nobody has it.
func (x *index) setShard(id SegmentID, shard, i int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if at, ok := x.findLocked(id); ok && shard < len(x.mu.segments[at].shards) {
		s := &x.mu.segments[at]
		s.shards = slices.Clone(s.shards)
		s.shards[shard] = int8(i)
	}
}

// keepShards forgets the shards of member i but for those that keep says.
func (x *index) keepShards(i int, keep func(id SegmentID, shard int) bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for at := range x.mu.segments {
		s := &x.mu.segments[at]
		for shard, has := range s.shards {
			if int(has) == i && !keep(s.id, shard) {
				s.shards = slices.Clone(s.shards)
				s.shards[shard] = -1
			}
		}
	}
}

// forgetMember notes that member i has nothing any more: another directory is in its place.
func (x *index) forgetMember(i int) {
	x.keepShards(i, func(SegmentID, int) bool { return false })
	x.mu.Lock()
	defer x.mu.Unlock()
	for at := range x.mu.segments {
		x.mu.segments[at].holders = x.mu.segments[at].holders.Without(i)
	}
}

func (x *index) stats(s *Stats) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	s.Segments, s.Sealed, s.Last = len(x.mu.segments), x.mu.sealed, x.mu.through
	for i := range x.mu.segments {
		s.Bytes += x.mu.segments[i].length
		s.DataBytes += x.mu.segments[i].data
	}
}
