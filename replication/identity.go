package replication

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/internal/invariant"
	"pagevault/replication/roster"
	"pagevault/replication/segment"
)

// found is what a member's directory holds, by name.
type found struct {
	who      *segment.Member // what MEMBER says; nil: there is none, or it cannot be read
	older    bool            // it says it in format version 1
	segments map[SegmentID]names
	shards   map[SegmentID][]int // by segment, in no order
	temps    []string
	store    segment.StoreID // without identity: the log that another file names; zeros: none does
	storeBy  string          // which one

	unnamed  error             // why there is an identity that cannot be read
	manifest *segment.Manifest // nil: there is none, or it is damaged
	damage   error             // why there is a manifest that cannot be read
	files    map[string]int64  // what lies in the directory of the checkpoint, and its size
}

// holds reports whether the directory holds anything but an identity: segments, or the word that there were some.
func (f *found) holds() bool {
	return len(f.segments) > 0 || len(f.shards) > 0 || f.manifest != nil || f.damage != nil
}

// names says under which of its two names a segment is there. After a crash it may be both.
type names struct{ open, sealed bool }

// identify lists the directories, reads who they say they are and refuses what does not belong together. It changes nothing. A
// directory that does not exist counts as empty; one that cannot be listed, or whose MEMBER cannot be read, is left out.
func (l *Log) identify(unusable []error) error {
	if len(l.given) == 0 {
		return fmt.Errorf("%w: a log needs at least one directory", ErrMembers)
	}
	if len(l.given) > membersMax {
		return fmt.Errorf("%w: %d directories are more than %d", ErrMembers, len(l.given), membersMax)
	}
	for i := range l.given {
		g := &l.given[i]
		for k := range l.given[:i] {
			if other := l.given[k].m; g.m.dir == other.dir && sameFS(g.m.raw, other.raw) {
				return fmt.Errorf("%w: %s is given as directory %d and as directory %d: every member needs one of its own", ErrMembers, g.m.dir, k+1, i+1)
			}
		}
		if g.err != nil {
			continue
		}
		if unusable != nil && unusable[i] != nil {
			g.err = unusable[i]
			continue
		}
		g.found, g.err = g.m.look()
		if version := (*segment.VersionError)(nil); errors.As(g.err, &version) || errors.As(g.unnamed, &version) {
			return errors.Join(g.err, g.named())
		}
	}
	return l.belong()
}

// named returns why a directory's MEMBER cannot be read.
func (g *given) named() error {
	if g.unnamed == nil {
		return nil
	}
	return fmt.Errorf("member %s: %w", g.m.dir, g.unnamed)
}

// belong refuses directories of several logs, and two that are the same member.
func (l *Log) belong() error {
	var first *given
	for i := range l.given {
		g := &l.given[i]
		if g.who == nil {
			continue
		}
		if first == nil {
			first = g
		}
		if g.who.Roster.Store != first.who.Roster.Store {
			return fmt.Errorf("%w: %s belongs to log %v, but %s to log %v: give directories of one log",
				ErrMembers, g.m.dir, segment.StoreID(g.who.Roster.Store), first.m.dir, segment.StoreID(first.who.Roster.Store))
		}
		for k := range l.given[:i] {
			if o := &l.given[k]; o.who != nil && o.who.Number == g.who.Number && o.who.ID() == g.who.ID() {
				return fmt.Errorf("%w: %s and %s are both member %d: one of them is a copy, give the other", ErrMembers, o.m.dir, g.m.dir, g.who.Number)
			}
		}
	}
	for i := range l.given {
		g := &l.given[i]
		store, name := g.store, g.storeBy
		if g.manifest != nil {
			store, name = g.manifest.Store, segment.ManifestName
		}
		if first != nil && name != "" && store != segment.StoreID(first.who.Roster.Store) {
			return fmt.Errorf("%w: %s of %s is of log %v, but %s belongs to log %v: it was put there by mistake",
				ErrMembers, name, g.m.dir, store, first.m.dir, segment.StoreID(first.who.Roster.Store))
		}
	}
	return nil
}

