// Package gc decides which segments of a log are rewritten, what becomes of each frame of one, and which segments can go.
// It is pure: it sees numbers and sets of blocks, and returns what to do. Who carries it out, and why that is safe, is
// told in package pagestore.
package gc

import "fmt"

// Segment is what is known of one sealed segment.
type Segment struct {
	ID     uint32
	Last   uint64 // its last record
	Bytes  int64  // of its file on one member: content, records, footer
	Words  int64  // of these, all but content: what records say beside it
	Frames uint64 // that are stored in it and that something may still name
	Stored int64  // bytes of these
	Live   int64  // of these, the share of blocks that are in use
	Fast   int64  // of Stored, what was stored in a hurry
}

// frameWords bounds what a record says of a frame that it stores anew: 16 names of 21 bytes, as many checksums, and where
// and how the frame is stored.
const frameWords = 448

// Garbage returns the percentage of the file that rewriting gives back: all but the live content, and but what has to be
// said of it again. For content in small pieces that is more than the content itself; without it such a segment would be
// rewritten, and its outcome again, for ever. What else records say is needed only until a checkpoint stands for it.
func (s *Segment) Garbage() int {
	words := s.Words
	switch {
	case s.Live == 0:
		words = 0
	case s.Frames <= uint64(words)/frameWords: // not by a product, which a damaged row could make overflow
		words = int64(s.Frames) * frameWords
	}
	return percent(s.Bytes-s.Live-words, s.Bytes)
}

func percent(part, whole int64) int {
	if whole <= 0 {
		return 0
	}
	return int(part * 100 / whole)
}

// Rules say what is worth rewriting a segment for.
type Rules struct {
	Garbage int    // percent of the file from which it is worth it
	Fast    int    // percent of the stored content that may be smaller if stored anew; 0: however much it is, it is not
	Before  uint32 // segments from this id on are left alone; 0: none is
}

// Why says why a segment is rewritten.
type Why uint8

const (
	Garbage Why = iota + 1 // too little of it is in use
	Fast                   // it can be stored in less
)

// String returns the reason in a word.
func (w Why) String() string {
	switch w {
	case Garbage:
		return "garbage"
	case Fast:
		return "fast"
	}
	return fmt.Sprintf("reason %d", w)
}

// Choose returns the segment to rewrite next: the one with the most garbage, as a percentage, if that is enough, else the
// one with the most that was stored in a hurry. A segment without frames is not rewritten: it can be dropped as it is.
func Choose(segments []Segment, r Rules) (id uint32, why Why, ok bool) {
	best, most := -1, int64(0)
	for i := range segments {
		s := &segments[i]
		if s.Frames == 0 || r.Before != 0 && s.ID >= r.Before {
			continue
		}
		if g := s.Garbage(); g >= r.Garbage && (why != Garbage || int64(g) > most) {
			best, why, most = i, Garbage, int64(g)
		}
		if f := percent(s.Fast, s.Stored); why != Garbage && r.Fast > 0 && f >= r.Fast && s.Fast > most {
			best, why, most = i, Fast, s.Fast
		}
	}
	if best < 0 {
		return 0, 0, false
	}
	return segments[best].ID, why, true
}

// Empty returns the segments that nothing is stored in any more and whose records are all among the first applied ones:
// those that can be dropped once a checkpoint stands for these.
func Empty(segments []Segment, applied uint64) (ids []uint32, bytes int64) {
	for i := range segments {
		if s := &segments[i]; s.Frames == 0 && s.Last <= applied {
			ids, bytes = append(ids, s.ID), bytes+s.Bytes
		}
	}
	return ids, bytes
}

// Blocks is a set of the blocks of a frame: bit i is block i.
type Blocks uint16

// Action is what becomes of a frame when its segment is rewritten.
type Action uint8

const (
	Move Action = iota + 1 // it is stored anew, with fewer blocks perhaps
	Free                   // nothing of it is in use
)

// Plan says what becomes of a frame of a segment that is rewritten. condemned are the blocks that nothing used when they
// were announced, present and used those it has and those that something uses once nobody can have missed that. Only
// blocks that are not used in either picture go: others may be taken up again at any time. keep are the blocks that
// stay.
func Plan(present, condemned, used Blocks) (action Action, keep Blocks) {
	keep = present &^ (condemned &^ used)
	if keep == 0 {
		return Free, 0
	}
	return Move, keep
}
