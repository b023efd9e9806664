// Package testkit is what tests of the whole program stand on: the real binary as a process on loopback (Server), Azure's
// clients for it, other people's programs with their output captured, file systems whose power can be cut, disks that
// freeze, fill up and fail, and the record of concurrent writes that says what each page may hold afterwards (History).
//
// Nothing here skips a test: what a machine lacks fails it, with the words that say what to install.
package testkit
