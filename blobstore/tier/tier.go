// Package tier knows the tiers of page blobs in premium accounts and of block blobs in the others: their names, how large a page
// blob of each may be, and how a blob goes from one to another. It is pure.
//
// A blob has the tier that somebody gave it. As long as nobody did, a page blob has the smallest one that it fits in, and a
// block blob is hot: that one is inferred. A page blob's tier that was given can be changed for a higher one only, a block blob's for
// any other.
package tier

import (
	"strconv"
	"strings"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
)

// Tier is the number of a tier: 10 is P10. The zero Tier is: none was given.
type Tier uint8

// The tiers of block blobs. What is in the archive tier is kept as everything is, and not read.
const (
	Hot Tier = 101 + iota
	Cool
	Cold
	Archive
	blockEnd
)

// blockNames are the names of the tiers of block blobs, from Hot.
var blockNames = [...]string{"Hot", "Cool", "Cold", "Archive"}

// tiers are all tiers of page blobs, from the lowest up, and what fits in them.
var tiers = [...]struct {
	tier  Tier
	bytes int64
}{
	{4, 32 << 30}, {6, 64 << 30}, {10, 128 << 30}, {15, 256 << 30}, {20, 512 << 30},
	{30, 1 << 40}, {40, 2 << 40}, {50, 4 << 40}, {60, 8 << 40}, {70, 16 << 40}, {80, 32 << 40},
}

// others are the tiers that Azure has, and that no blob can have here.
var others = [...]string{"smart", "premium"}

// String returns the tier as it goes over the wire, "" for none.
func (t Tier) String() string {
	switch {
	case t == 0:
		return ""
	case t.OfBlocks():
		return blockNames[t-Hot]
	}
	return "P" + strconv.Itoa(int(t))
}

// Valid reports whether there is such a tier.
func (t Tier) Valid() bool { return t.OfPages() || t.OfBlocks() }

// OfPages reports whether the tier is one of page blobs.
func (t Tier) OfPages() bool { return t.bytes() > 0 }

// OfBlocks reports whether the tier is one of block blobs.
func (t Tier) OfBlocks() bool { return t >= Hot && t < blockEnd }

// bytes returns the size of the largest page blob of the tier, 0 if there is no such tier.
func (t Tier) bytes() int64 {
	for _, x := range tiers {
		if x.tier == t {
			return x.bytes
		}
	}
	return 0
}

// Fits reports whether a blob of that size fits in the tier. Everything fits where none was given, and in those of block blobs.
func (t Tier) Fits(size int64) bool { return t == 0 || t.OfBlocks() || size <= t.bytes() }

// Infer returns the lowest tier that a page blob of that size fits in.
func Infer(size int64) Tier {
	for _, x := range tiers {
		if size <= x.bytes {
			return x.tier
		}
	}
	return tiers[len(tiers)-1].tier
}

// Parse reads the value of x-ms-access-tier: InvalidHeaderValue for what is no tier at all, InvalidBlobTier for those that no
// blob has here.
func Parse(v []byte) (Tier, error) {
	for _, x := range tiers {
		if name := x.tier.String(); len(v) > 1 && (v[0] == 'P' || v[0] == 'p') && string(v[1:]) == name[1:] {
			return x.tier, nil
		}
	}
	for i, name := range blockNames {
		if strings.EqualFold(string(v), name) {
			return Hot + Tier(i), nil
		}
	}
	for _, name := range others {
		if header.EqualFold(v, name) {
			return 0, azerr.InvalidBlobTier
		}
	}
	return 0, azerr.BadHeader("x-ms-access-tier", string(v))
}

// Change decides whether a page blob of that size, to which tier from was given, may have tier to.
func Change(from, to Tier, size int64) error {
	switch {
	case !to.Fits(size):
		return azerr.BlobTierInadequateForContentLength
	case to < from:
		return azerr.CannotChangeToLowerTier
	}
	return nil
}
