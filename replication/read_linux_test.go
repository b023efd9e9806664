package replication

import (
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// uncache has the page cache forget a file, which must have been synced.
func uncache(t testing.TB, f *os.File) {
	t.Helper()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
}

// hangFS is the operating system's, but reads that are not of the page cache hang.
type hangFS struct {
	vfs.FS
	hang *atomic.Pointer[chan struct{}]
}

type hangFile struct {
	vfs.File
	fs *hangFS
}

func (h *hangFS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := h.FS.Open(name, o...)
	if err != nil {
		return nil, err
	}
	return &hangFile{f, h}, nil
}

func (f *hangFile) ReadAt(p []byte, off int64) (int, error) {
	if c := f.fs.hang.Load(); c != nil {
		<-*c
	}
	return f.File.ReadAt(p, off)
}

// TestReadFromPageCache reads what is in memory from members of which no read from the disk returns, and without allocating
// memory. Where the file system cannot tell what is in memory, reads wait for the disk.
func TestReadFromPageCache(t *testing.T) {
	var hang atomic.Pointer[chan struct{}]
	var members []Member
	for range 3 {
		members = append(members, Member{FS: &hangFS{vfs.Default, &hang}, Dir: t.TempDir()})
	}
	l := mustOpen(t, members, Options{Passive: true})
	r := append1(t, l, "meta", strings.Repeat("d", 2*pieceMax))
	p := make([]byte, 2*pieceMax)
	if err := l.ReadAt(p, r.At); err != nil || string(p) != string(r.Data[0]) { // opens the file
		t.Fatal("wrong bytes", err)
	}
	first := l.sources(1)[0]
	f, err := l.files.acquire(fileKey{member: first.m, segment: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.files.release(f)
	if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_NOATIME == 0 {
		t.Errorf("reading changes the time of access: %#x, %v", flags, err)
	}
	c := make(chan struct{})
	hang.Store(&c)
	clear(p)
	if _, supported := readNoWait(f.Fd(), p[:1], int64(r.At.Offset)); !supported {
		if first.cached(p, int64(r.At.Offset)) || !f.waiting.Load() {
			t.Error("read from a page cache that cannot be asked")
		}
		close(c)
		return
	}
	if n := testing.AllocsPerRun(10, func() {
		if err := l.ReadAt(p, r.At); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if string(p) != string(r.Data[0]) {
		t.Error("wrong bytes")
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if first.cached(p[:20], info.Size()-10) {
		t.Error("more was read than the file has")
	}
	close(c)
}
