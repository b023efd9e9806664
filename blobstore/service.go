package blobstore

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"pagevault/internal/azure/signing"
	"pagevault/internal/clock"
	"pagevault/pagestore"
)

// Limits of the protocol, in bytes.
const (
	// PageSize is what sizes and ranges of page blobs are multiples of.
	PageSize = pagestore.PageSize
	// PutPagesMax is the most that one Put Page writes.
	PutPagesMax = 4 << 20
	// defaultMaxPageBlob is below Azure's 8 TiB: nobody should fill a disk by a slip of the pen.
	defaultMaxPageBlob = 1 << 40
)

// Options configures a Service.
type Options struct {
	Clock       clock.Clock // nil: the machine's
	Rand        io.Reader   // lease ids made for clients that propose none. nil: crypto/rand
	MaxPageBlob int64       // largest size of a page blob in bytes, at most 8 TiB. 0: 1 TiB
	Accounts    []AccountOptions
	Store       func(account string) (pagestore.Options, error) // where and how an account's store lives
	Events      *Events                                         // nil: none

	// ContainerDays is for how many days deleted containers are kept, up to 365. 0: not at all.
	ContainerDays int
}

// AccountOptions names an account and the one or two keys that sign requests to it.
type AccountOptions struct {
	Name   string
	Keys   [][]byte // decoded
	Limits Limits   // of what the account holds. Zero: none

	Premium   bool             // of premium storage: its page blobs have tiers
	Immutable ImmutableStorage // where blobs can be protected from changes

	Versioning bool // what is overwritten or deleted stays as a version. Those there are stay when it is switched off
}

// Events are called when something happens that no request reports. They may come from any goroutine and must not call
// back into the Service. A nil function is not called.
type Events struct {
	// Reaped is called when the last blob of a deleted container is gone.
	Reaped func(account string, r Reaped)
	// Expired is called when that many blobs and snapshots, deleted and kept until now, are gone for good.
	Expired func(account string, n int)
	// ReapFailed is called when removing what is deleted stopped; it goes on within the hour, after the next deletion of a
	// container, or when the service is opened again.
	ReapFailed func(account string, err error)
	// VersioningOff is called when an account is opened without versioning that has had it.
	VersioningOff func(account string)
}

// Service is the blob service: its accounts, each on a store of its own. It is safe for concurrent use. One goroutine
// per account, the reaper, and one for each pending copy run until Close or the account's removal.
type Service struct {
	o         Options
	directory atomic.Pointer[directory]
	changes   sync.Mutex // held while an account is added or removed, with all I/O that takes: one at a time
	closed    bool       // guarded by changes: Close was called
}

// keepDaysMax is Azure's limit of the days for which anything deleted is kept.
const keepDaysMax = 365

// azurePageBlobMax is the largest page blob of Azure: 8 TiB.
const azurePageBlobMax = 8 << 40

// Open opens the store of every account. If one fails, those before it are closed.
func Open(o Options) (*Service, error) {
	if o.Clock == nil {
		o.Clock = clock.System
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.MaxPageBlob == 0 {
		o.MaxPageBlob = defaultMaxPageBlob
	}
	if o.Events == nil {
		o.Events = &Events{}
	}
	switch {
	case o.MaxPageBlob < 0 || o.MaxPageBlob > azurePageBlobMax || o.MaxPageBlob%PageSize != 0:
		return nil, fmt.Errorf("MaxPageBlob is %d: want a multiple of %d up to %d", o.MaxPageBlob, PageSize, int64(azurePageBlobMax))
	case o.ContainerDays < 0 || o.ContainerDays > keepDaysMax:
		return nil, fmt.Errorf("ContainerDays is %d: want up to %d", o.ContainerDays, keepDaysMax)
	case o.Store == nil:
		return nil, errors.New("option Store is missing")
	}
	s := &Service{o: o}
	s.directory.Store(newDirectory(nil))
	for _, ao := range o.Accounts {
		a, err := openAccount(&o, ao)
		if _, twice := s.Account(ao.Name); err == nil && twice {
			err = errors.Join(errors.New("given twice"), a.close())
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("account %s: %w", ao.Name, err), s.Close())
		}
		s.directory.Store(s.directory.Load().with(a))
	}
	return s, nil
}

