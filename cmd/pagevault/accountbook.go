package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/blobstore"
	"pagevault/pagestore"
	"pagevault/server"
)

// accountKeyBytes is the length of a key that is made: as Azure's.
const accountKeyBytes = 64

// accountBook keeps the accounts that are added, changed and removed while the server runs. It is a server.AccountKeeper:
// its methods are called one at a time, but for Describe.
//
// The file has the word on what is there at the next start, and is written before a change takes effect, so what was
// answered is never lost. An account that is removed stays in it, without its keys, until nothing of it is left on the disks.
type accountBook struct {
	fs      vfs.FS
	file    string
	master  pagestore.MasterKey
	home    *layout
	log     *slog.Logger
	service *blobstore.Service
	source  map[string]string // of accounts that the book does not change
	limits  blobstore.Limits  // of accounts without any of their own

	mu struct {
		sync.Mutex                  // for Describe
		entries    map[string]entry // as in the file
	}
}

// openAccountBook reads the file of accounts, goes on with removals that were not finished, and adds to the plan the accounts
// that are to be served. Those that the command line or the environment names count, and not what the file says of them.
func openAccountBook(p *plan, home *layout, key *masterKey) (*accountBook, error) {
	b := &accountBook{fs: home.fs, file: accountsName, master: key.key, home: home, log: p.log,
		source: map[string]string{}, limits: commonLimits(p.flags.limits)}
	if home.fs == nil {
		b.fs, b.file = privateFS{vfs.Default}, filepath.Join(home.data, accountsName)
	}
	entries, err := readAccounts(b.fs, b.file, &b.master)
	if err != nil {
		return nil, err
	}
	b.mu.entries = make(map[string]entry, len(entries))
	for _, e := range entries {
		b.mu.entries[e.name] = e
	}
	b.finishRemovals()
	for _, a := range p.accounts {
		if b.mu.entries[a.Name].removed { // what it would be given to keep would go with the rest of it
			return nil, fmt.Errorf("account %s was removed, and what is left of it on the disks could not be yet: it cannot be served before that", a.Name)
		}
	}
	b.serve(p)
	if len(p.accounts) == 0 {
		return nil, p.needOthers
	}
	return b, nil
}

