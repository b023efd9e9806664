package replication

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/replication/segment"
)

// copyBytes is how much a repair reads and writes at once.
const copyBytes = 256 << 10

// tidy removes temporary files and syncs the directory: a rename that a killed process did not sync may still be taken
// back by a crash.
func (m *member) tidy(temps []string) error {
	for _, name := range temps {
		if _, ours := tempOf(name); ours || name == segment.IdentityName+segment.TempSuffix || name == segment.ManifestName+segment.TempSuffix {
			if err := m.fs.Remove(m.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return &MemberError{Dir: m.dir, Op: "remove " + name, Err: err}
			}
		}
	}
	if err := m.syncDir(); err != nil {
		return &MemberError{Dir: m.dir, Op: "sync directory", Err: err}
	}
	return nil
}

// remove takes away the copies of a segment that holds no record. It is the last one, and the directories are synced
// before Open returns, so that its number can be used again.
func (l *Log) remove(p *plan) error {
	for i, m := range l.present {
		for _, sealed := range []bool{false, true} {
			if n := p.copies[i].names; sealed && !n.sealed || !sealed && !n.open {
				continue
			}
			if err := m.fs.Remove(m.path(segment.Name(p.id, sealed))); err != nil {
				return &MemberError{Dir: m.dir, Op: "remove", Segment: p.id, Err: err}
			}
		}
		if err := m.syncDir(); err != nil {
			return &MemberError{Dir: m.dir, Op: "sync directory for", Segment: p.id, Err: err}
		}
	}
	return nil
}

// repair makes every copy of a segment what the plan says, in two rounds: first all records are made whole and synced on
// all members, then the footers are written. A footer anywhere therefore proves that the records are durable everywhere.
// A crash between any two steps leaves something that the next Open repairs in the same way.
func (l *Log) repair(p *plan, done *Recovery) error {
	w := repairer{l: l, p: p, files: make([]vfs.File, len(l.present)), written: make([]int64, len(l.present))}
	err := w.run()
	for _, f := range w.files {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	if err != nil {
		return err
	}
	sealed := false
	for i, c := range p.copies {
		sealed = sealed || c.do == patch
		if (c.do == patch || c.do == rebuild) && c.reason != "" {
			done.Repaired = append(done.Repaired, Repair{Member: l.present[i].number, Segment: p.id, Bytes: w.written[i], Reason: c.reason})
		}
	}
	if sealed {
		done.Sealed++
	}
	done.CutBytes = max(done.CutBytes, p.cut)
	s := indexed{id: p.id, first: p.first, count: p.count, end: p.end, length: p.length, data: p.data, sealed: true, holders: p.holders(l.present)}
	if p.shards.whole() {
		s.shards, s.k, s.m = p.shards.at, uint8(p.shards.frame.K), uint8(p.shards.frame.M)
	}
	l.index.add(s)
	return l.removeUseless(p)
}

// removeUseless removes copies and shards of a segment that is whole without them.
func (l *Log) removeUseless(p *plan) error {
	for i, m := range l.present {
		for _, sealed := range []bool{false, true} {
			if n := p.copies[i].names; p.copies[i].do != discard || sealed && !n.sealed || !sealed && !n.open {
				continue
			}
			if err := m.fs.Remove(m.path(segment.Name(p.id, sealed))); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return &MemberError{Dir: m.dir, Op: "remove", Segment: p.id, Err: err}
			}
		}
		for _, file := range p.stray {
			if file.member != m.number {
				continue
			}
			if err := m.removeShard(p.id, file.shard); err != nil {
				return err
			}
		}
	}
	return nil
}

// repairer carries out the plan for one segment.
type repairer struct {
	l       *Log
	p       *plan
	files   []vfs.File // one for each member: the unsealed file being completed, or the new one being written
	written []int64
	table   []byte
	trailer segment.Trailer
	buf     []byte
}

func (w *repairer) run() error {
	work := false
	for _, c := range w.p.copies {
		work = work || c.do == patch || c.do == rebuild
	}
	if work {
		w.buf = make([]byte, min(copyBytes, w.p.length))
		if err := w.makeFooter(); err != nil {
			return err
		}
	}
	for i := range w.l.present {
		if err := w.records(i); err != nil {
			return err
		}
	}
	for i := range w.l.present {
		if err := w.footer(i); err != nil {
			return err
		}
	}
	return nil
}

// makeFooter gets the table and the trailer that all copies will have.
func (w *repairer) makeFooter() error {
	p := w.p
	if p.tabler < 0 {
		w.table = segment.AppendTable(nil, p.table)
	} else {
		w.table = make([]byte, p.count*segment.EntryBytes)
		if err := w.readFrom(p.tabler, w.table, p.end); err != nil {
			return err
		}
	}
	w.trailer = segment.NewTrailer(p.header, w.table, p.end, p.length)
	if p.trailer != nil && w.trailer != *p.trailer {
		return &CorruptError{Member: w.l.present[max(p.tabler, 0)].dir, At: Position{Segment: p.id, Offset: uint32(p.end)}, Reason: "the footer changed while it was read"}
	}
	return nil
}

