package pagestore

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// openBench opens a store with three members: on the disk of the test's temporary directory, or in memory with
// PAGESTORE_BENCH=mem, which shows what is our own.
func openBench(b *testing.B) *Store { return openTest(b, benchOptions(b)) }

func benchOptions(b *testing.B) Options {
	fs, dir := vfs.Default, b.TempDir()+"/"
	if os.Getenv("PAGESTORE_BENCH") == "mem" {
		fs, dir = vfs.NewMem(), ""
	}
	o := Options{FS: fs, Dir: dir + "index"}
	for _, m := range []string{"a", "b", "c"} {
		o.Members = append(o.Members, replication.Member{FS: fs, Dir: dir + m})
	}
	return o
}

// renew makes every chunk of p one that was never seen, in a few instructions each.
func renew(p []byte, n *atomic.Uint64) {
	for ; len(p) >= pagemap.ChunkBytes; p = p[pagemap.ChunkBytes:] {
		binary.LittleEndian.PutUint64(p, n.Add(1))
	}
}

func BenchmarkUpdate(b *testing.B) {
	const large = 4 << 20
	rng := rand.New(rand.NewPCG(1, 2))
	var serial atomic.Uint64
	run := func(name string, size int, parallel int, fresh bool) {
		b.Run(name, func(b *testing.B) {
			s := openBench(b)
			v := newVolume(b, s)
			base := randomBytes(rng, size)
			write(b, s, v, 0, base)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			defer reportCPU(b)()
			body := func(rng *rand.Rand, p []byte) {
				if fresh {
					renew(p, &serial)
				}
				first := PageNo(rng.Uint64N(1<<30/uint64(size))) * PageNo(size/PageSize)
				c, err := s.Prepare(first, p)
				if err == nil {
					err = s.Update(func(tx *Tx) error { return tx.Write(v, c) })
					c.Release()
				}
				if err != nil {
					b.Error(err)
				}
			}
			if parallel > 1 {
				b.SetParallelism(parallel / runtime.GOMAXPROCS(0))
				b.RunParallel(func(pb *testing.PB) {
					rng, p := rand.New(rand.NewPCG(serial.Add(1), 0)), append([]byte(nil), base...)
					for pb.Next() {
						body(rng, p)
					}
				})
				return
			}
			for b.Loop() {
				body(rng, base)
			}
		})
	}
	run("4MiB-new", large, 1, true)
	run("4MiB-new-parallel16", large, 16, true)
	run("4MiB-duplicate", large, 1, false)
	run("4KiB-new", 4096, 1, true)
	run("4KiB-new-parallel16", 4096, 16, true)
	run("4KiB-duplicate-parallel16", 4096, 16, false)
}

func BenchmarkPrepare(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	var serial atomic.Uint64
	var key MasterKey // of the stores
	run := func(name string, size int, fresh bool) {
		b.Run(name, func(b *testing.B) {
			o := benchOptions(b)
			o.MasterKey = key
			s := openTest(b, o)
			v := newVolume(b, s)
			p := randomBytes(rng, size)
			if strings.Contains(name, "text") {
				p = mixed(rng, 2*size, "")[:size]
			}
			write(b, s, v, 0, p)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			defer reportCPU(b)()
			for b.Loop() {
				if fresh {
					renew(p, &serial)
				}
				c, err := s.Prepare(0, p)
				if err != nil {
					b.Fatal(err)
				}
				c.Release()
			}
		})
	}
	run("4MiB-new", 4<<20, true)
	run("4MiB-duplicate", 4<<20, false)
	run("4KiB-new", 4096, true)
	run("4KiB-duplicate", 4096, false)
	run("4MiB-text", 4<<20, true)
	key = testMasterKey(1)
	run("4MiB-new-sealed", 4<<20, true)
	run("4MiB-text-sealed", 4<<20, true)
	run("4KiB-new-sealed", 4096, true)
}

func BenchmarkRead(b *testing.B) {
	b.Run("random", func(b *testing.B) { benchmarkRead(b, false, MasterKey{}) })
	b.Run("text", func(b *testing.B) { benchmarkRead(b, true, MasterKey{}) })
	b.Run("random-sealed", func(b *testing.B) { benchmarkRead(b, false, testMasterKey(1)) })
	b.Run("text-sealed", func(b *testing.B) { benchmarkRead(b, true, testMasterKey(1)) })
}