// serve adds the accounts of the file to those of the plan.
func (b *accountBook) serve(p *plan) {
	var names []string
	for name, e := range b.mu.entries {
		if !e.removed {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if p.source == sourceDefault && (p.needOthers != nil || slices.Contains(names, wellKnownAccount)) {
		if p.needOthers != nil && len(names) > 0 {
			p.log.Info("account " + wellKnownAccount + " is not served: everybody knows its key, and this is not a loopback address")
		}
		p.accounts = nil
	}
	for _, a := range p.accounts {
		b.source[a.Name] = p.source
	}
	for _, name := range names {
		e := b.mu.entries[name]
		if b.source[name] != "" {
			p.log.Warn("what the file of accounts says of an account does not count: it is named elsewhere", "account", name, "by", p.source)
			continue
		}
		a := blobstore.AccountOptions{Name: name, Keys: e.keys, Limits: b.limits}
		if e.limits != nil {
			a.Limits = *e.limits
		}
		if e.rate != nil {
			p.server.Rates = maps.Clone(p.server.Rates)
			if p.server.Rates == nil {
				p.server.Rates = map[string]server.Rate{}
			}
			p.server.Rates[name] = *e.rate
		}
		p.accounts = append(p.accounts, a)
	}
}

// refuse returns an error that is blobstore.ErrRefused.
func refuse(format string, args ...any) error {
	return &refusal{fmt.Errorf(format, args...)}
}

type refusal struct{ error }

func (r *refusal) Is(target error) bool { return target == blobstore.ErrRefused }
func (r *refusal) Unwrap() error        { return r.error }

// Describe implements server.AccountKeeper.
func (b *accountBook) Describe(name string) string {
	if source := b.source[name]; source != "" {
		return source
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.mu.entries[name]; ok {
		return sourceFile
	}
	return ""
}

// write makes the file say what holds with e in place of what it says of that account; with gone set, without it.
func (b *accountBook) write(e entry, gone bool) error {
	next := maps.Clone(b.mu.entries)
	if delete(next, e.name); !gone {
		next[e.name] = e
	}
	if err := writeAccounts(b.fs, b.file, slices.Collect(maps.Values(next)), &b.master); err != nil {
		return err
	}
	b.mu.Lock()
	b.mu.entries = next
	b.mu.Unlock()
	return nil
}

// Add implements server.AccountKeeper.
func (b *accountBook) Add(_ context.Context, c *server.AccountChange) (*server.AccountChanged, error) {
	if !validAccountName(c.Name) {
		return nil, refuse("%q is not an account name: want 1 to %d of a-z, 0-9 and -, not ending in -secondary", c.Name, accountNameMax)
	}
	if e, ok := b.mu.entries[c.Name]; ok && e.removed {
		return nil, refuse("what account %s had is not removed from the disks as a whole: pagevault account remove %s goes on with it", c.Name, c.Name)
	} else if ok || b.source[c.Name] != "" {
		return nil, refuse("there is an account %s", c.Name)
	}
	if len(b.mu.entries) >= accountsMax {
		return nil, refuse("there are %d accounts, and no more can be added", accountsMax)
	}
	done := &server.AccountChanged{Name: c.Name, Key: 1, SetRate: c.Rate != nil}
	e := entry{name: c.Name}
	var err error
	if e.keys, done.Made, err = chooseKeys(c.Keys, 2, nil); err != nil {
		return nil, err
	}
	if err := e.setBounds(c, done); err != nil {
		return nil, err
	}
	if err := b.home.checkStore(c.Name); err != nil {
		return nil, &refusal{err}
	}
	o := blobstore.AccountOptions{Name: c.Name, Keys: e.keys, Limits: b.limits}
	if e.limits != nil {
		o.Limits = *e.limits
	}
	if err := b.service.Add(o, func() error { return b.write(e, false) }); err != nil {
		return nil, err
	}
	done.Keys = len(e.keys)
	b.log.Info("an account was added", "account", c.Name, "keys", done.Keys)
	return done, nil
}

// chooseKeys returns the keys that were given, or makes as many. present are others, from which they must differ.
func chooseKeys(given [][]byte, most int, present [][]byte) (keys, made [][]byte, err error) {
	if len(given) > most {
		return nil, nil, refuse("%d keys are given: want %d at most", len(given), most)
	}
	if len(given) == 0 {
		for range most {
			key := make([]byte, accountKeyBytes)
			if _, err := io.ReadFull(rand.Reader, key); err != nil {
				return nil, nil, err
			}
			made = append(made, key)
		}
		return made, made, nil
	}
	public, err := base64.StdEncoding.DecodeString(wellKnownKey)
	if err != nil {
		panic(err)
	}
	all := slices.Clone(present)
	for _, key := range given {
		switch {
		case len(key) == 0 || len(key) > accountKeyMax:
			return nil, nil, refuse("a key has %d bytes: want 1 to %d", len(key), accountKeyMax)
		case bytes.Equal(key, public):
			return nil, nil, refuse("everybody knows that key: it is the one of the storage emulators")
		case slices.ContainsFunc(all, func(other []byte) bool { return bytes.Equal(key, other) }):
			return nil, nil, refuse("the account has that key already")
		}
		all = append(all, key)
	}
	return given, nil, nil
}

// setBounds takes limits and rate from a change, and says so in the answer.
func (e *entry) setBounds(c *server.AccountChange, done *server.AccountChanged) error {
	if l := c.Limits; l != nil {
		limits := blobstore.Limits{TotalBytes: l.TotalBytes, DataBytes: l.DataBytes, MetadataBytes: l.MetadataBytes}
		if !sensible(limits) {
			return refuse("limits of %d bytes of data and %d of metadata, %d together, make no sense", l.DataBytes, l.MetadataBytes, l.TotalBytes)
		}
		e.limits = &limits
	}
	if r := c.Rate; r != nil {
		if r.Requests < 0 || r.Bytes < 0 {
			return refuse("a rate of %d requests and %d bytes makes no sense", r.Requests, r.Bytes)
		}
		rate := *r
		e.rate = &rate
	}
	if e.limits != nil {
		done.Limits = &server.AccountLimits{TotalBytes: e.limits.TotalBytes, DataBytes: e.limits.DataBytes, MetadataBytes: e.limits.MetadataBytes}
	}
	done.Rate = e.rate
	return nil
}

// known returns an account that the book can change.
func (b *accountBook) known(name string) (entry, error) {
	switch source := b.source[name]; source {
	case "":
	case sourceFlag:
		return entry{}, refuse("account %s is named by --account: what holds for it is what serve is started with", name)
	case sourceEnvironment:
		return entry{}, refuse("account %s is named by %s: what holds for it is what serve is started with", name, accountsVariable)
	default:
		return entry{}, refuse("account %s is there because serve was started without --account, and cannot be changed", name)
	}
	e, ok := b.mu.entries[name]
	if !ok {
		return entry{}, refuse("there is no account %s", name)
	}
	return e, nil
}

// running is known for accounts that are there.
func (b *accountBook) running(name string) (entry, *blobstore.Account, error) {
	e, err := b.known(name)
	if err != nil {
		return e, nil, err
	}
	a, ok := b.service.Account(name)
	if !ok || e.removed {
		return e, nil, refuse("account %s is removed", name)
	}
	return e, a, nil
}

// Rotate implements server.AccountKeeper.
func (b *accountBook) Rotate(_ context.Context, c *server.AccountChange) (*server.AccountChanged, error) {
	e, a, err := b.running(c.Name)
	if err != nil {
		return nil, err
	}
	if c.Key < 1 || c.Key > 2 {
		return nil, refuse("key %d: want 1 or 2", c.Key)
	}
	done := &server.AccountChanged{Name: c.Name, Key: c.Key}
	keys, made, err := chooseKeys(c.Keys, 1, e.keys)
	if err != nil {
		return nil, err
	}
	done.Made, e.keys = made, slices.Clone(e.keys)
	if c.Key > len(e.keys) {
		e.keys = append(e.keys, nil)
	}
	e.keys[c.Key-1] = keys[0]
	if err := b.write(e, false); err != nil {
		return nil, fmt.Errorf("the keys of account %s are as before until the next start: %w", c.Name, err)
	}
	if err := a.SetKeys(e.keys); err != nil {
		return nil, err
	}
	done.Keys = len(e.keys)
	b.log.Info("a key was rotated", "account", c.Name, "key", c.Key)
	return done, nil
}

// Limit implements server.AccountKeeper.
func (b *accountBook) Limit(_ context.Context, c *server.AccountChange) (*server.AccountChanged, error) {
	e, a, err := b.running(c.Name)
	if err != nil {
		return nil, err
	}
	if c.Limits == nil && c.Rate == nil {
		return nil, refuse("neither limits nor a rate are given")
	}
	done := &server.AccountChanged{Name: c.Name, Keys: len(e.keys), SetRate: c.Rate != nil}
	if err := e.setBounds(c, done); err != nil {
		return nil, err
	}
	if err := b.write(e, false); err != nil {
		return nil, fmt.Errorf("what bounds account %s is as before until the next start: %w", c.Name, err)
	}
	if e.limits != nil {
		if err := a.SetLimits(*e.limits); err != nil {
			return nil, err
		}
	}
	b.log.Info("what bounds an account was changed", "account", c.Name, "limits", e.limits, "rate", e.rate)
	return done, nil
}

// adminHosts returns the names that the admin listener is reached by.
func (f *serveFlags) adminHosts() (names []string) {
	if host, _, ok := strings.Cut(f.admin, ":"); ok && host != "" {
		names = append(names, strings.ToLower(host))
	}
	for _, name := range f.adminNames {
		names = append(names, strings.ToLower(strings.TrimSuffix(name, ".")))
	}
	return names
}
