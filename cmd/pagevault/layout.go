package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/pagestore"
	"pagevault/replication"
)

// defaultMembers is how many copies there are if no --replica says otherwise.
const defaultMembers = 3

// layout is where stores live: folders of accounts below one folder for the index and one for each member.
type layout struct {
	fs      vfs.FS // nil: the operating system's files
	data    string // "": memory
	index   string
	members []string
}

// memoryLayout keeps everything in one file system in memory. There is one member: copies of memory in the same memory
// would guard against nothing.
func memoryLayout() *layout {
	return &layout{fs: vfs.NewMem(), index: "index", members: []string{"replica-1"}}
}

// diskLayout makes the folders that are missing. replicas are the members' folders; none means folders below data.
func diskLayout(data string, replicas []string) (*layout, error) {
	data, err := filepath.Abs(data)
	if err != nil {
		return nil, err
	}
	l := &layout{data: data, index: filepath.Join(data, "index")}
	for i := range defaultMembers {
		l.members = append(l.members, filepath.Join(data, fmt.Sprintf("replica-%d", i+1)))
	}
	if len(replicas) > 0 {
		l.members = nil
		for _, r := range replicas {
			if r, err = filepath.Abs(r); err != nil {
				return nil, err
			}
			l.members = append(l.members, r)
		}
	}
	for _, dir := range append([]string{l.index}, l.members...) {
		if err := makeWritable(dir); err != nil {
			return nil, err
		}
	}
	return l, l.checkDistinct()
}

// makeWritable makes a folder and shows that files can be made in it.
func makeWritable(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("directory %s cannot be made: %w", dir, cause(err))
	}
	f, err := os.CreateTemp(dir, ".writable")
	if err != nil {
		return fmt.Errorf("directory %s cannot be written to: %w", dir, cause(err))
	}
	f.Close()
	return os.Remove(f.Name())
}

// cause returns what went wrong without the path, which the message around it has.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// checkDistinct returns an error if two folders are the same one, by whatever path. Two members in one folder would
// write over each other, and be one copy at best.
func (l *layout) checkDistinct() error {
	dirs := append([]string{l.index}, l.members...)
	infos := make([]os.FileInfo, len(dirs))
	for i, dir := range dirs {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		infos[i] = info
		for j := range i {
			if os.SameFile(infos[j], info) {
				if j == 0 {
					return fmt.Errorf("member %d is the directory of the index, %s", i, dir)
				}
				return fmt.Errorf("members %d and %d are the same directory, %s", j, i, dir)
			}
		}
	}
	return nil
}

// sharedDevice returns the members that lie on a device with another one, numbered from 1; nil if each has its own.
func (l *layout) sharedDevice() []int {
	if l.fs != nil {
		return nil
	}
	on := map[uint64][]int{}
	for i, dir := range l.members {
		info, err := os.Stat(dir)
		if err != nil {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			on[uint64(st.Dev)] = append(on[uint64(st.Dev)], i+1)
		}
	}
	var shared []int
	for i := range l.members {
		for _, group := range on {
			if len(group) > 1 && slices.Contains(group, i+1) {
				shared = append(shared, i+1)
			}
		}
	}
	return shared
}

// store returns where the store of an account lives.
func (l *layout) store(account string) pagestore.Options {
	o := pagestore.Options{FS: l.fs, Dir: l.join(l.index, account)}
	for _, dir := range l.members {
		o.Members = append(o.Members, replication.Member{FS: l.fs, Dir: l.join(dir, account)})
	}
	return o
}

func (l *layout) join(elem ...string) string {
	if l.fs != nil {
		return l.fs.PathJoin(elem...)
	}
	return filepath.Join(elem...)
}

// parseSize reads a number of bytes, with KiB, MiB, GiB or TiB behind it if need be.
func parseSize(text string) (int64, error) {
	shift := 0
	number := text
	for i, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if n, ok := strings.CutSuffix(text, unit); ok {
			number, shift = n, 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n <= 0 || n > 1<<62>>shift {
		return 0, fmt.Errorf("%q is not a size: want bytes, or a number with KiB, MiB, GiB or TiB", text)
	}
	return n << shift, nil
}