func benchmarkRead(b *testing.B, text bool, key MasterKey) {
	const volumeBytes = 64 << 20
	rng := rand.New(rand.NewPCG(1, 2))
	o := benchOptions(b)
	o.MasterKey = key
	s := openTest(b, o)
	v := newVolume(b, s)
	var serial atomic.Uint64
	p := randomBytes(rng, 4<<20)
	if text {
		p = mixed(rng, 8<<20, "")[:4<<20]
	}
	for at := 0; at < volumeBytes; at += len(p) {
		renew(p, &serial)
		write(b, s, v, PageNo(at/PageSize), p)
	}
	run := func(name string, size, align int) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			defer reportCPU(b)()
			dst := make([]byte, size)
			for b.Loop() {
				view, err := s.View()
				if err != nil {
					b.Fatal(err)
				}
				first := PageNo(rng.Uint64N(uint64((volumeBytes-size)/align))) * PageNo(align/PageSize)
				if err := view.Read(v, GenHead, first, dst); err != nil {
					b.Fatal(err)
				}
				if err := view.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("4MiB", 4<<20, 4<<20)
	run("4MiB-unaligned", 4<<20, PageSize)
	run("64KiB", 64<<10, 64<<10)
	run("4KiB", 4096, 4096)
}

// BenchmarkReplay opens a store without its index. After a crash, at most the records since the last flush of a memtable
// are replayed: some hundred thousand small ones.
func BenchmarkReplay(b *testing.B) {
	run := func(name string, size, writes int) {
		b.Run(name, func(b *testing.B) {
			o := benchOptions(b)
			s := openTest(b, o)
			v := newVolume(b, s)
			rng := rand.New(rand.NewPCG(1, 2))
			var serial atomic.Uint64
			base := randomBytes(rng, size)
			var wg sync.WaitGroup
			for w := range 16 {
				wg.Go(func() {
					rng, p := rand.New(rand.NewPCG(uint64(w), 0)), append([]byte(nil), base...)
					for range writes / 16 {
						renew(p, &serial)
						if err := tryWrite(s, v, PageNo(rng.Uint64N(1<<30/uint64(size)))*PageNo(size/PageSize), p); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(size) * int64(writes))
			b.ReportAllocs()
			defer reportCPU(b)()
			for b.Loop() {
				if err := o.FS.RemoveAll(o.Dir); err != nil {
					b.Fatal(err)
				}
				s, err := Open(o)
				if err != nil {
					b.Fatal(err)
				}
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("4KiB-16000", 4096, 16_000)
	run("4MiB-64", 4<<20, 64)
}

// BenchmarkWriteAgain writes 4 MiB that are stored already, of 128 MiB, again and again.
func BenchmarkWriteAgain(b *testing.B) {
	s := openBench(b)
	v := newVolume(b, s)
	const size = 4 << 20
	rng := rand.New(rand.NewPCG(1, 2))
	var all [32][]byte
	for i := range all {
		all[i] = randomBytes(rng, size)
		write(b, s, v, PageNo(i*size/PageSize), all[i])
	}
	b.SetBytes(size)
	defer reportCPU(b)()
	b.ResetTimer()
	for i := range b.N {
		write(b, s, v, PageNo((len(all)+i%len(all))*size/PageSize), all[i%len(all)])
	}
}

// BenchmarkWriteRandom writes 4 KiB at each of 64 random places of 256 MiB, in one record.
func BenchmarkWriteRandom(b *testing.B) {
	s := openBench(b)
	v := newVolume(b, s)
	rng := rand.New(rand.NewPCG(1, 2))
	var contents [64]*Content
	put := func() {
		for i := range contents {
			c, err := s.Prepare(PageNo(rng.IntN(1<<16)*pagemap.ChunkPages), randomBytes(rng, pagemap.ChunkBytes))
			if err != nil {
				b.Fatal(err)
			}
			contents[i] = c
		}
		update(b, s, func(tx *Tx) error {
			for _, c := range contents {
				if err := tx.Write(v, c); err != nil {
					return err
				}
			}
			return nil
		})
		for _, c := range contents {
			c.Release()
		}
	}
	for range 1000 { // nearly all regions have entries
		put()
	}
	defer reportCPU(b)()
	b.ResetTimer()
	for range b.N {
		put()
	}
}
