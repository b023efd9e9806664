//go:build race

package replication

// failEvery is the distance of the operations that tests fail, of all that there are. Each is a life of its own, so the race
// detector finds in some what it would in all; which ones differs from run to run.
const failEvery = 5
