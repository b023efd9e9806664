// Package tier knows the tiers of page blobs in premium accounts: their names, how large a blob of each may be, and how a
// blob goes from one to another. It is pure.
//
// A blob has the tier that somebody gave it, or, as long as nobody did, the smallest one that it fits in: that one is
// inferred. A tier that was given can be changed for a higher one only.
package tier

import (
	"strconv"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
)

// Tier is the number of a tier: 10 is P10. The zero Tier is: none was given.
type Tier uint8

// tiers are all tiers, from the lowest up, and what fits in them.
var tiers = [...]struct {
	tier  Tier
	bytes int64
}{
	{4, 32 << 30}, {6, 64 << 30}, {10, 128 << 30}, {15, 256 << 30}, {20, 512 << 30},
	{30, 1 << 40}, {40, 2 << 40}, {50, 4 << 40}, {60, 8 << 40}, {70, 16 << 40}, {80, 32 << 40},
}

// others are the tiers of block blobs, which no page blob can have.
var others = [...]string{"hot", "cool", "cold", "archive", "smart", "premium"}

// String returns the tier as it goes over the wire, "" for none.
func (t Tier) String() string {
	if t == 0 {
		return ""
	}
	return "P" + strconv.Itoa(int(t))
}

// Valid reports whether there is such a tier.
func (t Tier) Valid() bool { return t.bytes() > 0 }

// bytes returns the size of the largest blob of the tier, 0 if there is no such tier.
func (t Tier) bytes() int64 {
	for _, x := range tiers {
		if x.tier == t {
			return x.bytes
		}
	}
	return 0
}

// Fits reports whether a blob of that size fits in the tier. Everything fits where none was given.
func (t Tier) Fits(size int64) bool { return t == 0 || size <= t.bytes() }

// Infer returns the lowest tier that a blob of that size fits in.
func Infer(size int64) Tier {
	for _, x := range tiers {
		if size <= x.bytes {
			return x.tier
		}
	}
	return tiers[len(tiers)-1].tier
}

// Parse reads the value of x-ms-access-tier, for a page blob: InvalidHeaderValue for what is no tier at all,
// InvalidBlobTier for those of block blobs.
func Parse(v []byte) (Tier, error) {
	for _, x := range tiers {
		if name := x.tier.String(); len(v) > 1 && (v[0] == 'P' || v[0] == 'p') && string(v[1:]) == name[1:] {
			return x.tier, nil
		}
	}
	for _, name := range others {
		if header.EqualFold(v, name) {
			return 0, azerr.InvalidBlobTier
		}
	}
	return 0, azerr.BadHeader("x-ms-access-tier", string(v))
}

// Change decides whether a blob of that size, to which tier from was given, may have tier to.
func Change(from, to Tier, size int64) error {
	switch {
	case !to.Fits(size):
		return azerr.BlobTierInadequateForContentLength
	case to < from:
		return azerr.CannotChangeToLowerTier
	}
	return nil
}
