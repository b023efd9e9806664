package blobstore

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"pagevault/internal/azure/header"
	"pagevault/pagestore"
)

// BenchmarkPutPages writes content that the store does not have yet, from sixteen goroutines, to one member and an index
// in memory: what is left is our own work. Memory holds all that is written, so mind -benchtime.
func BenchmarkPutPages(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 4 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			const blobBytes = 1 << 30
			f := newBareFixture(b, func(o *pagestore.Options) { o.Members = o.Members[:1] })
			must(b)(f.CreateContainer("cont", nil))
			must(b)(f.CreatePageBlob(ref("b"), &CreatePageBlob{Size: blobBytes}))
			var seed atomic.Uint64
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.SetParallelism(writers / 2) // of GOMAXPROCS
			b.RunParallel(func(pb *testing.PB) {
				r := rand.New(rand.NewPCG(1, seed.Add(1)))
				body := make([]byte, size)
				for i := range body {
					body[i] = byte(r.Uint32())
				}
				req := PutPages{Body: body}
				for pb.Next() {
					for at := 0; at < size; at += 4096 { // every chunk is new
						for i := range 8 {
							body[at+i] = byte(r.Uint32())
						}
					}
					off := r.Int64N(blobBytes/int64(size)) * int64(size)
					req.Range = header.Range{Start: off, End: off + int64(size)}
					if _, err := f.PutPages(ref("b"), &req); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// BenchmarkReadAt opens a blob and reads a part of it.
func BenchmarkReadAt(b *testing.B) {
	for _, size := range []int{4 << 10, 4 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			const blobBytes = 64 << 20
			f := newFixture(b)
			must(b)(f.CreatePageBlob(ref("b"), &CreatePageBlob{Size: blobBytes}))
			r := rand.New(rand.NewPCG(1, 1))
			body := make([]byte, PutPagesMax)
			for off := int64(0); off < blobBytes; off += PutPagesMax {
				for i := range body {
					body[i] = byte(r.Uint32())
				}
				must(b)(f.PutPages(ref("b"), &PutPages{Body: body, Range: header.Range{Start: off, End: off + PutPagesMax}}))
			}
			p := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				reader, err := f.OpenBlob(ref("b"), &Access{})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := reader.ReadAt(p, r.Int64N(blobBytes/int64(size))*int64(size)); err != nil {
					b.Fatal(err)
				}
				if err := reader.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRow reads and writes the row of a plain blob, as every write of pages does once.
func BenchmarkRow(b *testing.B) {
	row := exampleBlobRow()
	p := row.append(nil)
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		r, err := decodeBlobRow(p)
		if err != nil {
			b.Fatal(err)
		}
		r.etag++
		out = r.append(out[:0])
	}
}

// BenchmarkBlobInfo is a HEAD.
func BenchmarkBlobInfo(b *testing.B) {
	f := newFixture(b)
	f.create("b", 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.BlobInfo(ref("b"), &Access{}); err != nil {
			b.Fatal(err)
		}
	}
}
