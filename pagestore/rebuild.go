package pagestore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/replication"
)

// An index holds nothing that is not in the log, or, for the records of segments that were dropped, in the checkpoint
// that the members hold. One that is missing or of no use is therefore made anew. All beside its directory Dir:
//
//	Dir.restoring  files of the checkpoint, being copied; of no use after a crash
//	Dir.damaged    the index of no use, moved away. It is moved back if no other can be made, and removed when a store
//	               has been opened over another
//
// A crash in between leaves no Dir, or one that is older than the log, which the next start completes, or does all this
// again.
const (
	restoringSuffix = ".restoring"
	damagedSuffix   = ".damaged"
	// damagedMark is a file in Dir: a database was found damaged while it was in use. It says how.
	damagedMark = "DAMAGED"
)

// RebuildResult says how an index was made anew.
type RebuildResult struct {
	Reason     error           // why the one there was could not be used
	Checkpoint replication.LSN // of the checkpoint it was begun from. 0: from nothing
	Replayed   uint64          // records of the log that were applied since
}

// damage is an error of an index that is to be made anew.
type damage struct{ cause error }

// Error returns what is wrong, in one line: Pebble's have several.
func (d *damage) Error() string { return strings.Join(strings.Fields(d.cause.Error()), " ") }

// Unwrap returns what is wrong.
func (d *damage) Unwrap() error { return d.cause }

// joined is an error of one line that wraps both, or the one that is not nil.
func joined(a, b error) error {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return fmt.Errorf("%w; and %w", a, b)
}

// damageOf makes err, with which opening the store ended, a *damage if another index would help.
func (s *Store) damageOf(err error) error {
	switch {
	case errors.As(err, new(*damage)):
		return err
	case s.corrupt.Load(), errors.Is(err, pebble.ErrCorruption), errors.Is(err, fs.ErrNotExist), // a file is damaged or gone
		errors.Is(err, replication.ErrDropped),                                                  // too old
		s.openedAt > 0 && errors.Is(err, ErrCorrupt) && !errors.Is(err, replication.ErrCorrupt): // rows that contradict the log
		return &damage{err}
	}
	return err
}

// unusableIndex returns why an index need not be tried, nil if it should be.
func unusableIndex(o *Options, log *replication.Log) (why, err error) {
	if log.LastLSN() == 0 {
		return nil, nil
	}
	text, err := readDamagedMark(o)
	if err != nil {
		return nil, fmt.Errorf("index %s: %w", o.Dir, err)
	}
	if text != "" {
		return fmt.Errorf("it was found damaged while it was in use: %s", text), nil
	}
	desc, err := pebble.Peek(o.Dir, o.FS)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !desc.Exists {
		return errors.New("there is none"), nil
	}
	return nil, nil // an error will be found again, and judged
}

func readDamagedMark(o *Options) (text string, err error) {
	f, err := o.FS.Open(o.FS.PathJoin(o.Dir, damagedMark))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	p, err := io.ReadAll(io.LimitReader(f, 1<<12))
	if err = errors.Join(err, f.Close()); err == nil && len(p) == 0 {
		p = []byte("no details")
	}
	return string(p), err
}

// markDamaged has the next start make the index anew. That it cannot be written changes nothing: the damage will be found
// again.
func markDamaged(o *Options, cause error) {
	_ = writeWhole(o.FS, o.FS.PathJoin(o.Dir, damagedMark), func(w io.Writer) error {
		_, err := io.WriteString(w, cause.Error())
		return err
	})
}

// source makes an index directory to begin with, and returns the record up to which it stands. ok is false if there is
// nothing to make it from.
type source func(o *Options, log *replication.Log) (from replication.LSN, ok bool, err error)

// fromCheckpoint makes the index that of the checkpoint.
func fromCheckpoint(o *Options, log *replication.Log) (from replication.LSN, ok bool, err error) {
	info, ok := log.Checkpoint()
	if !ok {
		return 0, false, nil
	}
	dir := o.Dir + restoringSuffix
	if err := errors.Join(o.FS.RemoveAll(dir), o.FS.MkdirAll(dir, 0o755)); err != nil {
		return 0, true, err
	}
	err = log.RestoreCheckpoint(func(name string, r io.Reader) error {
		if name == "" || o.FS.PathBase(name) != name {
			return fmt.Errorf("%q is no name of a file", name)
		}
		return writeFileSynced(o.FS, o.FS.PathJoin(dir, name), r)
	})
	if err == nil {
		err = syncDir(o.FS, dir)
	}
	if err == nil {
		err = o.FS.Rename(dir, o.Dir)
	}
	if err == nil {
		err = syncDir(o.FS, o.FS.PathDir(o.Dir))
	}
	if err != nil {
		err = joined(err, o.FS.RemoveAll(dir))
		return 0, true, fmt.Errorf("restoring the checkpoint of record %d: %w", info.LSN, err)
	}
	return info.LSN, true, nil
}

