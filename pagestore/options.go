package pagestore

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	framing "pagevault/pagestore/frame"
	"pagevault/replication"
)

// Options configures a Store. Members and Dir must be set; the zero value of every other field is a sound default.
type Options struct {
	FS  vfs.FS // of the index. nil: the operating system
	Dir string // of the index; created if missing. An empty or missing directory is rebuilt from the log

	Members []replication.Member // where the log lives: one to many copies of the same bytes
	Log     replication.Options

	MasterKey   MasterKey // opens the keys of the store; seals those of a new one, which then encrypts. Zero: none
	Unencrypted bool      // a new store does not encrypt, though there is a master key

	Compression Compression // of content on its way in

	Maintenance Maintenance // what is done in the background to give space back

	Quota Quota // what the store may hold; see SetQuota. The zero value: any amount

	Cache         *pebble.Cache // shared between stores; the caller keeps its reference. nil: an own one of 64 MiB
	MemTableBytes int           // index rows held in memory before a table is written. 0: 16 MiB
	Rand          io.Reader     // source of keys, salts and nonces. nil: crypto/rand
	Events        *Events       // optional callbacks

	damagedCopies *atomic.Uint64 // see Stats; counted by what the log tells
	halting       *halting       // is told by the log

	// Tests vary these.
	limits           limits                            // of a store that is created
	keepRows         int64                             // rows that are asked for in one picture before one is kept in memory. 0: rowCacheAfter; -1: the first is kept
	framePages       int                               // most pages of a frame, 8 to 128. 0: 128
	copyWork         int                               // entries that one record of a copy writes at most. 0: copyWork
	replayBatchBytes int                               // of rows at which a replay commits its batch
	minSavedNames    uint64                            // fingerprints that are worth a file. 0: minSavedNames
	progress         func(done, total replication.LSN) // of a replay
	flushBytes       int64                             // of the log that are applied between two flushes of the index, at most. 0: defaultFlushBytes
	minDropBytes     int64                             // of segments that the background makes a checkpoint to drop. 0: defaultMinDrop
	applied          func(*state)                      // is told each state of the index, by the goroutine that applies; nil: nobody
	passive          bool                              // nothing is done in the background
}

// Compression says what is done to content on its way in. Everything is read, however it was stored.
type Compression uint8

const (
	CompressFast Compression = iota // S2, where it gains at least a twentieth
	CompressNone
)

func (c Compression) method() framing.Method {
	if c == CompressNone {
		return framing.Store
	}
	return framing.Fast
}

// Events are callbacks for logs, metrics and tests. Any may be nil. They are called from the goroutine that saw the
// event, possibly several at once, must not block and must not call the store.
type Events struct {
	// DamagedCopy: bytes [at, at+n) of member's copy could not be read or did not match their checksum; n is 0 where the
	// length means nothing. Another copy may have served the read. Called by the log, see replication.Events.ReadFailed.
	DamagedCopy func(member int, at replication.Position, n int, err error)
	// Replayed: opening the store applied the records [from, to] of the log to the index.
	Replayed func(from, to replication.LSN)
	// Mismatch: counts of what refers to stored blocks were found to be wrong when record at was applied, or one before it
	// that was applied with it. The store goes on, and from now on nothing is freed. Called once.
	Mismatch func(at replication.LSN, what string)
	// Failed: the store takes no more updates, because of err. Called once.
	Failed func(err error)
	// IndexRebuilt: opening the store made the index anew.
	IndexRebuilt func(r RebuildResult)
	// SummaryLost: the file that keeps the names of an index in memory across restarts could not be used or written,
	// because of err. Until they are read from the index, writes are slower. Nothing else depends on it.
	SummaryLost func(err error)
	// ReapFailed: deleting what was dropped has stopped at err, until more is dropped or the store is opened again.
	ReapFailed func(err error)
	// Compacted: a segment was rewritten: so many of its frames were stored anew, in so many bytes, and so many freed.
	Compacted func(id replication.SegmentID, moved, freed int, bytes int64)
	// MaintenanceFailed: a segment cannot be rewritten, or no checkpoint be made, because of err. A segment that err names
	// is left alone until Maintain is called or the store is opened again; anything else is tried again after a second, and
	// then less and less often, at least every five minutes. Called once for as long as err stays the same.
	MaintenanceFailed func(err error)
	// IndexLog: a line of Pebble's own log.
	IndexLog func(text string)
}

const (
	// Memtables are counted as part of the cache, so they must leave room there for blocks: one that is as large leaves
	// none. 16 MiB are the rows of 650 MB of new content, at 100 kB for each 4 MiB; that much is flushed sooner, see below.
	defaultCacheBytes    = 64 << 20
	defaultMemTableBytes = 16 << 20
	maxMemTableBytes     = 1 << 30 // Pebble's limit is 4 GB for the four there can be at once

	// defaultFlushBytes bounds what a replay after a crash has to read to 1 GiB of log: one part that was being flushed,
	// one that was applied meanwhile, and behind each the rest of a batch, as large as the log's queue.
	defaultFlushBytes = 448 << 20
)

// withDefaults returns o with every default filled in, or an error naming the field that is wrong.
func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("pagestore: Options.Dir is empty")
	}
	if len(o.Members) == 0 {
		return o, errors.New("pagestore: Options.Members is empty")
	}
	if o.MemTableBytes < 0 || o.MemTableBytes > maxMemTableBytes {
		return o, fmt.Errorf("pagestore: Options.MemTableBytes is %d, want 0 to %d", o.MemTableBytes, maxMemTableBytes)
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = defaultMemTableBytes
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.replayBatchBytes == 0 {
		o.replayBatchBytes = 4 << 20
	}
	if o.minSavedNames == 0 {
		o.minSavedNames = minSavedNames
	}
	if o.flushBytes == 0 {
		o.flushBytes = defaultFlushBytes
	}
	o.Maintenance = o.Maintenance.withDefaults()
	if o.minDropBytes == 0 {
		o.minDropBytes = defaultMinDrop
	}
	if o.limits == (limits{}) {
		o.limits = defaultLimits
	}
	if o.keepRows == 0 {
		o.keepRows = rowCacheAfter
	}
	if o.copyWork == 0 {
		o.copyWork = copyWork
	}
	if o.framePages == 0 {
		o.framePages = framing.MaxPages
	}
	if o.Compression > CompressNone {
		return o, fmt.Errorf("pagestore: Options.Compression is %d", o.Compression)
	}
	if o.Events == nil {
		o.Events = &Events{}
	}
	o.listen()
	return o, nil
}

// listen has the log tell what the store needs to know, beside what the caller wants to.
func (o *Options) listen() {
	var events replication.Events
	if o.Log.Events != nil {
		events = *o.Log.Events
	}
	o.countDamage(&events)
	o.halting = new(halting)
	o.halting.watch(&events)
	o.Log.Events = &events
}

// countDamage has the log tell of the copies that are damaged or cannot be read.
func (o *Options) countDamage(events *replication.Events) {
	o.damagedCopies = new(atomic.Uint64)
	count, damaged, failed := o.damagedCopies, o.Events.DamagedCopy, events.ReadFailed
	events.ReadFailed = func(member int, at replication.Position, err error) {
		count.Add(1)
		if damaged != nil {
			n := 0
			if check := (*replication.CheckError)(nil); errors.As(err, &check) {
				n = check.Bytes
			}
			damaged(member, at, n, err)
		}
		if failed != nil {
			failed(member, at, err)
		}
	}
}
