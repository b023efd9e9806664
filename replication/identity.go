package replication

import (
	"crypto/rand"
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
	identity *segment.Identity // nil: there is none
	segments map[SegmentID]names
	temps    []string
	store    segment.StoreID // without identity: the log that the manifest or the first whole segment header names

	unnamed  error             // why there is an identity that cannot be read
	manifest *segment.Manifest // nil: there is none, or it is damaged
	damage   error             // why there is a manifest that cannot be read
	files    map[string]int64  // what lies in the directory of the checkpoint, and its size
}

// holds reports whether the directory holds anything but an identity: segments, or the word that there were some.
func (f *found) holds() bool { return len(f.segments) > 0 || f.manifest != nil || f.damage != nil }

// names says under which of its two names a segment is there. After a crash it may be both.
type names struct{ open, sealed bool }

// identify lists the members' directories, reads who they say they are and refuses what does not belong together. It
// changes nothing. A directory that does not exist counts as empty.
func identify(members []*member) ([]found, error) {
	if len(members) == 0 {
		return nil, fmt.Errorf("%w: a log needs at least one directory", ErrMembers)
	}
	all := make([]found, len(members))
	for i, m := range members {
		for _, other := range members[:i] {
			if m.dir == other.dir && sameFS(m.fs, other.fs) {
				return nil, fmt.Errorf("%w: %s is given as member %d and as member %d: every member needs a directory of its own",
					ErrMembers, m.dir, other.number+1, i+1)
			}
		}
		var err error
		if all[i], err = m.look(); err != nil {
			return nil, err
		}
		if all[i].unnamed != nil {
			return nil, fmt.Errorf("member %s: %w", m.dir, all[i].unnamed)
		}
	}
	return all, checkMembers(members, all)
}

// sameFS reports whether two file systems are surely the same one.
func sameFS(a, b vfs.FS) (same bool) {
	defer func() { _ = recover() }() // comparing values of a type that cannot be compared
	return a == b
}

// look reads the member's directory.
func (m *member) look() (found, error) {
	f := found{segments: map[SegmentID]names{}}
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
			f.identity, f.unnamed = m.readIdentity()
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
		}
	}
	if f.identity == nil && f.holds() {
		f.store = m.storeOf(&f)
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

// storeOf returns the log that the member's manifest, or the first of its segments whose header is whole, belongs to; zeros
// if nothing says so.
func (m *member) storeOf(f *found) segment.StoreID {
	if f.manifest != nil {
		return f.manifest.Store
	}
	for _, id := range slices.Sorted(maps.Keys(f.segments)) {
		file, err := m.fs.Open(m.path(segment.Name(id, f.segments[id].sealed)))
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
			return h.Store
		}
	}
	return segment.StoreID{}
}

func (m *member) readIdentity() (*segment.Identity, error) {
	b, err := m.readSmall(segment.IdentityName, segment.IdentityBytes)
	if err != nil {
		return nil, err
	}
	id, err := segment.ParseIdentity(b)
	if errors.Is(err, segment.ErrDamaged) {
		return nil, fmt.Errorf("%w; if this is surely the right directory, remove the file: other members can vouch for it", err)
	}
	if err != nil {
		return nil, err
	}
	return &id, nil
}

