package replication

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// benchDir is where the benchmarks write: a directory in PAGEVAULT_BENCH_DIR, which should be on the disk to be measured,
// or in the system's temporary directory.
func benchDir(b *testing.B) string {
	dir, err := os.MkdirTemp(os.Getenv("PAGEVAULT_BENCH_DIR"), "replication-bench")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			b.Error(err)
		}
	})
	return dir
}

// benchLog is a log on the operating system's file system with a goroutine that gives every record back to the appender
// that waits for it, as requests wait for their writes.
type benchLog struct {
	b    *testing.B
	l    *Log
	size int
}

func newBenchLog(b *testing.B, members, size int) *benchLog {
	dir := benchDir(b)
	var ms []Member
	for i := range members {
		ms = append(ms, Member{Dir: filepath.Join(dir, fmt.Sprintf("replica-%d", i+1))})
	}
	l, err := Open(ms, Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := l.Close(); err != nil {
			b.Error(err)
		}
	})
	go func() {
		var buf []*Record
		var err error
		for {
			if buf, err = l.Next(buf); err != nil {
				return
			}
			for _, r := range buf {
				r.User.(chan struct{}) <- struct{}{}
			}
		}
	}()
	return &benchLog{b: b, l: l, size: size}
}

// run appends n records from some goroutines, each of which waits for one record before it brings the next.
func (bl *benchLog) run(n, appenders int) {
	var wg sync.WaitGroup
	for g := range appenders {
		k := n / appenders
		if g < n%appenders {
			k++
		}
		wg.Go(func() {
			r := &Record{Meta: make([]byte, 100), Data: [][]byte{make([]byte, bl.size)}, User: make(chan struct{}, 1)}
			for range k {
				if _, err := bl.l.Append(r); err != nil {
					bl.b.Error(err)
					return
				}
				<-r.User.(chan struct{})
			}
		})
	}
	wg.Wait()
}

// benchRaw is files without a log.
type benchRaw struct {
	b     *testing.B
	files []vfs.File
	data  []byte

	reserved []reservation // of the files; nil: none asks for blocks ahead
}

func newBenchRaw(b *testing.B, members, size int) *benchRaw {
	dir := benchDir(b)
	r := &benchRaw{b: b, data: make([]byte, size)}
	for i := range members {
		f, err := vfs.Default.Create(filepath.Join(dir, fmt.Sprint(i)), vfs.WriteCategoryUnspecified)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { f.Close() })
		r.files = append(r.files, f)
	}
	return r
}

// run writes n pieces to every file, all files at the same time, and syncs after each batch.
func (r *benchRaw) run(n, batch int) {
	for n > 0 {
		k := min(batch, n)
		n -= k
		var wg sync.WaitGroup
		for i, f := range r.files {
			wg.Go(func() {
				for range k {
					if r.reserved != nil {
						r.reserved[i].ahead(f, r.reserved[i].written+int64(len(r.data)))
					}
					if _, err := f.Write(r.data); err != nil {
						r.b.Error(err)
					}
				}
				if err := f.SyncData(); err != nil {
					r.b.Error(err)
				}
			})
		}
		wg.Wait()
	}
}

func benchCases(b *testing.B, fn func(b *testing.B, size, members, appenders int)) {
	for _, size := range []int{4 << 10, 64 << 10, 4 << 20} {
		for _, members := range []int{1, 3} {
			for _, appenders := range []int{1, 16, 64} {
				b.Run(fmt.Sprintf("size=%d/members=%d/appenders=%d", size, members, appenders), func(b *testing.B) {
					fn(b, size, members, appenders)
				})
			}
		}
	}
}

// BenchmarkAppend: durable appends.
func BenchmarkAppend(b *testing.B) {
	benchCases(b, func(b *testing.B, size, members, appenders int) {
		bl := newBenchLog(b, members, size)
		b.SetBytes(int64(size))
		b.ReportAllocs()
		b.ResetTimer()
		bl.run(b.N, appenders)
		b.StopTimer()
		s := bl.l.Stats()
		b.ReportMetric(float64(s.Records)/float64(max(s.Batches, 1)), "records/batch")
	})
}

// BenchmarkAgainstRaw takes turns between the log and bare files that are written and synced in the same batches, so that
// whatever else keeps the disk busy disturbs both. "of-raw" is the speed of the log over that of the files.
func BenchmarkAgainstRaw(b *testing.B) {
	benchCases(b, func(b *testing.B, size, members, appenders int) {
		bl, raw := newBenchLog(b, members, size), newBenchRaw(b, members, size)
		turn := max(4*appenders, min(200, 64<<20/size)) // records; some tenths of a second
		var tookLog, tookRaw time.Duration
		var before Stats
		b.ResetTimer()
		for range b.N {
			start := time.Now()
			bl.run(turn, appenders)
			tookLog += time.Since(start)
			s := bl.l.Stats()
			batch := int((s.Records - before.Records) / (s.Batches - before.Batches))
			before = s
			start = time.Now()
			raw.run(turn, batch)
			tookRaw += time.Since(start)
		}
		b.StopTimer()
		mb := float64(b.N*turn*size) / 1e6
		b.ReportMetric(mb/tookLog.Seconds(), "MB/s-log")
		b.ReportMetric(mb/tookRaw.Seconds(), "MB/s-raw")
		b.ReportMetric(tookRaw.Seconds()/tookLog.Seconds(), "of-raw")
		b.ReportMetric(float64(before.Records)/float64(before.Batches), "records/batch")
	})
}

// BenchmarkOpenManySegments opens a log of 4,000 sealed segments, a terabyte's worth, on three members: opening reads each
// one's header and footer on every member, and no records.
func BenchmarkOpenManySegments(b *testing.B) {
	const n = 4000
	members := memMembers(3)
	l, err := Open(members, Options{})
	if err != nil {
		b.Fatal(err)
	}
	for range n {
		append1(b, l, "meta", "data")
		if err := l.Rotate(); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	var onDisk []Member
	for i, m := range members {
		files := imageOf(b, m)
		d := Member{FS: vfs.Default, Dir: filepath.Join(dir, fmt.Sprint(i))}
		if err := os.Mkdir(d.Dir, 0o755); err != nil {
			b.Fatal(err)
		}
		for name, content := range files {
			if err := os.WriteFile(filepath.Join(d.Dir, name), []byte(content), 0o644); err != nil {
				b.Fatal(err)
			}
		}
		onDisk = append(onDisk, d)
	}
	for name, members := range map[string][]Member{"memory": members, "disk": onDisk} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				l, err := Open(members, Options{})
				if err != nil {
					b.Fatal(err)
				}
				if got := l.Stats().Segments; got != n {
					b.Fatalf("%d segments", got)
				}
				b.StopTimer()
				if err := l.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
