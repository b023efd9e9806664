package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/blobstore"
	"pagevault/internal/digest"
	"pagevault/pagestore"
	"pagevault/server"
)

// accountsName is the file of the accounts that were added to a running server, in its data directory.
const accountsName = "accounts"

// The file of accounts, see docs/on-disk-format.md:
//
//	0    8   "pvaccts" and a zero
//	8    4   version, 1
//	12   4   length of the body, n
//	16   8   id of the master key that the body is sealed with; zeros: it is not
//	24   32  salt of the key; zeros without one
//	56   n   body, the tag of 16 bytes at its end if it is sealed
//	56+n 4   CRC of all that
const (
	accountsMagic   = "pvaccts\x00"
	accountsVersion = 1
	accountsHead    = 56
	accountsTag     = 16
	// accountsMax bounds how many there are: each has a store of its own, which takes some MiB and a dozen files.
	accountsMax = 4096
	// accountKeyMax bounds a key in bytes. Azure's have 64.
	accountKeyMax = 1 << 10
	// accountsFileMax is more than accountsMax accounts take.
	accountsFileMax = 16 << 20
)

// Flags of an account in the body.
const (
	accountIsRemoved = 1 << iota // it is gone, but for what it may have left on the disks
	accountHasLimits
	accountHasRate
	accountKnownFlags = 1<<iota - 1
)

// entry is an account in the file.
type entry struct {
	name    string
	removed bool // it is gone, but for what it may have left on the disks; it has nothing else then
	keys    [][]byte
	limits  *blobstore.Limits // nil: those of accounts that are not named
	rate    *server.Rate      // the same
}

var accountsCRC = crc32.MakeTable(crc32.Castagnoli)

// encodeAccounts returns the bytes of the file. salt is used for nothing else, ever.
func encodeAccounts(entries []entry, master *pagestore.MasterKey, salt [32]byte) []byte {
	body := appendAccounts(nil, entries)
	if master.IsZero() {
		salt = [32]byte{}
	}
	n := len(body)
	if !master.IsZero() {
		n += accountsTag
	}
	id := master.ID()
	p := append(make([]byte, 0, accountsHead+n+4), accountsMagic...)
	p = binary.LittleEndian.AppendUint32(p, accountsVersion)
	p = binary.LittleEndian.AppendUint32(p, uint32(n))
	p = append(append(p, id[:]...), salt[:]...)
	if master.IsZero() {
		p = append(p, body...)
	} else {
		p = accountsCipher(master, salt).Seal(p, make([]byte, 12), body, p)
	}
	return binary.LittleEndian.AppendUint32(p, crc32.Checksum(p, accountsCRC))
}

