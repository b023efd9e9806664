package pagestore

import (
	"github.com/cockroachdb/pebble/v2"

	"pagevault/replication"
)

// flushes has what was applied written to tables in time, so that after a crash the part of the log that must be
// applied again is bounded, however few rows it comes to. It belongs to the applying goroutine.
//
// A flush is begun when every bytes of log have been applied since the last was begun, and only when that one has ended:
// so no more than two such parts are ever not in tables.
type flushes struct {
	every  int64           // bytes of log. 0: never
	broken <-chan struct{} // closed when Pebble has given up: no flush ends then

	at      replication.Position // of the last record applied
	bytes   int64                // of log applied since the last flush was begun
	running <-chan struct{}      // of the last; closed when it has ended. nil: none was begun
}

// applied counts the record whose Data lies at the position, less its Data, and more the Data of the one before.
func (f *flushes) applied(at replication.Position) {
	from := uint32(0)
	if at.Segment == f.at.Segment {
		from = f.at.Offset
	}
	f.bytes += int64(at.Offset) - int64(from)
	f.at = at
}

// due reports whether a flush should begin when the current batch is committed.
func (f *flushes) due() bool { return f.every > 0 && f.bytes >= f.every }

// start begins to flush every batch that was committed.
func (f *flushes) start(db *pebble.DB) error {
	if f.running != nil {
		select {
		case <-f.running:
		case <-f.broken:
			return nil // the store has failed already
		}
	}
	done, err := db.AsyncFlush()
	f.running, f.bytes = done, 0
	return err
}
