package replication

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// reservingFile records what it was asked to preallocate.
type reservingFile struct {
	vfs.File
	reserved []int64 // offset, length, offset, length …
}

func (f *reservingFile) Preallocate(offset, length int64) error {
	f.reserved = append(f.reserved, offset, length)
	return nil
}

// Reservations follow each other without gaps, are ahead of every write, grow from reserveMin to reserveMax, and end
// where the segment does.
func TestReservation(t *testing.T) {
	const limit = 100 << 20
	f := &reservingFile{}
	r := reservation{limit: limit}
	at := int64(0)
	write := func(n int64) {
		at += n
		r.ahead(f, at)
		if r.written != at || r.reserved < at {
			t.Fatalf("%d bytes written, %d noted, %d reserved", at, r.written, r.reserved)
		}
	}
	for _, n := range []int64{64, 4096, 4 << 20, 4 << 20, 512, 40 << 20, 4 << 20} {
		write(n)
	}
	// After a failure some of it is written again.
	calls := len(f.reserved)
	r.ahead(f, at-4<<20)
	if r.written != at || len(f.reserved) != calls {
		t.Errorf("writing again what was written made it %d bytes, and %d reservations of %d", r.written, len(f.reserved)/2, calls/2)
	}
	for at+4<<20 <= limit {
		write(4 << 20)
	}
	end := int64(0)
	for i := 0; i < len(f.reserved); i += 2 {
		if f.reserved[i] != end {
			t.Fatalf("reservation at %d, the one before ended at %d", f.reserved[i], end)
		}
		end += f.reserved[i+1]
	}
	if first := f.reserved[1]; first != reserveMin {
		t.Errorf("first reservation is of %d bytes, want %d", first, int64(reserveMin))
	}
	if end != limit {
		t.Errorf("reserved up to %d, want %d, the segment's end", end, int64(limit))
	}
	calls = len(f.reserved)
	r.ahead(f, at+64<<20) // a record larger than a segment
	if len(f.reserved) != calls {
		t.Errorf("reserved past the segment's end")
	}
}
