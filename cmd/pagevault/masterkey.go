package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"pagevault/pagestore"
)

// masterKeyName is the file of the master key in a data directory.
const masterKeyName = "master.key"

// masterKeyLine is what a master key's file holds, before 64 hexadecimal digits and the end of the line. The number is
// that of the form.
const masterKeyLine = "pagevault-master-key-1 "

// masterKeyFileMax bounds what is read of a file that is said to hold a key.
const masterKeyFileMax = 4 << 10

// masterKey is the key that the stores of this process are opened with, and how it came about.
type masterKey struct {
	key         pagestore.MasterKey // zero: none
	file        string              // where it is; "" for one in memory
	made        bool                // just now
	unencrypted bool                // stores that are made do not encrypt
}

// findMasterKey reads the key of a data directory. It makes one where there is nothing yet that another one could have been
// for: no file, and no store of any account. With encryption off none is needed, but by stores that were made with it.
func findMasterKey(file string, encrypt bool, home *layout) (*masterKey, error) {
	k := &masterKey{file: file, unencrypted: !encrypt}
	if home.fs != nil {
		if encrypt {
			return k, newMasterKey(&k.key)
		}
		return k, nil
	}
	if file == "" {
		k.file = filepath.Join(home.data, masterKeyName)
	}
	var err error
	if k.key, err = readMasterKey(k.file); !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if !encrypt {
		return k, nil
	}
	stores := home.unserved(nil)
	if file := filepath.Join(home.data, accountsName); exists(file) {
		stores = append(stores, file)
	}
	if len(stores) > 0 {
		return nil, fmt.Errorf("master key %s is missing, and there is data of %s that may need it: put the file back, or say with --master-key-file where it is; only if all of that was made with --encryption off, give that again",
			k.file, strings.Join(stores, ", "))
	}
	if err := newMasterKey(&k.key); err != nil {
		return nil, err
	}
	k.made = true
	return k, writeMasterKey(k.file, home.data, &k.key)
}

// existingMasterKey reads the key of a data directory if there is one: stores that do not encrypt need none.
func existingMasterKey(file string, home *layout) (*masterKey, error) {
	return findMasterKey(file, false, home)
}

func newMasterKey(key *pagestore.MasterKey) error {
	_, err := io.ReadFull(rand.Reader, key[:])
	return err
}

// readMasterKey reads a key from its file. The error of a missing one is fs.ErrNotExist. A file that others can read or
// write is refused: who has the key reads everything, who replaces it takes everything away.
func readMasterKey(file string) (key pagestore.MasterKey, err error) {
	refuse := func(format string, args ...any) (pagestore.MasterKey, error) {
		return pagestore.MasterKey{}, fmt.Errorf("master key %s "+format, append([]any{file}, args...)...)
	}
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return refuse("cannot be read: %w", cause(err))
	case info.IsDir():
		return refuse("is a directory: want a file, such as %s", filepath.Join(file, masterKeyName))
	case !info.Mode().IsRegular():
		return refuse("is not a regular file")
	case info.Mode().Perm()&0o077 != 0:
		return refuse("can be read or changed by others than its owner (mode %#o): chmod 600 %s, and think of who may have read it", info.Mode().Perm(), file)
	}
	f, err := os.Open(file)
	if err != nil {
		return refuse("cannot be read: %w", cause(err))
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, masterKeyFileMax))
	if err != nil {
		return refuse("cannot be read: %w", cause(err))
	}
	if key, err = parseMasterKey(string(text)); err != nil {
		return refuse("%w", err)
	}
	return key, nil
}

// parseMasterKey reads the text of a key's file. Its errors do not repeat it.
func parseMasterKey(text string) (key pagestore.MasterKey, err error) {
	digits, ok := strings.CutPrefix(strings.TrimSuffix(text, "\n"), masterKeyLine)
	if !ok || len(digits) != hex.EncodedLen(len(key)) {
		return pagestore.MasterKey{}, fmt.Errorf("is not a master key: want one line, %q and %d hexadecimal digits", strings.TrimSpace(masterKeyLine), hex.EncodedLen(len(key)))
	}
	if _, err := hex.Decode(key[:], []byte(digits)); err != nil || key.IsZero() {
		return pagestore.MasterKey{}, errors.New("is not a master key: what should be its digits is something else")
	}
	return key, nil
}

// writeMasterKey makes the file of a new key, in the directory data or one that exists: a temporary file, synced, under the
// final name only if nobody has taken that meanwhile, then the sync of the directory. When it returns nil the key survives
// any crash, so that nothing is ever sealed with a key that is lost.
func writeMasterKey(file, data string, key *pagestore.MasterKey) error {
	dir := filepath.Dir(file)
	fail := func(err error) error { return fmt.Errorf("making master key %s: %w", file, cause(err)) }
	var made []string // directories whose entries must be synced, from the top
	if dir == data {
		there, rest, err := existing(dir)
		if err != nil {
			return fail(err)
		}
		for up := filepath.Join(there, rest); up != there; up = filepath.Dir(up) {
			made = append([]string{filepath.Dir(up)}, made...)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fail(err)
		}
	}
	f, err := os.CreateTemp(dir, ".master-key-") // mode 0600
	if err != nil {
		return fail(err)
	}
	defer os.Remove(f.Name())
	_, err = fmt.Fprintf(f, "%s%x\n", masterKeyLine, key[:])
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fail(err)
	}
	if err := os.Link(f.Name(), file); err != nil { // unlike a rename it never replaces another key
		return fail(linkCause(err))
	}
	for _, dir := range append(made, dir) {
		if err := syncDir(dir); err != nil {
			return fail(err)
		}
	}
	return nil
}

// linkCause returns what went wrong without the names of the files.
func linkCause(err error) error {
	var le *os.LinkError
	if errors.As(err, &le) {
		return le.Err
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// shown is what the first lines of serve say about the key.
func (k *masterKey) shown() string {
	switch {
	case k.file == "" && k.unencrypted:
		return "none: nothing is encrypted"
	case k.file == "":
		return "in memory: content is sealed with a key that only this process has"
	case k.key.IsZero():
		return "none: new data is not encrypted"
	case k.made:
		return k.file + ", made just now: without it nothing can be read, so copy it to a safe place, apart from the data"
	case k.unencrypted:
		return k.file + ": for what was encrypted before; new data is not encrypted"
	}
	return k.file + ": without it nothing can be read; there should be a copy in a safe place, apart from the data"
}
