// Package stripe lays the bytes of a sealed segment out over the shards of a Reed-Solomon code and computes the code: parity
// from data, and any shards from K others. It is pure; what a shard file looks like is the business of package segment, and
// where the files are that of replication.
//
// The code is systematic, over the field of 256 elements with the polynomial x⁸+x⁴+x³+x²+1: the K data shards hold the bytes
// as they are. Row r of the matrix with K columns is r⁰, r¹, r² …, multiplied by the inverse of its first K rows, so that
// these become the unit matrix; row K+j gives parity shard j. docs/on-disk-format.md says it for who has to write it again.
package stripe

import (
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/klauspost/reedsolomon"
)

// ErrTooFew is returned when fewer than K shards are there.
var ErrTooFew = errors.New("too few shards")

// Code is the code of K data and M parity shards. It is safe for concurrent use.
type Code struct {
	K, M int // data and parity shards
	enc  reedsolomon.Encoder
}

// Codes keeps the codes that were asked for: one has tables that are costly to make, and there are few. The zero value is
// ready, and safe for concurrent use.
type Codes struct{ made sync.Map } // of [2]int to *Code

// Get returns the code. K and M must be at least 1 and come to at most 64.
func (c *Codes) Get(k, m int) (*Code, error) {
	if code, ok := c.made.Load([2]int{k, m}); ok {
		return code.(*Code), nil
	}
	if k < 1 || m < 1 || k+m > 64 {
		return nil, fmt.Errorf("no code of %d+%d shards: wanted 1 or more of each, and 64 at most", k, m)
	}
	// One goroutine: converting is work for the background, and must leave the other processors alone.
	enc, err := reedsolomon.New(k, m, reedsolomon.WithMaxGoroutines(1))
	if err != nil {
		return nil, fmt.Errorf("code of %d+%d shards: %w", k, m, err)
	}
	code, _ := c.made.LoadOrStore([2]int{k, m}, &Code{K: k, M: m, enc: enc})
	return code.(*Code), nil
}

// Encode computes the parity shards from the data shards. There are K+M, all of one length; the last M are overwritten.
func (c *Code) Encode(shards [][]byte) error { return c.enc.Encode(shards) }

// Verify reports whether the parity shards are those of the data shards.
func (c *Code) Verify(shards [][]byte) (bool, error) { return c.enc.Verify(shards) }

// Reconstruct computes the shards that are wanted of those that are there. Of the K+M shards those that are there have all
// one length, and the others have none; a wanted one must have room for it in its capacity, or memory is made. The error is
// ErrTooFew if fewer than K are there.
func (c *Code) Reconstruct(shards [][]byte, want []bool) error {
	err := c.enc.ReconstructSome(shards, want)
	if errors.Is(err, reedsolomon.ErrTooFewShards) {
		return ErrTooFew
	}
	return err
}

// Part is a run of the segment's bytes that lies in one shard.
type Part struct {
	Shard  int
	Offset int64 // in the shard's payload
	From   int   // the first byte, counted from the start of the range asked for
	Bytes  int
}

// Parts returns where the bytes [off, off+n) of a segment lie whose shards have shardBytes of payload each.
func Parts(shardBytes, off int64, n int) iter.Seq[Part] {
	return func(yield func(Part) bool) {
		for from := 0; from < n; {
			p := Part{Shard: int((off + int64(from)) / shardBytes), Offset: (off + int64(from)) % shardBytes, From: from}
			p.Bytes = int(min(int64(n-from), shardBytes-p.Offset))
			if !yield(p) {
				return
			}
			from += p.Bytes
		}
	}
}