// sameFS reports whether two file systems are surely the same one.
func sameFS(a, b vfs.FS) (same bool) {
	defer func() { _ = recover() }() // comparing values of a type that cannot be compared
	return a == b
}

// look reads the member's directory.
func (m *member) look() (found, error) {
	f := found{segments: map[SegmentID]names{}, shards: map[SegmentID][]int{}}
	list, err := m.fs.List(m.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, fmt.Errorf("member %s: list the directory: %w", m.dir, err)
	}
	for _, name := range list {
		id, sealed, ok := segment.ParseName(name)
		switch {
		case ok && sealed:
			f.segments[id] = names{open: f.segments[id].open, sealed: true}
		case ok:
			f.segments[id] = names{open: true, sealed: f.segments[id].sealed}
		case name == segment.IdentityName:
			f.readIdentity(m)
		case name == segment.ManifestName:
			if err := m.readManifest(&f); err != nil {
				return f, fmt.Errorf("member %s: %w", m.dir, err)
			}
		case name == segment.CheckpointDir:
			if f.files, err = m.listFiles(); err != nil {
				return f, fmt.Errorf("member %s: list %s: %w", m.dir, segment.CheckpointDir, err)
			}
		case strings.HasSuffix(name, segment.TempSuffix):
			f.temps = append(f.temps, name)
		default:
			if id, i, ok := segment.ParseShardName(name); ok {
				f.shards[id] = append(f.shards[id], i)
			}
		}
	}
	if f.who == nil && f.holds() {
		f.store, f.storeBy = m.storeOf(&f)
	}
	return f, nil
}

// readManifest reads the member's manifest into f. An error is returned only for one of another format version.
func (m *member) readManifest(f *found) error {
	b, err := m.readSmall(segment.ManifestName, segment.ManifestBytesMax)
	if err == nil {
		f.manifest, err = segment.ParseManifest(b)
	}
	if version := (*segment.VersionError)(nil); errors.As(err, &version) {
		return err
	}
	f.damage = err
	return nil
}

// readSmall reads a whole file of at most limit bytes; of a longer one it returns one byte more.
func (m *member) readSmall(name string, limit int64) ([]byte, error) {
	f, err := m.fs.Open(m.path(name))
	if err != nil {
		return nil, err
	}
	defer f.Close() // it is only read
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return b, nil
}

