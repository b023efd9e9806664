// Package e2e tests the real binary from outside, as its users and its bad days treat it: a real disk image through
// three of Azure's clients, all that these can do by all credentials they have, tools for backups and their files, the
// conformance list, kill -9 at random moments under concurrent writers, power cuts on real file systems, and disks that
// fail in every way that can be had: full, frozen, read-only, gone, rotten.
//
// Its tests take minutes, other people's programs and, for what is mounted, root, so they have a build tag of their own:
// run them by make e2e, make tools, make crash and make disks. PAGEVAULT_SEED replays the choices of a run (not its scheduling);
// PAGEVAULT_KILL_ROUNDS, PAGEVAULT_POWER_CUTS, PAGEVAULT_DISK_ROUNDS and PAGEVAULT_CONFORM_WAIT make it longer, PAGEVAULT_TOOL_FILES,
// PAGEVAULT_TOOL_LARGE and PAGEVAULT_TOOL_SDK larger. PAGEVAULT_TOOL_ENDPOINT, a connection string, has the tools use a service
// that runs already.
package e2e
