package blobstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/signing"
	"pagevault/pagestore"
)

// directory is which accounts there are. It is not changed: a change makes another one.
type directory struct {
	list   []*Account // as in Options, then as they were added
	byName map[string]*Account
}

// with returns the directory with one account more.
func (d *directory) with(a *Account) *directory {
	list := append(slices.Clip(d.list), a)
	return newDirectory(list)
}

// without returns the directory with one account less.
func (d *directory) without(a *Account) *directory {
	return newDirectory(slices.DeleteFunc(slices.Clone(d.list), func(b *Account) bool { return a == b }))
}

func newDirectory(list []*Account) *directory {
	d := &directory{list: list, byName: make(map[string]*Account, len(list))}
	for _, a := range list {
		d.byName[a.name] = a
	}
	return d
}

// Account returns the account of that name. Whoever uses it while accounts may be removed calls Enter or Look first.
func (s *Service) Account(name string) (*Account, bool) {
	a, ok := s.directory.Load().byName[name]
	return a, ok
}

// Accounts returns all accounts in the order of Options, then in that in which they were added. The caller must not change
// the slice, and calls Enter or Look for each while accounts may be removed.
func (s *Service) Accounts() []*Account { return s.directory.Load().list }

// Each goes through the accounts, each of which stays there while it is looked at.
func (s *Service) Each() iter.Seq[*Account] {
	return func(yield func(*Account) bool) {
		for _, a := range s.Accounts() {
			if a.Look() && !eachOne(a, yield) {
				return
			}
		}
	}
}

func eachOne(a *Account, yield func(*Account) bool) bool {
	defer a.Leave()
	return yield(a)
}

// Add opens the store of one more account, which is there for everybody once commit, that is to note it for the next start,
// has returned nil. Errors: ErrRefused if there is such an account, and those of opening the store and of commit.
func (s *Service) Add(o AccountOptions, commit func() error) error {
	s.changes.Lock()
	defer s.changes.Unlock()
	d := s.directory.Load()
	if s.closed {
		return &markedError{ErrNotNow, errors.New("the server is being stopped")}
	}
	if d.byName[o.Name] != nil {
		return &markedError{ErrRefused, fmt.Errorf("there is an account %s", o.Name)}
	}
	a, err := openAccount(&s.o, o)
	if err != nil {
		return fmt.Errorf("account %s: %w", o.Name, err)
	}
	if err := commit(); err != nil {
		return errors.Join(err, a.close())
	}
	s.directory.Store(d.with(a))
	return nil
}

// ErrUncertain marks an error of a commit that may have been noted for the next start all the same.
var ErrUncertain = errors.New("uncertain")

// Removal says how an account is removed.
type Removal struct {
	Name   string
	Filled bool         // also if it has containers
	Commit func() error // notes for the next start that it is gone; afterwards there is no way back
}

// Remove lets nobody begin to use an account, has the pending copies from and to it fail, waits for those who use it, has Commit note that it is gone, and closes its store.
// What the store has on the disks is left to the caller.
//
// Until Commit has returned nil nothing else has happened, and the account is there as before, but for an error that is
// ErrUncertain: whatever the account acknowledged then might be removed by the next start, so nobody enters it any more.
// An error of the store's end comes with closed set: the account is gone. Errors: ErrRefused if there is no such account,
// it has containers, or blobs where there is immutable storage; ErrNotNow when ctx ends while it is used.
func (s *Service) Remove(ctx context.Context, r Removal) (closed bool, err error) {
	s.changes.Lock()
	defer s.changes.Unlock()
	if s.closed {
		return false, &markedError{ErrNotNow, errors.New("the server is being stopped")}
	}
	d := s.directory.Load()
	a := d.byName[r.Name]
	if a == nil {
		return false, &markedError{ErrRefused, fmt.Errorf("there is no account %s", r.Name)}
	}
	if err := a.mayGo(r.Filled); err != nil { // before anybody is turned away for it
		return false, err
	}
	if !a.shut {
		if err := s.empty(ctx, a); err != nil {
			return false, &markedError{ErrNotNow, fmt.Errorf("account %s is in use, and stays: %w", r.Name, err)}
		}
	}
	err = a.mayGo(r.Filled)
	if err == nil {
		err = r.Commit()
	}
	a.shut = a.shut || errors.Is(err, ErrUncertain)
	if err != nil && !a.shut {
		a.gate.open()
	}
	if err != nil {
		return false, err
	}
	s.directory.Store(d.without(a))
	a.gate.lock()
	return true, a.close()
}

// empty waits until nobody uses the account. Pending copies might do so for weeks: they are ended, also those that are of
// other accounts and read from this one.
func (s *Service) empty(ctx context.Context, a *Account) error {
	a.gate.close()
	for _, b := range s.Accounts() {
		b.pendings.endFor(a)
	}
	return a.gate.wait(ctx)
}

// mayGo returns an error if the account has blobs that cannot go away, or has containers, and that counts.
func (a *Account) mayGo(filled bool) error {
	if err := a.CheckRemovable(); err != nil {
		if azerr.From(err).Code == azerr.ContainerImmutableStorageWithVersioningEnabled {
			err = &markedError{ErrRefused, fmt.Errorf("account %s has blobs in a container with immutable storage", a.name)}
		}
		return err
	}
	if filled {
		return nil
	}
	var t Totals
	err := a.view(func(v *pagestore.View) (err error) {
		t, err = ReadTotals(v)
		return err
	})
	switch {
	case err != nil:
		return err
	case t.Containers > 0:
		return &markedError{ErrRefused, fmt.Errorf("account %s has containers: %d", a.name, t.Containers)}
	}
	return nil
}

// Signing returns what requests to the account are signed with now. The caller must not change it.
func (a *Account) Signing() *signing.Account { return a.signing.Load() }

// SetKeys has requests signed with these one or two keys from now on, and with no others. It keeps them.
func (a *Account) SetKeys(keys [][]byte) error {
	if err := checkKeys(keys); err != nil {
		return err
	}
	a.signing.Store(&signing.Account{Name: a.name, Keys: keys})
	return nil
}

func checkKeys(keys [][]byte) error {
	if len(keys) == 0 || len(keys) > 2 || slices.ContainsFunc(keys, func(key []byte) bool { return len(key) == 0 }) {
		return errors.New("want one or two keys")
	}
	return nil
}

// Limits returns what bounds the account now.
func (a *Account) Limits() Limits { return *a.limits.Load() }

// SetLimits bounds the account from now on. What it holds stays, also if that is more.
func (a *Account) SetLimits(l Limits) error {
	if err := l.check(); err != nil {
		return err
	}
	a.limits.Store(&l)
	a.store.SetQuota(pagestore.Quota{DataBytes: l.DataBytes, MetadataBytes: l.MetadataBytes})
	return nil
}
