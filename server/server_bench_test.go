package server

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"testing"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"

	"pagevault/blobstore"
	"pagevault/internal/azure/op"
)

// The benchmarks send the same request again and again over a connection in memory, so that what they measure is this
// package, fasthttp, and for the first group the store on memory file systems with one member.

func BenchmarkPutPage(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 4 << 20} {
		b.Run(strconv.Itoa(size), func(b *testing.B) { benchPutPage(b, newServer(b, quiet), size) })
	}
}

// BenchmarkPutPageDoor is the same without the store: headers, signature, body, checksum, reply.
func BenchmarkPutPageDoor(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 4 << 20} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			ts := newServer(b, quiet)
			table := *ts.handlers
			whole := table[op.PutPage]
			table[op.PutPage] = handler{body: whole.body, serve: func(r *request) error {
				if _, err := r.readBody(blobstore.PutPagesMax); err != nil {
					return err
				}
				r.replyPages(&blobstore.PutPagesResult{})
				return nil
			}}
			ts.handlers = &table
			benchPutPage(b, ts, size)
		})
	}
}

// BenchmarkNull is a fasthttp server that reads the body into one buffer and answers 201: what is left when there is
// nothing of ours.
func BenchmarkNull(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 4 << 20} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			buf := make([]byte, size)
			null := &fasthttp.Server{StreamRequestBody: true, MaxRequestBodySize: size, ReadBufferSize: headersMax,
				Handler: func(ctx *fasthttp.RequestCtx) {
					if _, err := io.ReadFull(ctx.RequestBodyStream(), buf); err != nil {
						b.Error(err)
					}
					ctx.SetStatusCode(201)
				}}
			ln := fasthttputil.NewInmemoryListener()
			go null.Serve(ln)
			c, err := ln.Dial()
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { c.Close(); null.Shutdown() })
			w := &memoryWire{c, bufio.NewReaderSize(c, 64<<10)}
			put := putPage(0, fill(size))
			head := put.bytes(b)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				w.exchange(b, head, put.body)
			}
		})
	}
}

func BenchmarkGetBlob(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 4 << 20, 16 << 20} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			ts := newServer(b, quiet)
			w := ts.inMemory(b)
			w.exchange(b, makeContainer.bytes(b), nil)
			w.exchange(b, makeDisk.bytes(b), nil)
			for off := 0; off < size; off += 4 << 20 {
				c := putPage(off, fill(min(size, 4<<20)))
				w.exchange(b, c.bytes(b), c.body)
			}
			get := call{method: "GET", path: "disks/b", header: []string{fmt.Sprintf("x-ms-range: bytes=0-%d", size-1)}}.bytes(b)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				w.exchange(b, get, nil)
			}
		})
	}
}

func BenchmarkListBlobs(b *testing.B) {
	ts := newServer(b, quiet)
	w := ts.inMemory(b)
	w.exchange(b, makeContainer.bytes(b), nil)
	for i := range 10_000 {
		c := makeDisk
		c.path = fmt.Sprintf("disks/many/%03d/%06d.vhd", i%997, i)
		w.exchange(b, c.bytes(b), nil)
	}
	list := call{method: "GET", path: "disks?restype=container&comp=list&prefix=many/&maxresults=5000"}.bytes(b)
	b.ReportAllocs()
	for b.Loop() {
		w.exchange(b, list, nil)
	}
}

func quiet(o *Options) { o.Log = nil }

var (
	makeContainer = call{method: "PUT", path: "disks?restype=container"}
	makeDisk      = call{method: "PUT", path: "disks/b", header: []string{"x-ms-blob-type: PageBlob", "x-ms-blob-content-length: 1073741824"}}
)

func benchPutPage(b *testing.B, ts *testServer, size int) {
	w := ts.inMemory(b)
	w.exchange(b, makeContainer.bytes(b), nil)
	w.exchange(b, makeDisk.bytes(b), nil)
	c := putPage(0, fill(size))
	head := c.bytes(b)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		w.exchange(b, head, c.body)
	}
}

// memoryWire is a connection in memory, for as little of a client as there can be.
type memoryWire struct {
	io.Writer
	in *bufio.Reader
}

func (ts *testServer) inMemory(b *testing.B) *memoryWire {
	b.Helper()
	ln := fasthttputil.NewInmemoryListener()
	done := make(chan error, 1)
	go func() { done <- ts.Serve(ln) }()
	c, err := ln.Dial()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		c.Close()
		if err := ts.Shutdown(context.Background()); err != nil {
			b.Error(err)
		}
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	return &memoryWire{c, bufio.NewReaderSize(c, 64<<10)}
}

var lengthHeader = []byte("Content-Length: ")

// exchange sends a request and reads the reply, which must be a success.
func (w *memoryWire) exchange(b *testing.B, head, body []byte) {
	if _, err := w.Write(head); err != nil {
		b.Fatal(err)
	}
	if len(body) > 0 {
		if _, err := w.Write(body); err != nil {
			b.Fatal(err)
		}
	}
	length := 0
	for first := true; ; first = false {
		line, err := w.in.ReadSlice('\n')
		if err != nil {
			b.Fatal(err)
		}
		if first && line[len("HTTP/1.1 ")] != '2' {
			b.Fatalf("%s", line)
		}
		if n, ok := bytes.CutPrefix(line, lengthHeader); ok {
			length, _ = strconv.Atoi(string(bytes.TrimSpace(n)))
		}
		if len(line) == 2 {
			break
		}
	}
	if _, err := w.in.Discard(length); err != nil {
		b.Fatal(err)
	}
}
