// Package bench measures Blob endpoints: what a workload costs on one target beside what it costs on others, in one run.
//
// A workload is one kind of request repeated (Put Page 4 MiB of new data, Get Blob 4 KiB at random places, …). A target
// answers requests: any Blob endpoint, known by URL and account key or SAS (Wire), or one of two baselines that say what the
// machine allows: the null server (NullServer), which reads a body, hashes it and answers, and the raw disk (Disk), which
// writes to three files at once and syncs them. A cell is a workload at a number of connections on one target.
//
// Machines are noisy, so absolute numbers mean little and ratios within a run mean much. Run therefore gives every cell
// several short rounds and goes there and back:
//
//	for each round
//	    for each number of connections
//	        for each workload
//	            for each target          A B C, C B A, A B C, …
//
// Before a round it can wait until everything is on the disks (Options.Settle), so that no target writes what another has left.
//
// A cell's rate is the median over its rounds; its latencies are those of all rounds together. Connections are dialled
// anew for each round, a warm-up precedes it, and every request that starts before the time is up counts, with the time
// until the last one is answered, so that slow targets are not cut off in the middle of what they are doing.
//
// Targets are reached through the protocol only, by a client made to cost less than any server: one goroutine and one
// socket a connection, requests assembled and signed in a reused buffer, bodies sent from where they lie. Data that has
// never been seen is made by stamping a counter into every 4 KiB of a random buffer, which costs next to nothing; a Mix repeats a part of it.
//
// A Report is printed as a table, JSON or CSV, or as a page with plots (WriteHTML), which needs nothing from elsewhere.
//
// A Trace is what a disk was asked to do, recorded; TraceWorkload makes a workload of it.
//
// Space is the other question: what disk images take. It stores the same files in one archive after the other, a server or
// a tool for backups, reads them back and compares every byte, and simulates ways of chunking beside (Simulate).
package bench
