package replication

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pagevault/replication/segment"
)

// benchReadLog is a log with a sealed segment of records of 4 MiB on the operating system's file system.
func benchReadLog(b *testing.B, members int) (l *Log, dirs []string, records []*Record) {
	dir := benchDir(b)
	var ms []Member
	for i := range members {
		dirs = append(dirs, filepath.Join(dir, fmt.Sprintf("replica-%d", i+1)))
		ms = append(ms, Member{Dir: dirs[i]})
	}
	l, err := Open(ms, Options{Passive: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := l.Close(); err != nil {
			b.Error(err)
		}
	})
	data := make([]byte, 4<<20)
	for range 16 {
		records = append(records, append1(b, l, "meta", string(data)))
	}
	if err := l.Rotate(); err != nil {
		b.Fatal(err)
	}
	return l, dirs, records
}

func benchReads(b *testing.B, fn func(b *testing.B, l *Log, dirs []string, size int, read func(i int))) {
	for _, members := range []int{1, 3} {
		for _, size := range []int{4 << 10, 64 << 10, 4 << 20} {
			b.Run(fmt.Sprintf("size=%d/members=%d", size, members), func(b *testing.B) {
				l, dirs, records := benchReadLog(b, members)
				p := make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				fn(b, l, dirs, size, func(i int) {
					at := records[i%len(records)].At
					at.Offset += uint32(i/len(records)*size) % uint32(4<<20)
					if err := l.ReadAt(p, at); err != nil {
						b.Fatal(err)
					}
				})
			})
		}
	}
}

// BenchmarkReadCached reads what is in the page cache.
func BenchmarkReadCached(b *testing.B) {
	benchReads(b, func(b *testing.B, _ *Log, _ []string, _ int, read func(i int)) {
		for i := 0; b.Loop(); i++ {
			read(i)
		}
	})
}

// BenchmarkReadDisk reads what the page cache was told to forget.
func BenchmarkReadDisk(b *testing.B) {
	benchReads(b, func(b *testing.B, _ *Log, dirs []string, size int, read func(i int)) {
		forget := func() {
			for _, dir := range dirs {
				f, err := os.Open(filepath.Join(dir, segment.Name(1, true)))
				if err != nil {
					b.Fatal(err)
				}
				uncache(b, f)
				f.Close()
			}
		}
		for i := 0; b.Loop(); i++ {
			if i%16 == 0 {
				b.StopTimer()
				forget()
				b.StartTimer()
			}
			read(i)
		}
	})
}