// records makes all records of member i's copy whole and durable.
func (w *repairer) records(i int) error {
	m, c := w.l.present[i], &w.p.copies[i]
	fail := func(op string, err error) error {
		return &MemberError{Dir: m.dir, Op: op, Segment: w.p.id, Err: err}
	}
	var err error
	switch c.do {
	case keep, none, discard:
		return nil
	case patch:
		if w.files[i], err = m.fs.OpenReadWrite(m.path(segment.Name(w.p.id, false)), writeCategory); err != nil {
			return fail("open", err)
		}
		for _, s := range c.patches {
			if err := w.copySpan(i, s); err != nil {
				return err
			}
		}
	case rebuild:
		if w.files[i], err = m.fs.Create(m.path(segment.TempName(w.p.id)), writeCategory); err != nil {
			return fail("create", err)
		}
		if err := w.copySpan(i, span{from: 0, to: w.p.end}); err != nil {
			return err
		}
		if err := w.writeFooter(i); err != nil {
			return err
		}
	}
	if err := w.files[i].Sync(); err != nil {
		return fail("sync", err)
	}
	return nil
}

// footer makes member i's copy, whose records are whole, a sealed one.
func (w *repairer) footer(i int) error {
	m, c := w.l.present[i], &w.p.copies[i]
	fail := func(op string, err error) error {
		return &MemberError{Dir: m.dir, Op: op, Segment: w.p.id, Err: err}
	}
	from := segment.Name(w.p.id, false)
	switch c.do {
	case none, discard:
		return nil
	case keep:
		if !c.names.open {
			return nil
		}
	case patch:
		if err := w.writeFooter(i); err != nil {
			return err
		}
		releasePastEnd(w.files[i])
		if err := w.files[i].Sync(); err != nil {
			return fail("sync", err)
		}
	case rebuild:
		from = segment.TempName(w.p.id)
	}
	if f := w.files[i]; f != nil {
		w.files[i] = nil
		if err := f.Close(); err != nil {
			return fail("close", err)
		}
		if err := m.fs.Rename(m.path(from), m.path(segment.Name(w.p.id, true))); err != nil {
			return fail("rename", err)
		}
	}
	if c.names.open && c.do != patch {
		// Beside the sealed file, the unsealed one is of no more use.
		if err := m.syncDir(); err != nil {
			return fail("sync directory for", err)
		}
		if err := m.fs.Remove(m.path(segment.Name(w.p.id, false))); err != nil {
			return fail("remove", err)
		}
	}
	if err := m.syncDir(); err != nil {
		return fail("sync directory for", err)
	}
	return nil
}

// copySpan writes s to member i's file, every part from the member that holds it whole.
func (w *repairer) copySpan(i int, s span) error {
	sources := w.p.sources
	for k, src := range sources {
		part := span{from: max(s.from, src.from), to: s.to}
		if k+1 < len(sources) {
			part.to = min(part.to, sources[k+1].from)
		}
		for part.from < part.to {
			b := w.buf[:min(int64(len(w.buf)), part.to-part.from)]
			if err := w.readFrom(src.member, b, part.from); err != nil {
				return err
			}
			if err := w.write(i, b, part.from); err != nil {
				return err
			}
			part.from += int64(len(b))
		}
	}
	return nil
}

// readFrom reads from a member's copy as it was found.
func (w *repairer) readFrom(i int, b []byte, off int64) error {
	m := w.l.present[i]
	f, err := m.fs.Open(m.path(segment.Name(w.p.id, w.p.copies[i].names.sealed)))
	if err == nil {
		_, err = io.ReadFull(io.NewSectionReader(f, off, int64(len(b))), b)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return &MemberError{Dir: m.dir, Op: fmt.Sprintf("read %d bytes at %d of", len(b), off), Segment: w.p.id, Err: err}
	}
	return nil
}

func (w *repairer) write(i int, b []byte, off int64) error {
	n, err := w.files[i].WriteAt(b, off)
	w.written[i] += int64(n)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return &MemberError{Dir: w.l.present[i].dir, Op: "write", Segment: w.p.id, Err: err}
	}
	return nil
}

// writeFooter writes table, padding and trailer behind the records of member i's file.
func (w *repairer) writeFooter(i int) error {
	off := w.p.end
	if err := w.write(i, w.table, off); err != nil {
		return err
	}
	off += int64(len(w.table))
	clear(w.buf)
	for end := w.p.length - segment.TrailerBytes; off < end; {
		b := w.buf[:min(int64(len(w.buf)), end-off)]
		if err := w.write(i, b, off); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return w.write(i, w.trailer.Append(nil), off)
}
