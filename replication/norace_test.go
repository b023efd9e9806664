//go:build !race

package replication

// failEvery is the distance of the operations that tests fail, of all that there are.
const failEvery = 1
