package server

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// TestStress has many clients write and read disks of their own while others send what is refused, is cut off, or is
// abandoned. Buffers go from one request to the next all the time; no client may ever see a byte of another.
// PAGEVAULT_STRESS says how many rounds each client makes, PAGEVAULT_SEED replays a run.
func TestStress(t *testing.T) {
	rounds, seed := envInt(t, "PAGEVAULT_STRESS", 40), envInt(t, "PAGEVAULT_SEED", int(time.Now().UnixNano()))
	t.Logf("replay with PAGEVAULT_SEED=%d", seed)
	ts := start(t, func(o *Options) { o.UploadBytes, o.ReplyBytes = 8<<20, 5<<20 }) // so that some wait
	ts.do(t, call{method: "PUT", path: "disks?restype=container"}).want(t, 201, "")
	var all sync.WaitGroup
	for i := range stressClients {
		all.Go(func() {
			c := &stressClient{ts: ts, t: t, rng: rand.New(rand.NewPCG(uint64(seed), uint64(i))), id: i}
			c.run(rounds)
		})
		all.Go(func() { ts.nuisance(t, rand.New(rand.NewPCG(uint64(seed), uint64(1000+i))), rounds) })
	}
	all.Wait()
	eventually(t, "the memory for uploads to come back", func() bool { return ts.uploads.Try(8 << 20) })
	eventually(t, "the memory for replies to come back", func() bool { return ts.replies.Try(5 << 20) })
}

func envInt(t *testing.T, name string, otherwise int) int {
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// stressClient knows what its disk holds.
type stressClient struct {
	ts   *testServer
	t    *testing.T
	rng  *rand.Rand
	id   int
	w    *wire
	disk []byte
}

const (
	stressClients = 5
	stressDisk    = 5 << 20 // read in pieces when read whole
)

func (c *stressClient) run(rounds int) {
	c.disk = make([]byte, stressDisk)
	c.w = c.ts.dial(c.t)
	path := fmt.Sprintf("disks/%d", c.id)
	c.send(201, call{method: "PUT", path: path, header: []string{"x-ms-blob-type: PageBlob", fmt.Sprintf("x-ms-blob-content-length: %d", stressDisk)}})
	for range rounds {
		if c.rng.IntN(4) == 0 {
			c.upload()
			continue
		}
		pages := 1 + c.rng.IntN(8)
		if c.rng.IntN(4) == 0 {
			pages = 1 + c.rng.IntN(4<<20>>9)
		}
		first := c.rng.IntN(stressDisk>>9 - pages + 1)
		start, end := first<<9, (first+pages)<<9
		rg := fmt.Sprintf("x-ms-range: bytes=%d-%d", start, end-1)
		switch c.rng.IntN(3) {
		case 0:
			p := make([]byte, end-start)
			for i := 0; i < len(p); i += 512 { // every page another one
				binary.LittleEndian.PutUint64(p[i:], c.rng.Uint64())
			}
			put := call{method: "PUT", path: path + "?comp=page", body: p, header: []string{"x-ms-page-write: update", rg}}
			if c.rng.IntN(4) == 0 {
				put.header = append(put.header, expect)
				c.w.send(put.bytes(c.t))
				c.w.recv("PUT").want(c.t, 100, "")
				c.w.send(p)
				c.w.recv("PUT").want(c.t, 201, "")
			} else {
				c.send(201, put)
			}
			copy(c.disk[start:end], p)
		case 1:
			a := c.send(206, call{method: "GET", path: path, header: []string{rg}})
			if !bytes.Equal(a.body, c.disk[start:end]) {
				c.t.Errorf("client %d: [%d,%d) is not what was written", c.id, start, end)
			}
		case 2:
			a := c.send(200, call{method: "GET", path: path})
			if !bytes.Equal(a.body, c.disk) {
				c.t.Errorf("client %d: the disk is not what was written", c.id)
			}
		}
	}
}

// upload makes a block blob, of some pieces at times, at once or of blocks, and reads it.
func (c *stressClient) upload() {
	p := make([]byte, 1+c.rng.IntN(64<<10))
	if c.rng.IntN(3) == 0 {
		p = make([]byte, 1+c.rng.IntN(9<<20))
	}
	for i := 0; i < len(p); i += 512 {
		p[i] = byte(c.rng.Uint32())
	}
	path := fmt.Sprintf("disks/blocks%d", c.id)
	if c.rng.IntN(2) == 0 {
		c.send(201, call{method: "PUT", path: path, body: p, header: []string{"x-ms-blob-type: BlockBlob"}})
	} else {
		c.send(201, call{method: "PUT", path: path + "?comp=block&blockid=AAAA", body: p})
		c.send(201, call{method: "PUT", path: path + "?comp=blocklist", body: []byte("<BlockList><Latest>AAAA</Latest></BlockList>")})
	}
	if a := c.send(200, call{method: "GET", path: path}); !bytes.Equal(a.body, p) {
		c.t.Errorf("client %d: %d bytes came back as %d that differ", c.id, len(p), len(a.body))
	}
}

func (c *stressClient) send(status int, call call) answer {
	c.w.SetDeadline(time.Now().Add(patience))
	c.w.send(call.bytes(c.t), call.body)
	a := c.w.recv(call.method)
	if a.StatusCode != status {
		c.t.Errorf("client %d: %s %s: %d\n%s%s", c.id, call.method, call.path, a.StatusCode, a.raw, a.body)
	}
	return a
}

// nuisance sends what ends early or is refused.
func (ts *testServer) nuisance(t *testing.T, rng *rand.Rand, rounds int) {
	for range rounds {
		put := call{method: "PUT", path: "disks/0?comp=page", body: pages(512*(1+rng.IntN(2048)), 0xee),
			header: []string{"x-ms-page-write: update", "x-ms-range: bytes=0-511"}}
		w := ts.dial(t)
		switch rng.IntN(5) {
		case 4: // cut off, perhaps in a later piece
			put = putBlock(pages(1+rng.IntN(6<<20), 0xdd))
			w.send(put.bytes(t), put.body[:rng.IntN(len(put.body))])
		case 0: // refused, with its body
			put.header = append(put.header, "Authorization: SharedKey devstoreaccount1:AAAA")
			w.send(put.bytes(t), put.body)
			w.recv("PUT")
		case 1: // cut off
			put.header[1] = fmt.Sprintf("x-ms-range: bytes=0-%d", len(put.body)-1)
			w.send(put.bytes(t), put.body[:rng.IntN(len(put.body))])
		case 2: // a download that is abandoned
			w.send((call{method: "GET", path: fmt.Sprintf("disks/%d", rng.IntN(stressClients))}).bytes(t))
			if resp, err := http.ReadResponse(w.in, nil); err == nil {
				resp.Body.Read(make([]byte, 1+rng.IntN(1<<20)))
			}
		case 3: // nonsense
			w.send([]byte("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n folded\r\n\r\n0123456789"))
		}
		w.Close()
	}
}