// Close stops the reapers, waits for them, and closes the stores. Requests must have ended, Readers must be closed.
func (s *Service) Close() error {
	s.changes.Lock()
	defer s.changes.Unlock()
	s.closed = true
	var errs []error
	for _, a := range s.Accounts() {
		a.pendings.stop() // they read from other accounts
	}
	for _, a := range s.Accounts() {
		if err := a.close(); err != nil {
			errs = append(errs, fmt.Errorf("account %s: %w", a.name, err))
		}
	}
	return errors.Join(errs...)
}

// Account is one account: a name, keys, and a store with all its containers and blobs. It is safe for concurrent use.
type Account struct {
	name     string
	signing  atomic.Pointer[signing.Account]
	gate     gate
	shut     bool // guarded by Service.changes: whether the account is removed is uncertain, and the gate stays closed
	store    *pagestore.Store
	clock    clock.Clock
	rand     io.Reader
	events   *Events
	sizeMax  int64 // of a page blob, bytes
	limits   atomic.Pointer[Limits]
	premium  bool
	reaper   *reaper
	copies   copies
	fills    fills
	appends  appends
	pendings pendings

	immutable     ImmutableStorage
	versioning    bool
	versionedOnce bool // versioning is on, or has been: versions may be there
	containerDays int  // for which deleted containers are kept

	// last is the newest entity tag given out since the store was opened. It is read and changed only within
	// pagestore.Store.Update, whose functions run one at a time.
	last ticks
}

func openAccount(o *Options, ao AccountOptions) (*Account, error) {
	if ao.Name == "" || checkKeys(ao.Keys) != nil {
		return nil, errors.New("want a name and one or two keys")
	}
	if err := ao.Limits.check(); err != nil {
		return nil, err
	}
	so, err := o.Store(ao.Name)
	if err != nil {
		return nil, err
	}
	so.Quota = pagestore.Quota{DataBytes: ao.Limits.DataBytes, MetadataBytes: ao.Limits.MetadataBytes}
	store, err := pagestore.Open(so)
	if err != nil {
		return nil, err
	}
	a := &Account{
		name:    ao.Name,
		store:   store,
		clock:   o.Clock,
		rand:    o.Rand,
		events:  o.Events,
		sizeMax: o.MaxPageBlob,
		premium: ao.Premium,

		immutable:  ao.Immutable,
		versioning: ao.Versioning,

		containerDays: o.ContainerDays,
	}
	a.gate.init()
	a.signing.Store(&signing.Account{Name: ao.Name, Keys: ao.Keys})
	a.limits.Store(&ao.Limits)
	if err := a.startTotals(); err != nil {
		return nil, errors.Join(fmt.Errorf("counting what is there: %w", err), store.Close())
	}
	if err := a.startVersioning(); err != nil {
		return nil, errors.Join(fmt.Errorf("remembering that there is versioning: %w", err), store.Close())
	}
	a.startReaper()
	return a, nil
}

// Name returns the account's name.
func (a *Account) Name() string { return a.name }

// Encrypted reports whether what the account stores is encrypted on the disks.
func (a *Account) Encrypted() bool { return a.store.Encrypted() }

// Store returns the account's store, for metrics and health only: changing it behind the account's back breaks both.
func (a *Account) Store() *pagestore.Store { return a.store }

func (a *Account) close() error {
	a.reaper.quit()
	a.pendings.stop()
	a.reaper.stop()
	return a.store.Close()
}

// nextTicks returns the entity tag of a change that happens now to something whose present one is before (0: none). It is
// later than every tag given out so far, by a tick at least, so that their order is the order in which changes apply.
// Only within Update.
func (a *Account) nextTicks(before ticks) ticks {
	a.last = max(ticksAt(a.clock.Now()), a.last+1, before+1)
	return a.last
}