// listFiles returns what lies in the directory of the checkpoint, with its size.
func (m *member) listFiles() (map[string]int64, error) {
	list, err := m.fs.List(m.checkpointPath(""))
	if err != nil {
		return nil, err
	}
	out := make(map[string]int64, len(list))
	for _, name := range list {
		info, err := m.fs.Stat(m.checkpointPath(name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err == nil {
			out[name] = info.Size()
		}
	}
	return out, nil
}

// storeOf returns the log that the member's manifest, or the first of its segments whose header is whole, belongs to, and the
// name of the file; zeros if nothing says so.
func (m *member) storeOf(f *found) (segment.StoreID, string) {
	if f.manifest != nil {
		return f.manifest.Store, segment.ManifestName
	}
	for _, id := range slices.Sorted(maps.Keys(f.segments)) {
		name := segment.Name(id, f.segments[id].sealed)
		file, err := m.fs.Open(m.path(name))
		if err != nil {
			continue
		}
		var b [segment.HeaderBytes]byte
		_, err = io.ReadFull(file, b[:])
		_ = file.Close() // it was only read
		if err != nil {
			continue
		}
		if h, err := segment.ParseHeader(b[:]); err == nil {
			return h.Store, name
		}
	}
	return segment.StoreID{}, ""
}

// readIdentity reads the member's MEMBER file.
func (f *found) readIdentity(m *member) {
	b, err := m.readSmall(segment.IdentityName, segment.MemberBytesMax)
	if err != nil {
		f.unnamed = err
		return
	}
	who, err := segment.ParseMember(b)
	if version := (*segment.VersionError)(nil); errors.As(err, &version) && version.Found == 1 {
		var id segment.Identity
		if id, err = segment.ParseIdentity(b); err == nil {
			who, err = firstMember(&id)
			f.older = true
		}
	}
	if err != nil {
		f.unnamed = err
		return
	}
	f.who = &who
}

// firstMember returns what a MEMBER file of format version 1 means: all members are current, and were when the log was created.
// It is the same for all of a log, so that nothing needs to be agreed upon before the first start writes another roster.
func firstMember(old *segment.Identity) (segment.Member, error) {
	if old.Count < 1 || old.Count > roster.NumberMax || old.Number < 1 || old.Number > old.Count {
		return segment.Member{}, fmt.Errorf("%w: %s names member %d of %d", segment.ErrDamaged, segment.IdentityName, old.Number, old.Count)
	}
	ids := make([]roster.ID, old.Count)
	for i := range ids {
		ids[i] = roster.ID(old.Store)
		ids[i][15] ^= byte(i + 1)
	}
	r, err := roster.New(old.Store, roster.History(old.Store), ids, min(2, int(old.Count)), old.Created)
	return segment.Member{Number: old.Number, Roster: r}, err
}

// HoldsRecords reports whether any of the directories holds a segment of a log, or says that there were some. It changes nothing and makes nothing; a
// directory that does not exist, or cannot be read while others can, holds nothing.
func HoldsRecords(members []Member) (bool, error) {
	var first error
	read := 0
	l, err := newLog(members, Options{})
	if err != nil {
		return false, err
	}
	for i := range l.given {
		f, err := l.given[i].m.look()
		if err == nil {
			read++
		} else if first == nil {
			first = err
		}
		if f.holds() {
			return true, nil
		}
	}
	if read > 0 {
		return false, nil
	}
	return false, first
}

// writeRoster makes r the roster of the member: its MEMBER file, durably. A failure leaves the old file or the new one. It may
// be called for any member whose directory is open and whose number r has, by one goroutine at a time.
func (m *member) writeRoster(r *roster.Roster) error {
	file := segment.Member{Number: uint32(m.number + 1), Roster: *r}
	invariant.Check(r.Check() == nil && r.Row(m.number+1) != nil, "member %d is to get %v: %v", m.number+1, r, r.Check())
	return m.placeIdentity(file.Append(nil))
}

// placeIdentity gives the member another MEMBER file: temporary file, sync, rename, sync of the directory and of the one
// above it, which may be as new.
func (m *member) placeIdentity(b []byte) error {
	temp := m.path(segment.IdentityName + segment.TempSuffix)
	fail := func(op string, err error) error {
		return &MemberError{Dir: m.dir, Op: op + " " + segment.IdentityName, Err: err}
	}
	f, err := m.fs.Create(temp, writeCategory)
	if err != nil {
		return fail("create", err)
	}
	if err := writeAndClose(f, b); err != nil {
		return fail("write", err)
	}
	if err := m.fs.Rename(temp, m.path(segment.IdentityName)); err != nil {
		return fail("rename", err)
	}
	if err := m.syncDir(); err != nil {
		return fail("sync directory for", err)
	}
	// An earlier run may have made the directory and have been killed before it synced the one above.
	if err := m.syncPath(m.fs.PathDir(m.dir)); err != nil && !errors.Is(err, fs.ErrPermission) {
		return fail("sync the directory above for", err)
	}
	return nil
}

// writeAndClose writes p, syncs and closes f, which it closes in any case.
func writeAndClose(f vfs.File, p []byte) error {
	n, err := f.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err == nil {
		err = f.Sync()
	}
	if err2 := f.Close(); err == nil {
		err = err2
	}
	return err
}