// accountsCipher returns what seals a body. Its key is used for one body only, so the nonce may be zero.
func accountsCipher(master *pagestore.MasterKey, salt [32]byte) cipher.AEAD {
	var key [32]byte
	digest.Derive(key[:], "pagevault accounts file 1", master[:], salt[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // the key's length is fixed by its type
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES has the block size GCM wants
	}
	return aead
}

// decodeAccounts reads what encodeAccounts has written. What differs from that in a single bit is refused.
func decodeAccounts(p []byte, master *pagestore.MasterKey) ([]entry, error) {
	if len(p) < accountsHead+4 || string(p[:8]) != accountsMagic {
		return nil, errors.New("is not a file of accounts, or has been cut off")
	}
	if v := binary.LittleEndian.Uint32(p[8:]); v != accountsVersion {
		return nil, fmt.Errorf("has version %d of its format: this program reads version %d", v, accountsVersion)
	}
	end := len(p) - 4
	if int64(binary.LittleEndian.Uint32(p[12:])) != int64(end-accountsHead) {
		return nil, errors.New("is damaged: it does not have the length that it says")
	}
	if want, got := binary.LittleEndian.Uint32(p[end:]), crc32.Checksum(p[:end], accountsCRC); want != got {
		return nil, fmt.Errorf("is damaged: its checksum is %#08x and should be %#08x", got, want)
	}
	id, body := [8]byte(p[16:24]), p[accountsHead:end]
	salt := [32]byte(p[24:accountsHead])
	if id == ([8]byte{}) {
		if salt != ([32]byte{}) {
			return nil, errors.New("is damaged: it has a salt and is not sealed")
		}
		if !master.IsZero() { // anybody who can write the directory could have made it
			return nil, errors.New("is not sealed, and there is a master key that it should be sealed with: it is forged, or from before there was a key; without it the accounts can be added anew")
		}
		return parseAccounts1(body)
	}
	if have := master.ID(); id != have {
		return nil, fmt.Errorf("is sealed with master key %x, and the one that there is is %v: %w", id, have, pagestore.ErrWrongKey)
	}
	body, err := accountsCipher(master, salt).Open(nil, make([]byte, 12), body, p[:accountsHead])
	if err != nil {
		return nil, errors.New("is damaged or forged: it does not open")
	}
	return parseAccounts1(body)
}

// appendAccounts appends the body: how many accounts, then each, in the order of their names.
func appendAccounts(dst []byte, entries []entry) []byte {
	entries = slices.SortedFunc(slices.Values(entries), func(a, b entry) int { return strings.Compare(a.name, b.name) })
	dst = binary.AppendUvarint(dst, uint64(len(entries)))
	text := func(p []byte) { dst = append(binary.AppendUvarint(dst, uint64(len(p))), p...) }
	for i := range entries {
		e := &entries[i]
		text([]byte(e.name))
		flags := byte(0)
		if e.removed {
			flags |= accountIsRemoved
		}
		if e.limits != nil {
			flags |= accountHasLimits
		}
		if e.rate != nil {
			flags |= accountHasRate
		}
		dst = append(dst, flags)
		dst = binary.AppendUvarint(dst, uint64(len(e.keys)))
		for _, key := range e.keys {
			text(key)
		}
		if l := e.limits; l != nil {
			for _, n := range []int64{l.TotalBytes, l.DataBytes, l.MetadataBytes} {
				dst = binary.AppendUvarint(dst, uint64(n))
			}
		}
		if e.rate != nil {
			dst = binary.AppendUvarint(dst, uint64(e.rate.Requests))
			dst = binary.AppendUvarint(dst, uint64(e.rate.Bytes))
		}
	}
	return dst
}

var errAccountsBody = errors.New("is damaged: what it says of accounts makes no sense")

// parseAccounts1 reads a body of version 1. There is one way to write each.
func parseAccounts1(p []byte) ([]entry, error) {
	r := bodyReader{p: p}
	n := r.number(accountsMax)
	var entries []entry
	for range n {
		e := r.entry()
		if r.bad || len(entries) > 0 && entries[len(entries)-1].name >= e.name {
			return nil, errAccountsBody
		}
		entries = append(entries, e)
	}
	if r.bad || len(r.p) > 0 {
		return nil, errAccountsBody
	}
	return entries, nil
}

// bodyReader reads a body. After the first thing that is wrong it is bad.
type bodyReader struct {
	p   []byte
	bad bool
}

func (r *bodyReader) number(most int64) int64 {
	n, used := binary.Uvarint(r.p)
	if used <= 0 || n > uint64(most) || used != len(binary.AppendUvarint(nil, n)) {
		r.bad, r.p = true, nil
		return 0
	}
	r.p = r.p[used:]
	return int64(n)
}

func (r *bodyReader) bytes(n int64) []byte {
	if n > int64(len(r.p)) {
		r.bad, r.p = true, nil
		return nil
	}
	out := bytes.Clone(r.p[:n])
	r.p = r.p[n:]
	return out
}

func (r *bodyReader) entry() (e entry) {
	e.name = string(r.bytes(r.number(accountNameMax)))
	flags := byte(0xff)
	if f := r.bytes(1); f != nil {
		flags = f[0]
	}
	e.removed = flags&accountIsRemoved != 0
	for range r.number(2) {
		e.keys = append(e.keys, r.bytes(r.number(accountKeyMax)))
	}
	if flags&accountHasLimits != 0 {
		e.limits = &blobstore.Limits{TotalBytes: r.number(math.MaxInt64), DataBytes: r.number(math.MaxInt64), MetadataBytes: r.number(math.MaxInt64)}
	}
	if flags&accountHasRate != 0 {
		e.rate = &server.Rate{Requests: r.number(math.MaxInt64), Bytes: r.number(math.MaxInt64)}
	}
	switch {
	case !validAccountName(e.name), flags&^accountKnownFlags != 0:
		r.bad = true
	case e.removed && (len(e.keys) > 0 || flags != accountIsRemoved):
		r.bad = true
	case !e.removed && (len(e.keys) == 0 || slices.ContainsFunc(e.keys, func(k []byte) bool { return len(k) == 0 })):
		r.bad = true
	case e.limits != nil && !sensible(*e.limits):
		r.bad = true
	}
	return e
}

// sensible reports whether limits can be kept: both or none, and no more than their total.
func sensible(l blobstore.Limits) bool {
	if l == (blobstore.Limits{}) {
		return true
	}
	return l.DataBytes > 0 && l.MetadataBytes > 0 && l.TotalBytes >= l.DataBytes && l.TotalBytes-l.DataBytes >= l.MetadataBytes
}

// readAccounts reads the file. One that is not there has no accounts.
func readAccounts(fs vfs.FS, file string, master *pagestore.MasterKey) ([]entry, error) {
	fail := func(err error) ([]entry, error) { return nil, fmt.Errorf("file of accounts %s %w", file, err) }
	f, err := fs.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return fail(fmt.Errorf("cannot be read: %w", cause(err)))
	}
	defer f.Close()
	p, err := io.ReadAll(io.LimitReader(f, accountsFileMax))
	if err != nil {
		return fail(fmt.Errorf("cannot be read: %w", cause(err)))
	}
	entries, err := decodeAccounts(p, master)
	if err != nil {
		return fail(err)
	}
	return entries, nil
}

