package blobstore

import (
	"fmt"
	"strconv"
	"strings"

	"pagevault/pagestore"
)

// Redundancy is how sealed segments are kept: the zero value is whole copies, three or one a member if there are fewer;
// K and M are a Reed–Solomon code of K shards with data and M more, on K+M members.
type Redundancy = pagestore.Redundancy

// redundancyMax is the most shards there can be: one a member.
const redundancyMax = 64

// ParseRedundancy reads "3", which is copies, or "rs:K+M".
func ParseRedundancy(text string) (r Redundancy, err error) {
	if text == "3" {
		return Redundancy{}, nil
	}
	code, isCode := strings.CutPrefix(text, "rs:")
	k, m, isSum := strings.Cut(code, "+")
	if isCode && isSum {
		r.K, err = strconv.Atoi(k)
		if err == nil {
			r.M, err = strconv.Atoi(m)
		}
	}
	if !isCode || !isSum || err != nil || r.K < 1 || r.M < 1 || r.K+r.M > redundancyMax {
		return Redundancy{}, fmt.Errorf("%q is no redundancy: want 3, or rs:K+M with at most %d members together, such as rs:2+1", text, redundancyMax)
	}
	return r, nil
}
