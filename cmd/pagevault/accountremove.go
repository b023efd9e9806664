package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"pagevault/blobstore"
	"pagevault/server"
)

// Remove implements server.AccountKeeper.
func (b *accountBook) Remove(ctx context.Context, c *server.AccountChange) (*server.AccountChanged, error) {
	e, err := b.known(c.Name)
	if err != nil {
		return nil, err
	}
	if c.DeleteData && c.Again != c.Name {
		return nil, refuse("to delete what account %s has its name must be given again, and %q is not it", c.Name, c.Again)
	}
	dirs := b.home.dirsOf(c.Name)
	if !e.removed {
		a, ok := b.service.Account(c.Name)
		if !ok {
			return nil, refuse("account %s is not served", c.Name)
		}
		h := a.Health()
		for i := range h.Members {
			m := &h.Members[i]
			if m.State != blobstore.MemberCurrent && m.State != blobstore.MemberJoining {
				return nil, refuse("member %d of account %s, %s, is %s: what it has could not be removed", m.Number, c.Name, m.Dir, m.State)
			}
			if !slices.Contains(dirs, m.Dir) {
				dirs = append(dirs, m.Dir)
			}
		}
		tomb := entry{name: c.Name, removed: true}
		gone, err := b.service.Remove(ctx, blobstore.Removal{Name: c.Name, Filled: c.DeleteData, Commit: func() error { return b.write(tomb, false) }})
		if !gone {
			return nil, err
		}
		if err != nil {
			b.log.Warn("the store of a removed account did not end well", "account", c.Name, "error", err)
		}
	}
	if err := b.erase(c.Name, dirs); err != nil {
		return nil, fmt.Errorf("account %s is gone, but not all that it had on the disks: %w (the same command, or the next start, goes on with it)", c.Name, err)
	}
	b.log.Info("an account was removed", "account", c.Name)
	return &server.AccountChanged{Name: c.Name, SetRate: true}, nil
}

// erase removes what an account that is gone has in these directories, and then the last that the file says of it.
func (b *accountBook) erase(name string, dirs []string) error {
	for _, dir := range dirs {
		if err := b.fs.RemoveAll(dir); err != nil {
			return err
		}
		if err := syncEntry(b.fs, dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return b.write(entry{name: name}, true)
}

// finishRemovals goes on with what the end of an earlier process has left. What cannot be removed now stays noted.
func (b *accountBook) finishRemovals() {
	var removed []string
	for name, e := range b.mu.entries {
		if e.removed {
			removed = append(removed, name)
		}
	}
	for _, name := range removed {
		err := b.home.allThere(removed)
		if err == nil {
			err = b.erase(name, b.home.dirsOf(name))
		}
		if err != nil {
			b.log.Warn("what a removed account had on the disks could not be removed as a whole; the next start tries again", "account", name, "error", err)
			continue
		}
		b.log.Info("removed what a removed account had left on the disks", "account", name)
	}
}

// dirsOf returns the directories of an account, whether they are there or not.
func (l *layout) dirsOf(account string) (dirs []string) {
	for _, dir := range l.members {
		dirs = append(dirs, l.join(dir, account))
	}
	return append(dirs, l.join(l.index, account))
}

// allThere returns an error if a member's directory cannot be used, or holds nothing of any account, beside those that are
// being removed, while others do: its disk may not be mounted, and what it has would come back with it.
func (l *layout) allThere(removed []string) error {
	held, some := make([]bool, len(l.members)), false
	for i, dir := range l.members {
		held[i] = slices.ContainsFunc(l.accountsIn(dir, true), func(name string) bool { return !slices.Contains(removed, name) })
		some = some || held[i]
	}
	for i, dir := range l.members {
		switch {
		case l.fs == nil && l.unusable[i] != nil:
			return l.unusable[i]
		case some && !held[i]:
			return fmt.Errorf("%s holds nothing of any account while others do: its disk may not be mounted", dir)
		}
	}
	return nil
}

// exists reports whether there is something of that name. What cannot be found out about is there.
func exists(name string) bool {
	_, err := os.Lstat(name)
	return !errors.Is(err, fs.ErrNotExist)
}
