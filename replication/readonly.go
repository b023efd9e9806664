package replication

import (
	"errors"
	"fmt"

	"pagevault/replication/segment"
)

// ErrReadOnly is returned by whatever would write to a log that was opened by OpenReadOnly.
var ErrReadOnly = errors.New("log is open for reading only")

// OpenReadOnly opens the log that the members hold for looking at it, and changes nothing: what a crash or a bad copy has
// left is seen as Open would make it, and stays as it is. It takes the locks of the members, so that nobody writes
// meanwhile. Replay, SegmentRecords, ReadAt, ReadChecked, Segments and RestoreCheckpoint work; Append, Next and Rotate
// return ErrReadOnly.
//
// Errors: ErrMembers if there is no log, ErrInUse if a process has it open, and those of Open for what could not be
// repaired.
func OpenReadOnly(members []Member, o Options) (*Log, error) {
	l, err := newLog(members, o)
	if err != nil {
		return nil, err
	}
	l.mu.failed = ErrReadOnly
	close(l.stopped)
	if err := l.openReadOnly(); err != nil {
		return nil, errors.Join(err, l.release())
	}
	return l, nil
}

func (l *Log) openReadOnly() error {
	if _, err := identify(l.now().members); err != nil {
		return err
	}
	for _, m := range l.now().members {
		if _, err := m.fs.Stat(m.dir); err != nil { // acquire would make it
			return fmt.Errorf("%w: member %s: %w", ErrMembers, m.dir, err)
		}
		if err := m.acquire(); err != nil {
			return err
		}
	}
	found, err := identify(l.now().members)
	if err != nil {
		return err
	}
	l.store, err = storeOf(l.now().members, found)
	if err != nil {
		return err
	}
	if err := l.survey(found); err != nil {
		return err
	}
	_, l.last = l.index.end()
	l.files.init(l)
	return nil
}

// storeOf returns the log that the directories are of.
func storeOf(members []*member, all []found) (segment.StoreID, error) {
	for _, f := range all {
		if f.identity != nil {
			return f.identity.Store, nil
		}
	}
	return segment.StoreID{}, fmt.Errorf("%w: %s holds no log", ErrMembers, members[0].dir)
}

// survey is recover without repairs: it fills the index with the segments as they would be after these.
func (l *Log) survey(all []found) error {
	manifest, err := newestManifest(l.now().members, all)
	if err != nil {
		return err
	}
	l.keeper.mu.manifest, l.keeper.mu.attempted = *manifest, manifest.Sequence
	plans, err := l.examine(all, manifest)
	if err != nil {
		return err
	}
	for _, p := range plans {
		if p.remove {
			continue
		}
		s := indexed{id: p.id, first: p.first, count: p.count, end: p.end, length: p.length, data: p.data, sealed: p.trailer != nil, holders: l.now().current}
		if p.tabler < 0 {
			s.table = p.table
		}
		if p.trailer != nil {
			s.length = int64(p.trailer.Length)
		} else {
			s.length = p.end
		}
		l.index.add(s)
	}
	for _, r := range manifest.Dropped {
		l.index.passed(r.To, r.Last)
	}
	return nil
}
