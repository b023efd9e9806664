// Package e2e tests the real binary from outside, as its users and its bad days treat it: a real disk image through
// three of Azure's clients, all that these can do by all credentials they have, the conformance list, kill -9 at random
// moments under concurrent writers, power cuts on real file systems, and disks that fail in every way that can be had:
// full, frozen, read-only, gone, rotten.
//
// Its tests take minutes, other people's programs and, for what is mounted, root, so they have a build tag of their own:
// run them by make e2e, make crash and make disks. PAGEVAULT_SEED replays the choices of a run (not its scheduling);
// PAGEVAULT_KILL_ROUNDS, PAGEVAULT_POWER_CUTS, PAGEVAULT_DISK_ROUNDS and PAGEVAULT_CONFORM_WAIT make it longer.
package e2e
