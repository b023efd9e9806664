package pagestore

import (
	"bytes"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/replication"
)

// BenchmarkApply applies the same records to an empty index again and again: what the one goroutine that applies does
// for each update, without the log. One operation is one record.
func BenchmarkApply(b *testing.B) {
	const volumeBytes = 64 << 20
	rng := rand.New(rand.NewPCG(1, 2))
	var serial atomic.Uint64
	fill := func(b *testing.B, s *Store, v VolumeID) {
		p := randomBytes(rng, 4<<20)
		for at := 0; at < volumeBytes; at += len(p) {
			renew(p, &serial)
			write(b, s, v, PageNo(at/PageSize), p)
		}
	}
	random := func(size int) PageNo { return PageNo(rng.Uint64N(uint64(volumeBytes/size)) * uint64(size/PageSize)) }
	run := func(name string, writes, size int, before bool, first func(i int) PageNo) {
		b.Run(name, func(b *testing.B) {
			s := openTest(b, testOptions(vfs.NewMem(), 1))
			v := newVolume(b, s)
			if before {
				fill(b, s, v)
			}
			from := s.log.LastLSN() + 1
			p := randomBytes(rng, size)
			for i := range writes {
				renew(p, &serial)
				write(b, s, v, first(i), p)
			}
			benchApply(b, s, from)
		})
	}
	run("4MiB-new", 16, 4<<20, false, func(i int) PageNo { return PageNo(i * 8192) })
	run("4MiB-over", 16, 4<<20, true, func(i int) PageNo { return PageNo(i * 8192) })
	run("4KiB-new", 8000, 4096, false, func(i int) PageNo { return random(4096) })
	run("4KiB-over", 8000, 4096, true, func(i int) PageNo { return random(4096) })
	run("512B-over", 8000, 512, true, func(i int) PageNo { return random(512) })
	b.Run("4MiB-duplicate", func(b *testing.B) {
		s := openTest(b, testOptions(vfs.NewMem(), 1))
		v := newVolume(b, s)
		fill(b, s, v)
		from := s.log.LastLSN() + 1
		p := make([]byte, 4<<20)
		for i := range 16 {
			withView(b, s, func(view *View) {
				if err := view.Read(v, GenHead, PageNo(i*8192), p); err != nil {
					b.Fatal(err)
				}
			})
			write(b, s, v, PageNo((16+i)*8192), p)
		}
		benchApply(b, s, from)
	})
}

// benchApply applies the records of a store before from, and times the others, in batches of eight.
func benchApply(b *testing.B, s *Store, from replication.LSN) {
	o := s.o
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	log, err := replication.Open(o.Members, o.Log)
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	var records []*replication.Record
	if err := log.Replay(1, func(r *replication.Record) error {
		records = append(records, &replication.Record{LSN: r.LSN, At: r.At, Meta: bytes.Clone(r.Meta)})
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	before, timed := records[:from-1], records[from-1:]
	b.ReportAllocs()
	b.StopTimer()
	cpu := 0.0
	for range b.N {
		db := openMemIndex(b, 64<<20)
		var names summary
		names.init(1 << 20)
		names.ready.Store(true)
		a := newApplier(db, &names, new(atomic.Pointer[knownRegions]), limits{}, state{})
		apply := func(records []*replication.Record) {
			for i, r := range records {
				err := a.record(r)
				if err == nil && (i%8 == 7 || i == len(records)-1) {
					err = a.commit()
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		}
		apply(before)
		report := startCPU(b)
		b.StartTimer()
		apply(timed)
		b.StopTimer()
		cpu += report()
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
	}
	n := float64(b.N) * float64(len(timed))
	b.ReportMetric(cpu/n, "cpu-ns/record")
	b.ReportMetric(float64(b.Elapsed())/n, "ns/record")
	b.ReportMetric(0, "ns/op")
}