// writeAccounts replaces the file: another one, synced, under a name of its own, then the rename, then the sync of the
// directory. When it returns nil the new one survives any crash, and at any time there is one of the two, whole. An error
// that is blobstore.ErrUncertain leaves open which.
func writeAccounts(fs vfs.FS, file string, entries []entry, master *pagestore.MasterKey) error {
	fail := func(err error) error { return fmt.Errorf("writing the file of accounts %s: %w", file, cause(err)) }
	var salt [32]byte
	if _, err := io.ReadFull(rand.Reader, salt[:]); err != nil {
		return fail(err)
	}
	temporary := file + ".new"
	f, err := fs.Create(temporary, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fail(err)
	}
	_, err = f.Write(encodeAccounts(entries, master, salt))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fail(err)
	}
	if err := fs.Rename(temporary, file); err != nil {
		return fail(fmt.Errorf("%w (whether it was replaced is not certain: %w)", linkCause(err), blobstore.ErrUncertain))
	}
	if err := syncEntry(fs, file); err != nil {
		return fail(fmt.Errorf("%w (whether it was replaced is not certain: %w)", cause(err), blobstore.ErrUncertain))
	}
	return nil
}

// syncEntry makes the name of a file or directory durable.
func syncEntry(fs vfs.FS, name string) error {
	d, err := fs.OpenDir(fs.PathDir(name))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// privateFS makes files that only their owner reads.
type privateFS struct{ vfs.FS }

// Create is that of the file system, but for the mode.
func (p privateFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // from the start: a reader keeps what it has opened
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	return p.FS.OpenReadWrite(name, category)
}
