package blobstore

import (
	"time"

	"pagevault/internal/azure/cond"
)

// Stamp says which state of a blob or container a reply is about.
type Stamp struct {
	ETag         cond.ETag
	LastModified time.Time // the instant ETag encodes, in 100-ns resolution
	Version      string    // the version id that the state has, if the reply is to say so. "": it has none
}

// ticks is a time as rows hold it: 100-ns intervals since 0001-01-01 UTC. An entity tag is the ticks of the change.
type ticks uint64

// unixEpoch is 1970-01-01 in seconds since 0001-01-01.
const unixEpoch = 62135596800

const ticksPerSecond = 10_000_000

// ticksAt returns t, rounded down to a tick. Times before 0001-01-01 do not occur.
func ticksAt(t time.Time) ticks {
	return ticks(t.Unix()+unixEpoch)*ticksPerSecond + ticks(t.Nanosecond()/100)
}

// Time returns the instant in UTC.
func (t ticks) Time() time.Time {
	return time.Unix(int64(t/ticksPerSecond)-unixEpoch, int64(t%ticksPerSecond)*100).UTC()
}

func (t ticks) stamp() Stamp { return Stamp{ETag: cond.ETag(t), LastModified: t.Time()} }

// stamp is that of what the row is about, with its version id.
func (r *blobRow) stamp() Stamp {
	return Stamp{ETag: cond.ETag(r.etag), LastModified: r.etag.Time(), Version: r.version.String()}
}
