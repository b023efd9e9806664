//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/pageblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"

	"pagevault/internal/testkit"
)

// The environment variables that scale TestCrowd.
const (
	crowdIdleEnv = "PAGEVAULT_CROWD_IDLE" // connections on which nothing comes
	crowdSlowEnv = "PAGEVAULT_CROWD_SLOW" // clients that send or take a byte a second
)

// crowdLatest is the longest that a request of the client that behaves may take in the crowd: a tenth of what SDKs wait
// for, on a machine that runs the crowd as well.
const crowdLatest = 10 * time.Second

// TestCrowd puts the real process among connections that are idle and clients that are slow, a third of them in their
// headers, a third with a body, a third in taking a reply. A client that behaves writes and reads as before, through Azure's
// SDK. It prints how long its requests take and what memory the server has, alone and in the crowd: make crowd, with 10,000
// and 1,000; the short form is smaller.
func TestCrowd(t *testing.T) {
	idle, slow := testkit.Scale(t, crowdIdleEnv, 1000), testkit.Scale(t, crowdSlowEnv, 100)
	needFiles(t, idle+slow+1000)
	server := testkit.StartServer(t, testkit.ServerOptions{Args: []string{"--max-connections", fmt.Sprintf("%d/%[1]d", idle+slow+1000)}})
	disks := server.Container(t, "disks")
	if _, err := disks.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	b := disks.NewPageBlobClient("b")
	if _, err := b.Create(t.Context(), 16<<20, nil); err != nil {
		t.Fatal(err)
	}
	writePages(t, b, 4<<20, bytes.Repeat([]byte{1}, 4<<20))
	rounds := 300
	behave(t, b, rounds/10) // what only the first requests take
	alone, before := behave(t, b, rounds), residentMiB(t, server.PID())

	token, err := disks.GetSASURL(sas.ContainerPermissions{Read: true, Write: true}, time.Now().Add(time.Hour), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := newCrowd(t, token)
	for i := range slow {
		c.add(i)
	}
	for range idle {
		conn := c.dial()
		t.Cleanup(func() { conn.Close() })
	}
	crowded, after := behave(t, b, rounds), residentMiB(t, server.PID())
	open := server.Metric(t, "pagevault_connections")
	c.end()
	t.Logf("alone: %v, %d MiB resident; among %d idle connections and %d slow clients (%.0f connections open): %v, %d MiB resident",
		alone, before, idle, slow, open, crowded, after)
	if int(open) < idle+slow/2 { // those that were cut off for being slow come back
		t.Errorf("%.0f connections are open, of %d: this was no crowd", open, idle+slow)
	}
	if most := crowded[len(crowded)-1]; most > crowdLatest {
		t.Errorf("a request took %v in the crowd", most)
	}
	server.Stop(t)
}

// times are how long requests took, the shortest first.
type times []time.Duration

func (t times) String() string {
	at := func(percent int) time.Duration { return t[(len(t)-1)*percent/100].Round(10 * time.Microsecond) }
	return fmt.Sprintf("p50 %v, p99 %v, longest %v", at(50), at(99), at(100))
}

// behave writes and reads back 64 KiB, again and again, and returns what each request took.
func behave(t *testing.T, b *pageblob.Client, rounds int) times {
	t.Helper()
	var took times
	for i := range rounds {
		p := bytes.Repeat([]byte{byte(i + 1)}, 64<<10)
		off := int64(i%16) << 16
		began := time.Now()
		writePages(t, b, off, p)
		wrote := time.Now()
		got := make([]byte, len(p))
		if _, err := b.DownloadBuffer(t.Context(), got, &blob.DownloadBufferOptions{Range: blob.HTTPRange{Offset: off, Count: int64(len(p))}}); err != nil {
			t.Fatal(err)
		}
		took = append(took, wrote.Sub(began), time.Since(wrote))
		if !bytes.Equal(got, p) {
			t.Fatal("not what was written")
		}
	}
	slices.Sort(took)
	return took
}

func writePages(t *testing.T, b *pageblob.Client, off int64, p []byte) {
	t.Helper()
	if _, err := b.UploadPages(t.Context(), streaming.NopCloser(bytes.NewReader(p)), blob.HTTPRange{Offset: off, Count: int64(len(p))}, nil); err != nil {
		t.Fatal(err)
	}
}

// crowd is the clients that are slow.
type crowd struct {
	t          *testing.T
	host       string
	get, write string // the requests, up to their bodies
	stop       func()
	ctx        context.Context
	clients    sync.WaitGroup
}

func newCrowd(t *testing.T, token string) *crowd {
	t.Helper()
	u, err := url.Parse(token)
	if err != nil {
		t.Fatal(err)
	}
	c := &crowd{t: t, host: u.Host}
	path := u.Path + "/b?" + u.RawQuery
	c.get = "GET " + path + " HTTP/1.1\r\nHost: " + u.Host + "\r\nx-ms-version: 2021-12-02\r\nx-ms-range: bytes=4194304-8388607\r\n\r\n"
	c.write = "PUT " + path + "&comp=page HTTP/1.1\r\nHost: " + u.Host + "\r\nx-ms-version: 2021-12-02\r\nx-ms-page-write: update\r\n" +
		"x-ms-range: bytes=8388608-12582911\r\nContent-Length: 4194304\r\n\r\n"
	c.ctx, c.stop = context.WithCancel(context.Background())
	t.Cleanup(c.end)
	return c
}

func (c *crowd) dial() net.Conn {
	c.t.Helper()
	conn, err := (&net.Dialer{Timeout: time.Minute}).Dial("tcp", c.host)
	if err != nil {
		c.t.Fatal(err)
	}
	return conn
}

// add makes the crowd larger by a slow client, which begins again whenever it is cut off.
func (c *crowd) add(number int) {
	c.t.Helper()
	conn := c.dial()
	c.clients.Go(func() {
		for conn != nil {
			c.drip(conn, number)
			conn.Close()
			if c.ctx.Err() != nil {
				return
			}
			next, err := (&net.Dialer{}).DialContext(c.ctx, "tcp", c.host)
			if err != nil {
				return
			}
			conn = next
		}
	})
}

// drip sends or takes a byte every second, until the connection or the test ends.
func (c *crowd) drip(conn net.Conn, number int) {
	end := context.AfterFunc(c.ctx, func() { conn.Close() })
	defer end()
	var rest string
	switch number % 3 {
	case 0:
		rest = c.write
	case 1:
		conn.Write([]byte(c.write + strings.Repeat("x", 16<<10)))
		rest = strings.Repeat("x", 4<<20-16<<10)
	case 2:
		conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		conn.Write([]byte(c.get))
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for p := make([]byte, 1); ; {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
		}
		var err error
		if rest != "" {
			_, err = conn.Write([]byte(rest[:1]))
			rest = rest[1:]
		} else {
			_, err = conn.Read(p)
		}
		if err != nil {
			return
		}
	}
}

// end sends everybody home.
func (c *crowd) end() {
	c.stop()
	c.clients.Wait()
}

// residentMiB returns how much memory a process has.
func residentMiB(t *testing.T, pid int) int {
	t.Helper()
	return statusMiB(t, pid, "VmRSS:")
}

// peakMiB returns how much memory a process has had at most.
func peakMiB(t *testing.T, pid int) int {
	t.Helper()
	return statusMiB(t, pid, "VmHWM:")
}

func statusMiB(t *testing.T, pid int, field string) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if v, ok := strings.CutPrefix(line, field); ok {
			kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(v), " kB"))
			if err != nil {
				t.Fatal(err)
			}
			return kib >> 10
		}
	}
	t.Fatalf("no %s in\n%s", field, text)
	return 0
}

// needFiles makes sure that this process, and so the server that it starts, may have n open files. Go's runtime raises the
// soft limit of both to the hard one.
func needFiles(t *testing.T, n int) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Max < uint64(n) {
		t.Fatalf("a crowd like this takes %d open files, and the hard limit (ulimit -Hn) is %d", n, limit.Max)
	}
}
