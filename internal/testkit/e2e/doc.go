// Package e2e tests the real binary from outside, as its users and its bad days treat it: a real disk image through
// three of Azure's clients, the conformance list, kill -9 at random moments under concurrent writers, and power cuts on
// real file systems.
//
// Its tests take minutes, other people's programs and, for the power cuts, root, so they have a build tag of their own:
// run them by make e2e and make crash. PAGEVAULT_SEED replays the choices of a run (not its scheduling);
// PAGEVAULT_KILL_ROUNDS, PAGEVAULT_POWER_CUTS and PAGEVAULT_CONFORM_WAIT make it longer.
package e2e
