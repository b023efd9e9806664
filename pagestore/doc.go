// Package pagestore keeps volumes, endless rows of 512-byte pages with frozen generations, and stores every page's
// content once. It knows pages, fingerprints and an index, and has never heard of the protocol above it; below it, a
// replicated log makes records durable and knows nothing of pages.
//
//	Prepare   find zeros, hash, look up, compress, seal         outside any lock, in the caller's goroutine
//	   │
//	Update    fn(tx) ─► resolve against what is in flight       one at a time: the sequencer
//	   │                ─► one record ─► log.Append
//	   ▼
//	log       durable on every member                           many records, one sync
//	   │
//	apply     rows of the record ─► one index batch             one goroutine, never synced
//	   ▼
//	Update returns, views show it
//
// # The log is the data
//
// Content is stored only in the log, as the Data of records; a record's Meta says what it means. The index, a Pebble
// database, is derived from the Metas alone, in order, deterministically: it carries the LSN it has applied, is never
// synced, and after a crash is brought forward from that LSN. Losing it entirely costs a replay.
//
// # Chunks, frames, regions
//
// A chunk is 8 aligned pages, the unit that is fingerprinted. What one write adds, that is the chunks nobody has stored
// yet and the ragged ends that are no whole chunk, is packed into frames of up to 128 pages, each consecutive bytes of
// the record's Data. A frame is compressed and sealed as one, or, where compression does not pay, stored in blocks of
// 4 KiB that are sealed and checksummed one by one; package frame has the details, package seal the keys. The page map
// of a region of 128 aligned pages lists which pages of which frames fill it. A region written as a whole has a
// fingerprint too, which is looked up first: half of all regions repeat.
//
// # Generations
//
// A volume's page map is kept by generation. Freeze ends the current one, which costs a row or two, and makes it readable
// until it is thawed; the next write to a region stores the region's new map beside the frozen one. Large clears and
// truncations are erasures, one row for any number of pages; see erasure. Which pages each generation wrote or cleared is
// recorded by region, so that Diff costs what changed.
//
// Dropping a volume, thawing a generation and erasing pages are small records. What nobody can read after them is deleted
// by passes over the volume's page map in the background, in records of bounded size; see reaper. Entries are never deleted
// unseen, since account is kept of what they refer to.
//
// # What is in use
//
// The index counts how many runs of page map entries, of all volumes and generations, touch each block of each frame, as
// entries change: see package refcount and applier.refs. Blocks that nothing touches are garbage; from the counts follow
// also what each segment of the log is worth and what the store holds in all. A mark works all of it out from the page
// maps alone and compares. If they ever disagree while records are applied, nothing is freed any more.
//
// Regions scattered by small writes are folded in the background: see foldStep, which also says what small writes cost.
//
// # Giving space back
//
// Segments of the log with much garbage are rewritten: see compact.go. Segments in which nothing is stored any more are
// dropped behind a checkpoint, a copy of the index on the members, from which an index that is lost or damaged is made
// anew, too: see checkpoint.go and rebuild.go. docs/garbage.md has the protocol and why it is safe.
//
// # Promises
//
//   - Update returns nil only when the record is durable on every member and applied.
//   - A view shows applied changes only, hence durable ones, all of an update or nothing.
//   - No byte is returned whose checksum was not checked when it was fetched. A damaged copy is read from another member.
//   - Chunks are stored once however many writers bring them at once, and the counters of Stats are exact.
package pagestore
