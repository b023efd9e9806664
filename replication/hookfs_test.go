package replication

import (
	"fmt"
	"io"
	"os"
	"sort"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/replication/segment"
)

// fsOp is an operation that changes a file system or makes a change durable.
type fsOp struct {
	member int
	kind   string // create, open, write, sync, sync-dir, close, rename, remove, mkdir, lock
	path   string
	to     string // of a rename
	off    int64  // of a write
	bytes  int    // of a write
}

func (op fsOp) String() string {
	switch op.kind {
	case "write":
		return fmt.Sprintf("%s %s [%d, %d)", op.kind, op.path, op.off, op.off+int64(op.bytes))
	case "rename":
		return fmt.Sprintf("%s %s %s", op.kind, op.path, op.to)
	}
	return op.kind + " " + op.path
}

// hook stands in the way of an operation: it calls do, or does not and returns an error. For a write, do takes the number
// of bytes to write; otherwise its argument means nothing.
type hook func(op fsOp, do func(n int) error) error

// hookFS is a file system that calls hook for every fsOp. Reads pass.
type hookFS struct {
	vfs.FS
	member int
	hook   hook
}

func (h *hookFS) call(op fsOp, do func() error) error {
	op.member = h.member
	return h.hook(op, func(int) error { return do() })
}

func (h *hookFS) file(f vfs.File, name string, dir bool) vfs.File {
	return &hookFile{File: f, fs: h, name: h.FS.PathBase(name), dir: dir}
}

func (h *hookFS) Create(name string, c vfs.DiskWriteCategory) (f vfs.File, err error) {
	err = h.call(fsOp{kind: "create", path: h.PathBase(name)}, func() error {
		f, err = h.FS.Create(name, c)
		return err
	})
	if err != nil {
		return nil, err
	}
	return h.file(f, name, false), nil
}

func (h *hookFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (f vfs.File, err error) {
	err = h.call(fsOp{kind: "open", path: h.PathBase(name)}, func() error {
		f, err = h.FS.OpenReadWrite(name, c, o...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return h.file(f, name, false), nil
}

func (h *hookFS) OpenDir(name string) (vfs.File, error) {
	f, err := h.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return h.file(f, name, true), nil
}

func (h *hookFS) Rename(from, to string) error {
	return h.call(fsOp{kind: "rename", path: h.PathBase(from), to: h.PathBase(to)}, func() error { return h.FS.Rename(from, to) })
}

func (h *hookFS) Remove(name string) error {
	return h.call(fsOp{kind: "remove", path: h.PathBase(name)}, func() error { return h.FS.Remove(name) })
}

func (h *hookFS) MkdirAll(name string, perm os.FileMode) error {
	return h.call(fsOp{kind: "mkdir", path: name}, func() error { return h.FS.MkdirAll(name, perm) })
}

func (h *hookFS) Lock(name string) (c io.Closer, err error) {
	err = h.call(fsOp{kind: "lock", path: h.PathBase(name)}, func() error {
		c, err = h.FS.Lock(name)
		return err
	})
	return c, err
}

func (h *hookFS) Link(string, string) error { panic("not expected") }
func (h *hookFS) ReuseForWrite(string, string, vfs.DiskWriteCategory) (vfs.File, error) {
	panic("not expected")
}

type hookFile struct {
	vfs.File
	fs   *hookFS
	name string
	dir  bool
	pos  int64
}

func (f *hookFile) Write(p []byte) (n int, err error) {
	err = f.fs.hook(fsOp{member: f.fs.member, kind: "write", path: f.name, off: f.pos, bytes: len(p)}, func(k int) error {
		n, err = f.File.Write(p[:k])
		return err
	})
	f.pos += int64(n)
	return n, err
}

func (f *hookFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.fs.hook(fsOp{member: f.fs.member, kind: "write", path: f.name, off: off, bytes: len(p)}, func(k int) error {
		n, err = f.File.WriteAt(p[:k], off)
		return err
	})
	return n, err
}

func (f *hookFile) Sync() error {
	kind := "sync"
	if f.dir {
		kind = "sync-dir"
	}
	return f.fs.call(fsOp{kind: kind, path: f.name}, f.File.Sync)
}

func (f *hookFile) SyncData() error {
	return f.fs.call(fsOp{kind: "sync", path: f.name}, f.File.SyncData)
}

func (f *hookFile) Close() error {
	if f.dir {
		return f.File.Close()
	}
	return f.fs.call(fsOp{kind: "close", path: f.name}, f.File.Close)
}

// hooked returns the members with h in the way of each.
func hooked(members []Member, h hook) []Member {
	out := make([]Member, len(members))
	for i, m := range members {
		out[i] = Member{FS: &hookFS{FS: m.FS, member: i, hook: h}, Dir: m.Dir}
	}
	return out
}

// contents returns the files of a member by name, those of the checkpoint with its directory in front, but for those that differ between members by right.
func contents(m Member) (map[string]string, error) {
	list, err := m.FS.List(m.Dir)
	if err != nil {
		return nil, err
	}
	sort.Strings(list)
	out := map[string]string{}
	for _, name := range list {
		if name == "LOCK" || name == "MEMBER" || strings.HasPrefix(name, segment.ScrubName) {
			continue
		}
		if name == segment.CheckpointDir {
			inside, err := m.FS.List(m.FS.PathJoin(m.Dir, name))
			if err != nil {
				return nil, err
			}
			for _, file := range inside {
				if err := add(out, m, name+"/"+file); err != nil {
					return nil, err
				}
			}
			continue
		}
		if err := add(out, m, name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func add(out map[string]string, m Member, name string) error {
	b, err := readFile(m, name)
	out[name] = string(b)
	return err
}

func readFile(m Member, name string) ([]byte, error) {
	f, err := m.FS.Open(m.FS.PathJoin(m.Dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// writeFile replaces a member's file.
func writeFile(m Member, name string, b []byte) error {
	f, err := m.FS.Create(m.FS.PathJoin(m.Dir, name), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if _, err := f.Write(append([]byte(nil), b...)); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}
