package replication

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"pagevault/replication/roster"
	"pagevault/replication/segment"
)

// errVanished marks a directory that is not the one that was opened.
var errVanished = errors.New("the directory is not the one that was opened")

// probeMember looks whether a member that is written still is what was opened, and tells the commit loop if it is not. What is
// written to files of a directory that was removed or unmounted succeeds, and is lost.
func (l *Log) probeMember(m *member) {
	err := l.lookAt(m)
	m.measure()
	switch {
	case err == nil || !l.now().has(m):
	case errors.Is(err, segment.ErrDamaged):
		_ = l.renewIdentity(m, err) // or at the next look
	case errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE):
		// The process has too many files open, which says nothing about this member.
	case errors.Is(err, errVanished):
		l.memberFailed(m, roster.ReasonVanished, err)
	default:
		l.memberFailed(m, roster.ReasonWrite, err)
	}
}

// lookAt looks whether the member's directory is the one that was opened: under its path there is the same directory, and in it
// who it is and the segment that is being written. That MEMBER is damaged, which is segment.ErrDamaged, is no reason to do without
// a member.
func (l *Log) lookAt(m *member) error {
	if err := m.sameDirectory(); err != nil {
		return err
	}
	damage := error(nil)
	switch who, err := m.readMember(); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s is not there", errVanished, segment.IdentityName)
	case errors.Is(err, segment.ErrDamaged):
		damage = err
	case err != nil:
		return &MemberError{Dir: m.dir, Op: "read " + segment.IdentityName, Err: err}
	case who.Roster.Store != l.store, int(who.Number) != m.number+1, len(who.Roster.Rows) > 0 && who.ID() != m.id:
		return fmt.Errorf("%w: its %s is another member's", errVanished, segment.IdentityName)
	}
	id := l.openOn(m)
	if id == 0 {
		return damage
	}
	_, err := m.fs.Stat(m.path(segment.Name(id, false)))
	if errors.Is(err, fs.ErrNotExist) && l.openOn(m) == id && l.now().has(m) {
		// It was neither sealed nor removed meanwhile, by us.
		err = m.named(func() error {
			_, err := m.fs.Stat(m.path(segment.Name(id, false)))
			if errors.Is(err, fs.ErrNotExist) {
				_, err = m.fs.Stat(m.path(segment.Name(id, true)))
			}
			return err
		})
		if err != nil && l.openOn(m) == id && l.now().has(m) {
			return fmt.Errorf("%w: segment %d, which is being written, is not there", errVanished, id)
		}
	}
	return damage
}

// renewIdentity writes the MEMBER file of a member anew, which was found to be damaged; all members get theirs.
func (l *Log) renewIdentity(m *member, why error) error {
	m.damaged.Add(1)
	if err := l.edited(false, (*roster.Roster).Again); err != nil {
		return err
	}
	l.repaired(m, Repair{Member: m.number, File: segment.IdentityName, Bytes: segment.MemberBytes(len(l.now().roster.Rows)), Reason: why.Error()})
	return nil
}

// openOn returns the open segment if the member is one of those that write it; 0 if not.
func (l *Log) openOn(m *member) SegmentID {
	s, ok := l.index.tail()
	if !ok || s.sealed || !s.holders.Has(m.number) {
		return 0
	}
	return s.id
}

// tail returns the last segment, if there is one.
func (x *index) tail() (indexed, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if len(x.mu.segments) == 0 {
		return indexed{}, false
	}
	return x.mu.segments[len(x.mu.segments)-1], true
}

// readMember reads the member's MEMBER file. One of format version 1 names neither an id nor a roster.
func (m *member) readMember() (segment.Member, error) {
	b, err := m.readSmall(segment.IdentityName, segment.MemberBytesMax)
	if err != nil {
		return segment.Member{}, err
	}
	who, err := segment.ParseMember(b)
	if version := (*segment.VersionError)(nil); errors.As(err, &version) && version.Found == 1 {
		id, err := segment.ParseIdentity(b)
		return segment.Member{Number: id.Number, Roster: roster.Roster{Store: id.Store}}, err
	}
	return who, err
}

// sameDirectory looks whether the member's path leads to the directory that was opened.
func (m *member) sameDirectory() error {
	now, err := m.fs.Stat(m.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: it is not there", errVanished)
	}
	if err != nil {
		return &MemberError{Dir: m.dir, Op: "stat the directory", Err: err}
	}
	m.handles.RLock()
	defer m.handles.RUnlock()
	if m.dirFD == nil {
		return errReleased
	}
	opened, err := m.dirFD.Stat()
	if err != nil {
		return &MemberError{Dir: m.dir, Op: "stat the directory", Err: err}
	}
	if !sameFile(opened, now) {
		return fmt.Errorf("%w: another one is in its place", errVanished)
	}
	return nil
}
