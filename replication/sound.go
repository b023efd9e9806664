package replication

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/replication/segment"
)

// Why a copy is not sound, if that is nothing of its own.
var (
	errOtherCopy = errors.New("it is not the copy that others have")
	errUntold    = errors.New("nobody can tell")
)

// discard removes a copy that is not sound and not wanted, if the segment can be had without it. One that is damaged stays until
// others have the segment as they should, since it may be the only one that has some record whole.
func (b *bringing) discard(s *indexed, flaw error) error {
	if errors.Is(flaw, errUntold) || !errors.Is(flaw, errOtherCopy) && !b.l.enough(s) {
		b.doubtful[s.id] = true
		return nil
	}
	if s.holders.Without(b.m.number)&b.l.now().current == 0 && s.shards == nil {
		return nil
	}
	if err := b.m.fs.Remove(b.m.path(segment.Name(s.id, true))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &MemberError{Dir: b.m.dir, Op: "remove", Segment: s.id, Err: err}
	}
	return nil
}

// sound returns what is wrong with the member's copy of a segment, as far as header and footer tell, or every record.
func (b *bringing) sound(s *indexed) error {
	file, err := b.m.openSegment(s.id, true)
	if err != nil {
		return err
	}
	defer file.Close() // it was only read
	info, err := file.Stat()
	if err != nil {
		return err
	}
	here := segment.NewReader(file, info.Size(), b.l.store, s.id)
	there := segment.NewReader(&anySource{log: b.l, s: *s}, s.length, b.l.store, s.id)
	header, trailer, err := ends(here)
	if err != nil {
		return err
	}
	wantHeader, wantTrailer, err := ends(there)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errUntold, err)
	case header != wantHeader || trailer != wantTrailer:
		return errOtherCopy
	case info.Size() != s.length:
		return fmt.Errorf("%w: it has %d bytes, not %d", segment.ErrDamaged, info.Size(), s.length)
	case b.full():
		return b.readAll(here, file, s)
	}
	return nil
}

// ends returns header and footer of a segment.
func ends(r *segment.Reader) (h segment.Header, t segment.Trailer, err error) {
	if h, err = r.Header(); err != nil {
		return h, t, err
	}
	if t, err = r.Trailer(); err == nil {
		err = r.CheckTable(&t)
	}
	return h, t, err
}

// readAll reads every record of a copy, from the disk.
func (b *bringing) readAll(r *segment.Reader, file vfs.File, s *indexed) error {
	dropCached(file, 0, s.length)
	off := int64(segment.HeaderBytes)
	for n := range s.count {
		h, err := r.Record(off)
		if err == nil && h.LSN != s.first+LSN(n) {
			err = fmt.Errorf("%w: record %d where %d should be", segment.ErrDamaged, h.LSN, s.first+LSN(n))
		}
		if err == nil {
			err = b.l.custodian.pace.spend(b.ctx, h.Bytes())
		}
		if err != nil {
			return err
		}
		off = h.End()
	}
	return nil
}