// checkMembers refuses directories that are not the members of one log, in order. It lets pass: all empty, which makes a
// new log; some without identity while no directory holds a segment, which a crash leaves in the making of a log; and one
// that has lost its identity but whose segments belong to the log of the others.
func checkMembers(members []*member, all []found) error {
	var first *segment.Identity // of the first directory that has one
	var firstDir, recordsIn string
	for i, f := range all {
		if f.identity != nil && first == nil {
			first, firstDir = f.identity, members[i].dir
		}
		if f.holds() && recordsIn == "" {
			recordsIn = members[i].dir
		}
	}
	for i, f := range all {
		dir, id := members[i].dir, f.identity
		switch {
		case f.manifest != nil && first != nil && f.manifest.Store != first.Store:
			return fmt.Errorf("%w: %s of %s is of log %v, but %s belongs to log %v: it was put there by mistake",
				ErrMembers, segment.ManifestName, dir, f.manifest.Store, firstDir, first.Store)
		case id == nil && f.holds() && first != nil && f.store == first.Store:
		case id == nil && f.holds():
			return fmt.Errorf("%w: %s holds segments but no %s file, and no other member vouches for them: restore the file, or give the right directory",
				ErrMembers, dir, segment.IdentityName)
		case id == nil && recordsIn != "":
			return fmt.Errorf("%w: %s is empty, but %s holds records of log %v (member 1 to %d): give the directory that is member %d, or mount its disk",
				ErrMembers, dir, recordsIn, first.Store, first.Count, i+1)
		case id == nil:
		case id.Store != first.Store:
			return fmt.Errorf("%w: %s belongs to log %v, but %s to log %v: give directories of one log",
				ErrMembers, dir, id.Store, firstDir, first.Store)
		case int(id.Count) != len(members):
			return wrongCount(dir, id, len(members))
		case int(id.Number) != i+1:
			return fmt.Errorf("%w: %s is member %d of %d, but was given as number %d: give the directories in their order",
				ErrMembers, dir, id.Number, id.Count, i+1)
		case id.Epoch != first.Epoch:
			return fmt.Errorf("%w: %s is of epoch %d, but %s of epoch %d: one of them is an old copy, give the present one",
				ErrMembers, dir, id.Epoch, firstDir, first.Epoch)
		}
	}
	return nil
}

// wrongCount says that a member's log has another number of members than were given.
func wrongCount(dir string, id *segment.Identity, given int) error {
	made, gave := fmt.Sprintf("%d members", id.Count), fmt.Sprintf("%d directories were given", given)
	todo := fmt.Sprintf("give all %d in order", id.Count)
	if id.Count == 1 {
		made, todo = "1 member", "give that one"
	}
	if given == 1 {
		gave = "1 directory was given"
	}
	return fmt.Errorf("%w: the log of %s was made with %s, but %s: %s", ErrMembers, dir, made, gave, todo)
}

// HoldsRecords reports whether any of the directories holds a segment of a log, or says that there were some. It changes nothing and makes nothing; a
// directory that does not exist holds nothing. Errors are those of Open for a directory that cannot be read.
func HoldsRecords(members []Member) (bool, error) {
	for _, m := range members {
		if m.FS == nil {
			m.FS = vfs.Default
		}
		f, err := (&member{fs: m.FS, dir: m.Dir}).look()
		if err == nil && f.unnamed != nil {
			err = fmt.Errorf("member %s: %w", m.Dir, f.unnamed)
		}
		if err != nil || f.holds() {
			return err == nil, err
		}
	}
	return false, nil
}

// form gives an identity to the members that checkMembers let pass without one, and learns the name of the log.
func (l *Log) form(all []found, done *Recovery) error {
	template := segment.Identity{Count: uint32(len(l.now().members)), Epoch: 1, Created: l.o.Clock.Now().UnixNano()}
	done.Created = true
	for _, f := range all {
		if f.identity != nil {
			template, done.Created = *f.identity, false
		}
	}
	if done.Created {
		if _, err := rand.Read(template.Store[:]); err != nil {
			return fmt.Errorf("make a name for the log: %w", err)
		}
	}
	for i, m := range l.now().members {
		if all[i].identity != nil {
			continue
		}
		template.Number = uint32(i + 1)
		if err := l.writeIdentity(m, &template); err != nil {
			return err
		}
		if !done.Created {
			done.Repaired = append(done.Repaired, Repair{Member: i, File: segment.IdentityName, Bytes: segment.IdentityBytes, Reason: segment.IdentityName + " was missing"})
		}
	}
	l.store = template.Store
	return nil
}

// writeIdentity makes the MEMBER file of a directory that has none.
func (l *Log) writeIdentity(m *member, id *segment.Identity) error {
	// Two paths may lead to one directory. Then the identity of the earlier member has appeared here.
	switch now, err := m.look(); {
	case err != nil || now.unnamed != nil:
		return errors.Join(err, now.unnamed)
	case now.identity != nil:
		return fmt.Errorf("%w: %s is the same directory as %s: every member needs one of its own",
			ErrMembers, m.dir, l.now().members[now.identity.Number-1].dir)
	}
	return m.placeIdentity(id.Append(nil))
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
