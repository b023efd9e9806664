package pagestore

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/replication"
	"pagevault/replication/segment"
)

// OpenReadOnly opens the store for looking at it, and changes nothing: neither is the log repaired, see
// replication.OpenReadOnly, nor the index brought up to it. Views show what the index has applied; see Stats. Updates
// return ErrReadOnly.
//
// Errors: replication.ErrInUse if a process has the store open, replication.ErrMembers if there is none,
// ErrIndexUnusable for an index that Open would make anew, and those of Open for what it refuses.
func OpenReadOnly(o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	log, err := replication.OpenReadOnly(o.Members, o.Log)
	if err != nil {
		if errors.Is(err, replication.ErrCorrupt) {
			err = fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		return nil, err
	}
	s := newStore(&o, log)
	refused := ErrReadOnly
	s.readOnly = true
	s.failed.Store(&refused)
	if err = checkKey(&s.o, log); err == nil || errors.Is(err, replication.ErrCorrupt) { // what else Open refuses is no damage
		err = s.openIndexReadOnly()
	}
	if err != nil {
		return nil, errors.Join(err, s.closeReadOnly())
	}
	return s, nil
}

func (s *Store) openIndexReadOnly() error {
	why, err := unusableIndex(&s.o, s.log)
	if err != nil {
		return err
	}
	if why != nil {
		return fmt.Errorf("index %s: %w; %w", s.o.Dir, why, ErrIndexUnusable)
	}
	cache := s.o.Cache
	if cache == nil {
		s.cache = pebble.NewCache(defaultCacheBytes)
		cache = s.cache
	}
	p := pebbleOptions(&s.o, cache, func(error) {}, func(error) { s.corrupt.Store(true) })
	p.FS, p.ReadOnly = s.o.FS, true
	db, err := pebble.Open(s.o.Dir, p)
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return fmt.Errorf("index %s is %w: stop it first", s.o.Dir, replication.ErrInUse)
	case err != nil:
		return fmt.Errorf("index %s: %w; %w", s.o.Dir, &damage{err}, ErrIndexUnusable)
	}
	s.db = db
	st, err := s.readIndex(true)
	if err == nil && st.applied == 0 {
		err = &damage{errors.New("it holds nothing")}
	}
	if err == nil {
		err = s.openSessions(st.nextSession)
	}
	if err = s.damageOf(err); errors.As(err, new(*damage)) {
		err = fmt.Errorf("%w; %w", err, ErrIndexUnusable)
	}
	if err != nil {
		return fmt.Errorf("index %s: %w", s.o.Dir, err)
	}
	s.state.Store(&st)
	return nil
}

// closeReadOnly closes what OpenReadOnly has opened, once nobody uses it any more.
func (s *Store) closeReadOnly() error {
	err := s.awaitViews()
	if s.db != nil {
		if e := s.db.Close(); e != nil {
			err = errors.Join(err, fmt.Errorf("index %s: %w", s.o.Dir, e))
		}
	}
	if s.cache != nil {
		s.cache.Unref()
	}
	return errors.Join(err, s.log.Close())
}

// CheckUnopened reports as a problem why OpenReadOnly could not open the store, and what is wrong with the files of the
// log. The error is the cause itself if nothing is wrong with what is stored: it is in use, say, or not there.
func CheckUnopened(ctx context.Context, from Options, cause error, o CheckOptions) (CheckSummary, error) {
	p := Problem{Severity: SeverityError, Text: oneLine(cause.Error())}
	switch {
	case errors.Is(cause, ErrIndexUnusable):
		p.Kind = KindIndexDamaged
	case errors.Is(cause, ErrCorrupt):
		p.Kind = KindLogLost
	case errors.Is(cause, segment.ErrDamaged): // the file that says whose a directory is
		p.Kind = KindLogFile
	default:
		return CheckSummary{}, cause
	}
	o.Found(p)
	summary := CheckSummary{Unopened: p.Text}
	if o.Level == CheckFull {
		err := verifyClosed(ctx, &from, &o, &summary)
		return summary, err
	}
	return summary, ctx.Err()
}