func writeFileSynced(fs vfs.FS, path string, r io.Reader) error {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// fromNothing begins with an empty index, if the log has every record.
func fromNothing(_ *Options, log *replication.Log) (from replication.LSN, ok bool, err error) {
	next := replication.LSN(1)
	for _, s := range log.Segments() {
		if s.First != next {
			return 0, false, nil
		}
		next = s.Last + 1
	}
	return 0, next > log.LastLSN(), nil
}

// rebuild opens a store with an index that is made anew, from the first of the sources that will do. Without success the
// index is as it was.
func rebuild(o *Options, log *replication.Log, why error, sources ...source) (*Store, RebuildResult, error) {
	if err := setAside(o); err != nil {
		return nil, RebuildResult{}, fmt.Errorf("index %s has to be made anew, because %w, and cannot be moved away: %w", o.Dir, why, err)
	}
	var tried error
	for _, make := range sources {
		from, ok, err := make(o, log)
		if !ok {
			continue
		}
		var s *Store
		if err == nil {
			s, err = openStore(o, log, from == 0)
		}
		if err == nil {
			result := RebuildResult{Reason: why, Checkpoint: from, Replayed: s.replayed}
			if f := o.Events.IndexRebuilt; f != nil && (from > 0 || s.replayed > 1) { // 1: a store that was being created
				f(result)
			}
			return s, result, nil
		}
		tried = joined(tried, err)
		if !errors.As(err, new(*damage)) && !errors.Is(err, replication.ErrCorrupt) {
			break
		}
		if err := o.FS.RemoveAll(o.Dir); err != nil {
			tried = joined(tried, err)
			break
		}
	}
	if tried == nil {
		tried = fmt.Errorf("%w: there is no checkpoint, and the log no longer has all records", ErrCorrupt)
	}
	err := fmt.Errorf("index %s cannot be made anew: %w (why that was tried: %w)", o.Dir, tried, why)
	return nil, RebuildResult{}, joined(err, putBack(o))
}

// setAside moves the index away. If one was moved away before, the present one is what became of making another: it is
// removed.
func setAside(o *Options) error {
	damaged := o.Dir + damagedSuffix
	if _, err := o.FS.Stat(o.Dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if _, err := o.FS.Stat(damaged); err == nil {
		return o.FS.RemoveAll(o.Dir)
	}
	if err := o.FS.Rename(o.Dir, damaged); err != nil {
		return err
	}
	return syncDir(o.FS, o.FS.PathDir(o.Dir))
}

// putBack undoes setAside.
func putBack(o *Options) error {
	if err := o.FS.RemoveAll(o.Dir); err != nil {
		return err
	}
	err := o.FS.Rename(o.Dir+damagedSuffix, o.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(o.FS, o.FS.PathDir(o.Dir))
}

// tidyIndex removes what making an index anew, or saving one, has left behind.
func tidyIndex(o *Options) error {
	for _, suffix := range []string{restoringSuffix, damagedSuffix, checkpointSuffix} {
		if err := o.FS.RemoveAll(o.Dir + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing what is left of another index: %w", err)
		}
	}
	return nil
}

// RebuildIndex makes the index of a store anew, from the records of the log alone if it has them all, else from the
// checkpoint that the members hold and the records since. The index there was is removed when that is done, and left as
// it was if it cannot be done. The store must not be open. progress, if it is not nil, is told now and then how many
// records were applied or were in the checkpoint, and how many there are.
//
// Errors: those of Open.
func RebuildIndex(o Options, progress func(done, total replication.LSN)) (RebuildResult, error) {
	o.progress, o.passive = progress, true
	o, err := o.withDefaults()
	if err != nil {
		return RebuildResult{}, err
	}
	if err := checkMembersThere(&o); err != nil {
		return RebuildResult{}, err
	}
	if there, err := replication.HoldsRecords(o.Members); err != nil || !there { // opening would make a log
		return RebuildResult{}, errors.Join(errors.New("there is no store: no member directory holds any record"), err)
	}
	log, err := openLog(&o)
	if err != nil {
		return RebuildResult{}, err
	}
	var s *Store
	var result RebuildResult
	if err = checkReplaceable(&o, log); err == nil {
		s, result, err = rebuild(&o, log, errAsked, fromNothing, fromCheckpoint)
	}
	if err != nil {
		return result, errors.Join(err, log.Close())
	}
	return result, errors.Join(s.Close(), tidyIndex(&o))
}

// checkReplaceable returns an error if the index is not this store's, is of a newer format, or knows of records that the
// log has lost: it is the only witness of that then. What cannot be read is no witness.
func checkReplaceable(o *Options, log *replication.Log) error {
	st, ok, err := peekState(o, o.Dir)
	switch {
	case err == nil && ok:
		err = checkState(&st, log.StoreID(), log.LastLSN())
	case !errors.Is(err, errNewerIndex) && !errors.Is(err, errNoIndex):
		return nil
	}
	if err != nil {
		return fmt.Errorf("index %s: %w", o.Dir, err)
	}
	return nil
}

var errAsked = errors.New("it was asked for")
