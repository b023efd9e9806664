package replication

import (
	"errors"
	"io"
)

// voter reads copies of one thing as if they were one, whose every byte is what most of them say: where three copies are damaged
// in different places it gives what none of them has any more. Nobody knows whether that is right who has no checksum of it. It
// is a last resort, and not safe for concurrent use.
type voter struct {
	copies []io.ReaderAt
	bufs   [][]byte
}

// votersMin is how many copies it takes for a majority over one that is wrong.
const votersMin = 3

var errNoMajority = errors.New("fewer than three copies can be read there")

// ReadAt fills p or returns an error.
func (v *voter) ReadAt(p []byte, off int64) (int, error) {
	read := v.bufs[:0]
	for i, c := range v.copies {
		if i == len(v.bufs) {
			v.bufs = append(v.bufs, nil)
		}
		if cap(v.bufs[i]) < len(p) {
			v.bufs[i] = make([]byte, len(p))
		}
		b := v.bufs[i][:len(p)]
		if n, _ := c.ReadAt(b, off); n == len(p) {
			v.bufs[i], v.bufs[len(read)] = v.bufs[len(read)], b
			read = v.bufs[:len(read)+1]
		}
	}
	if len(read) < votersMin {
		return 0, errNoMajority
	}
	vote(p, read)
	return len(p), nil
}

// vote fills p with what most of copies, of the same length and three or more, say, byte by byte.
func vote(p []byte, copies [][]byte) {
	a, b, c := copies[0], copies[1], copies[2]
	for i := range p {
		switch {
		case a[i] == b[i] || a[i] == c[i]:
			p[i] = a[i]
		default:
			p[i] = b[i] // which is c's, or nobody agrees
		}
	}
	if len(copies) == votersMin {
		return
	}
	for i := range p {
		var votes [256]uint8
		for _, b := range copies {
			if votes[b[i]]++; votes[b[i]] > votes[p[i]] {
				p[i] = b[i]
			}
		}
	}
}

// voteSource returns what most of the copies among sources say as one more source, if there are enough of them.
func (l *Log) voteSource(s *indexed, copies []source) []source {
	n := 0
	for i := range copies {
		if copies[i].m != nil && !copies[i].spare {
			n++
		}
	}
	if n < votersMin {
		return nil
	}
	return []source{{log: l, segment: s.id, size: s.length, spare: true, shards: func(p []byte, off int64) error {
		var v voter
		for i := range copies {
			if copies[i].m != nil && !copies[i].spare {
				v.copies = append(v.copies, &copies[i])
			}
		}
		_, err := v.ReadAt(p, off)
		return err
	}}}
}
