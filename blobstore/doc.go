// Package blobstore is the blob service without its wire: accounts, containers, blobs of all three types and their snapshots, with
// Azure's rules for names, leases, conditions, sequence numbers and limits. It turns each request into rows and pages
// of a pagestore and leaves to it how those are kept.
//
// # What it promises
//
// A request that changes something is one pagestore.Store.Update: all of it is durable on every member when the method
// returns nil, or none of it ever shows. Inside, the rows are read as every earlier request left them, checked in the
// order in which Azure reports errors (container, blob, type: 404 and 409; lease, conditions, sequence number: 412; range:
// 416), changed and written back. The entity tag is chosen there too, from the clock, so that tags of one blob strictly
// increase in the order in which its changes apply, and it travels in the row. The modification time is that same instant.
//
// A request that reads works on one pagestore.View, a consistent picture of what is durable. A Reader keeps its view for
// as long as it is open, so that a long download is of one entity tag throughout.
//
// Errors are codes of internal/azure/azerr. Damaged data answers InternalError, a store that cannot write, for good or just now,
// ServerBusy; both keep their cause for the log.
//
// # Rows
//
// An account's rows live in its store. The first byte of a key is the table; see keys.go for the bytes:
//
//	c name                       container → its id, entity tag, lease, metadata
//	b id name snapshot           blob or snapshot → type, volume, size, entity tag, lease, properties, metadata
//	t id                         a deleted container whose blobs are still to be removed
//	v volume                     a volume that only snapshots use any more → how many
//	n                            the id of the next container
//	p                            service properties
//	d name id                    a container that is deleted and kept for a while → when it goes, and its row
//	e time key                   when a row of something deleted and kept goes
//	s id name                    a blob of which blocks wait to be committed
//	x volume epoch id            a block that waits → where in the volume it lies
//	z volume                     a volume in which there may be what nothing refers to
//	a                            how many containers, blobs, snapshots and provisioned bytes there are
//
// A blob's pages are a volume of the pagestore; a snapshot is a generation of that volume. Writing a blob anew (Put Blob)
// gives it a new volume, so two pictures of a blob can be compared page by page exactly if their volumes are the same.
// The blocks of a block blob lie in its volume too, and so does the list that says which of them it consists of: see
// blockstate.go. A volume goes with the last row that uses it. Rows of blobs lie under the id of their container, which is never used
// again: deleting a container removes one row, and the account's reaper removes the rest in the background.
package blobstore
