package replication

import "pagevault/replication/placement"

// Set is a set of members by their index, 0 … 63: the number less one. The zero Set is empty.
type Set = placement.Set

// setOf returns the set of the first n members.
func setOf(n int) Set { return Set(1)<<n - 1 }
