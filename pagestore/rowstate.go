package pagestore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// state is the row that every batch writes: what the index has seen.
//
//	format u16 · store [16] · applied u64 · next frame u64 · next volume u64 · next session u64 · mismatch u64
//	· counters 11 × u64, in the order of Counters
type state struct {
	store       [16]byte
	applied     replication.LSN
	nextFrame   pagemap.FrameID
	nextVolume  VolumeID
	nextSession uint64
	mismatch    replication.LSN // the first record that did not fit the counts of blocks; 0: all did
	Counters
}

// Counters are exact totals, one copy of everything. The first are over the life of the store: every byte of a write is
// either a zero byte, a duplicate byte or a byte of a frame. The others say what there is now.
type Counters struct {
	LogicalBytes   uint64 // written by the callers
	ZeroBytes      uint64 // of these, in chunks and pieces of nothing but zeros, which store nothing
	DuplicateBytes uint64 // of these, already stored when they were written, by an earlier write or the same
	Records        uint64 // of the log, the store's header included

	Frames      uint64
	Chunks      uint64 // stored chunks that have a name
	StoredBytes uint64 // of frames, as they are stored: compressed, sealed
	RawBytes    uint64 // of frames, as they were written
	UniqueBytes uint64 // of these, in blocks that some volume uses
	LiveBytes   uint64 // what of StoredBytes falls on such blocks, each frame's shared out among its blocks
	MappedBytes uint64 // of valid pages, over all volumes and generations
}

const numCounters = 11

func (c *Counters) fields() [numCounters]*uint64 {
	return [...]*uint64{&c.LogicalBytes, &c.ZeroBytes, &c.DuplicateBytes, &c.Records,
		&c.Frames, &c.Chunks, &c.StoredBytes, &c.RawBytes, &c.UniqueBytes, &c.LiveBytes, &c.MappedBytes}
}

// stateBytes is the length of a state row.
const stateBytes = 2 + 16 + (5+numCounters)*8

func appendState(dst []byte, s *state) []byte {
	dst = binary.LittleEndian.AppendUint16(dst, indexFormat)
	dst = append(dst, s.store[:]...)
	for _, n := range [...]uint64{uint64(s.applied), uint64(s.nextFrame), uint64(s.nextVolume), s.nextSession, uint64(s.mismatch)} {
		dst = binary.LittleEndian.AppendUint64(dst, n)
	}
	for _, n := range s.Counters.fields() {
		dst = binary.LittleEndian.AppendUint64(dst, *n)
	}
	return dst
}

// errNewerIndex marks an index of a later version of the program.
var errNewerIndex = errors.New("made by a later version")

func decodeState(p []byte) (s state, err error) {
	if len(p) < 2 {
		return s, errRowCut
	}
	switch v := binary.LittleEndian.Uint16(p); {
	case v < indexFormat:
		copy(s.store[:], p[2:]) // all formats have that
		return s, &damage{fmt.Errorf("the index has format %d, this build reads format %d", v, indexFormat)}
	case v > indexFormat:
		return s, fmt.Errorf("%w: the index has format %d, this build reads format %d", errNewerIndex, v, indexFormat)
	}
	if len(p) != stateBytes {
		return s, errRowCut
	}
	copy(s.store[:], p[2:])
	p = p[18:]
	next := func() (n uint64) {
		n, p = binary.LittleEndian.Uint64(p), p[8:]
		return n
	}
	s.applied, s.nextFrame, s.nextVolume = replication.LSN(next()), pagemap.FrameID(next()), VolumeID(next())
	s.nextSession, s.mismatch = next(), replication.LSN(next())
	for _, n := range s.Counters.fields() {
		*n = next()
	}
	return s, nil
}
