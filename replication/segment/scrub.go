package segment

import "encoding/binary"

// ScrubName is the file of a member that says how far the reading of everything is. It is advice: it is not synced, and one that
// is damaged or missing means that nothing is known.
const ScrubName = "SCRUB"

// ScrubBytes is the length of the file.
const ScrubBytes = 64

var scrubMagic = [8]byte{'P', 'V', 'S', 'C', 'R', 'U', 'B', 'S'}

// Scrub is how far the reading of everything that the members of a log hold is.
//
//	 0  8  magic "PVSCRUBS"
//	 8  4  format version
//	12  4  the segment to be read next; 0: no run is under way
//	16 16  store id
//	32  8  when the run under way began, or else the last one, nanoseconds since 1970-01-01 UTC; 0: there was none
//	40  8  when the last run ended that has read everything; 0: there was none
//	48  4  problems that the run has found, at most 2³²−1
//	52  4  files that it has healed
//	56  4  problems that it could not heal
//	60  4  CRC-32C of the 60 bytes before
type Scrub struct {
	Store      StoreID
	Next       ID
	Started    int64
	Finished   int64
	Problems   uint32
	Healed     uint32
	Unhealable uint32
}

// Append appends the encoded file to dst.
func (s *Scrub) Append(dst []byte) []byte {
	var b [ScrubBytes]byte
	binary.LittleEndian.PutUint32(b[12:], uint32(s.Next))
	copy(b[16:], s.Store[:])
	binary.LittleEndian.PutUint64(b[32:], uint64(s.Started))
	binary.LittleEndian.PutUint64(b[40:], uint64(s.Finished))
	binary.LittleEndian.PutUint32(b[48:], s.Problems)
	binary.LittleEndian.PutUint32(b[52:], s.Healed)
	binary.LittleEndian.PutUint32(b[56:], s.Unhealable)
	frame(b[:], scrubMagic)
	return append(dst, b[:]...)
}

// ParseScrub reads the content of the file.
func ParseScrub(b []byte) (Scrub, error) {
	if err := checkFrame(b, scrubMagic, ScrubName); err != nil {
		return Scrub{}, err
	}
	if len(b) != ScrubBytes {
		return Scrub{}, damaged("%s has %d bytes, wanted %d", ScrubName, len(b), ScrubBytes)
	}
	return Scrub{
		Next:       ID(binary.LittleEndian.Uint32(b[12:])),
		Store:      StoreID(b[16:32]),
		Started:    int64(binary.LittleEndian.Uint64(b[32:])),
		Finished:   int64(binary.LittleEndian.Uint64(b[40:])),
		Problems:   binary.LittleEndian.Uint32(b[48:]),
		Healed:     binary.LittleEndian.Uint32(b[52:]),
		Unhealable: binary.LittleEndian.Uint32(b[56:]),
	}, nil
}
