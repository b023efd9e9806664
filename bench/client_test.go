package bench

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"pagevault/internal/clock"
)

func TestParseEndpoint(t *testing.T) {
	f := func(url string, want endpoint) {
		t.Helper()
		got, err := parseEndpoint(url, "acc")
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", url, got, err, want)
		}
	}
	f("http://127.0.0.1:10000/acc", endpoint{addr: "127.0.0.1:10000", host: "127.0.0.1:10000", prefix: "/acc"})
	f("http://127.0.0.1:10000/acc/", endpoint{addr: "127.0.0.1:10000", host: "127.0.0.1:10000", prefix: "/acc"})
	f("http://127.0.0.1:10000", endpoint{addr: "127.0.0.1:10000", host: "127.0.0.1:10000", prefix: "/acc"}) // the account was forgotten
	f("http://localhost", endpoint{addr: "localhost:80", host: "localhost", prefix: "/acc"})
	f("http://[::1]:7", endpoint{addr: "[::1]:7", host: "[::1]:7", prefix: "/acc"})
	f("https://acc.blob.core.windows.net", endpoint{tls: true, addr: "acc.blob.core.windows.net:443", host: "acc.blob.core.windows.net"})
	f("https://acc.blob.core.windows.net/", endpoint{tls: true, addr: "acc.blob.core.windows.net:443", host: "acc.blob.core.windows.net"})

	// Shared access signatures, of an account and of a container.
	f("https://acc.blob.core.windows.net/?sv=1&srt=sco&sig=a%2B", endpoint{tls: true, addr: "acc.blob.core.windows.net:443", host: "acc.blob.core.windows.net", sas: "sv=1&srt=sco&sig=a%2B"})
	f("http://127.0.0.1:7/acc/disks?sr=c&sig=a", endpoint{addr: "127.0.0.1:7", host: "127.0.0.1:7", prefix: "/acc", container: "/acc/disks", sas: "sr=c&sig=a"})
	f("http://acc.example.org:7/disks?sr=c&sig=a", endpoint{addr: "acc.example.org:7", host: "acc.example.org:7", container: "/disks", sas: "sr=c&sig=a"})
	for _, url := range []string{"http://h/acc?sr=c&sig=secret", "http://h?sr=c&sig=secret", "https://a.b/?sr=c&sig=secret", "http://h/acc?sr=b&sig=secret", "http://h/acc?sr=c", "http://h/acc?sig=secret%", "http://u:secret@h/acc", "h\x00/?sig=secret"} {
		if _, err := parseEndpoint(url, "acc"); err == nil || strings.Contains(err.Error(), "secret") && !strings.Contains(url, "u:") {
			t.Errorf("%q: error %v, want one without the secret", url, err)
		}
	}

	for _, url := range []string{"", "127.0.0.1:10000", "localhost:10000/acc", "ftp://x/acc", "http://", "http://\x00/"} {
		if _, err := parseEndpoint(url, "acc"); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error %v, want one line", url, err)
		}
	}
}

// dialFake connects to a fake, or any server, with the emulator's key.
func dialFake(t *testing.T, url string) *conn {
	t.Helper()
	e, err := parseEndpoint(url, "devstoreaccount1")
	if err != nil {
		t.Fatal(err)
	}
	c, err := dial(t.Context(), e, newSigner("devstoreaccount1", emulatorKey(t)), clock.System)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestClientRoundTrip writes and reads small and large ranges; the fake accepts only right signatures. With and without
// chunked answers, and with connections that last for one answer.
func TestClientRoundTrip(t *testing.T) {
	for _, f := range []*fake{{}, {chunked: true}, {closing: true}} {
		url := startFake(t, f)
		c := dialFake(t, url)
		path := c.endpoint.prefix + "/c/b"
		if err := c.container(http.MethodPut, c.endpoint.prefix+"/c", http.StatusCreated); err != nil {
			t.Fatal(err)
		}
		if err := c.createPageBlob(path, 16<<20); err != nil {
			t.Fatal(err)
		}
		src := newSource(6, Mix{}, 0)
		buf := src.writeBuffer()
		for _, size := range []int{512, 4096, copyMax, 2 * copyMax, requestMax} {
			p := buf[:size]
			if err := c.putPage(path, int64(size), p); err != nil {
				t.Fatalf("put %d bytes: %v", size, err)
			}
			got := make([]byte, size)
			if err := c.getRange(path, int64(size), got); err != nil {
				t.Fatalf("get %d bytes: %v", size, err)
			}
			if !bytes.Equal(got, p) {
				t.Errorf("chunked %v, closing %v: %d bytes read are not those written", f.chunked, f.closing, size)
			}
		}
		if err := c.container(http.MethodDelete, c.endpoint.prefix+"/c", http.StatusAccepted); err != nil {
			t.Fatal(err)
		}
	}
}

// TestClientRefusal: an answer that is not the wanted one becomes a StatusError with code and first line, and the
// connection can be used again.
func TestClientRefusal(t *testing.T) {
	url := startFake(t, &fake{})
	c := dialFake(t, url)
	right := c.signer
	c.signer = newSigner("devstoreaccount1", []byte("wrong"))
	err := c.createPageBlob("/devstoreaccount1/c/b", 512)
	var status *StatusError
	want := StatusError{Status: 403, Code: "AuthenticationFailed", Message: "Server failed to authenticate the request."}
	if !errors.As(err, &status) || *status != want {
		t.Fatalf("error %v, want %v", err, &want)
	}
	c.signer = right
	if err := c.createPageBlob("/devstoreaccount1/c/b", 512); err != nil {
		t.Error(err)
	}
}

// TestClientErrorsAreOneLine: whatever a server answers, the error fits on a line.
func TestClientErrorsAreOneLine(t *testing.T) {
	for name, answer := range map[string]string{
		"hangs up":         "",
		"another protocol": "SSH-2.0-OpenSSH_9.2\r\n" + strings.Repeat("\n\nnoise", 1000),
		"cut off":          "HTTP/1.1 206 Partial Content\r\nContent-Length: 512\r\n\r\nonly this",
		"too much":         "HTTP/1.1 206 Partial Content\r\nContent-Length: 5120000\r\n\r\n",
		"too little":       "HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\n\r\nabc",
		"plain text":       "HTTP/1.1 500 Oops\r\nContent-Length: 3\r\n\r\na\nb",
		"whole blob":       "HTTP/1.1 200 OK\r\nContent-Length: 512\r\n\r\n" + strings.Repeat("x", 512),
	} {
		c := dialFake(t, "http://"+answerOnce(t, answer))
		err := c.getRange("/devstoreaccount1/c/b", 0, make([]byte, 512))
		if err == nil || strings.Contains(err.Error(), "\n") || len(err.Error()) > 250 {
			t.Errorf("%s: error %v, want one line", name, err)
		}
	}
}

// answerOnce accepts one connection, reads until the end of a request's head, answers with text and hangs up.
func answerOnce(t *testing.T, text string) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		var got []byte
		for b := make([]byte, 1024); !bytes.Contains(got, []byte("\r\n\r\n")); {
			n, err := nc.Read(b)
			if err != nil {
				return
			}
			got = append(got, b[:n]...)
		}
		nc.Write([]byte(text))
	}()
	t.Cleanup(func() {
		ln.Close()
		<-done
	})
	return ln.Addr().String()
}

// TestClientStopsWhenContextIsDone: a request that a server never answers ends with its context.
func TestClientStopsWhenContextIsDone(t *testing.T) {
	arrived, hold := make(chan struct{}), make(chan struct{})
	url := startFake(t, &fake{stall: func(*http.Request) { close(arrived); <-hold }})
	defer close(hold)
	e, err := parseEndpoint(url, "devstoreaccount1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c, err := dial(ctx, e, newSigner("devstoreaccount1", emulatorKey(t)), clock.System)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ended := make(chan error)
	go func() { ended <- c.createPageBlob("/devstoreaccount1/c/b", 512) }()
	<-arrived
	cancel()
	if err := <-ended; err == nil {
		t.Error("a request that was never answered succeeded")
	}
}

// TestClientWaitsForBusy: a busy server is asked again after the time it wants, until that is too long or nobody waits any
// more.
func TestClientWaitsForBusy(t *testing.T) {
	f := &fake{}
	url := startFake(t, f)
	e, err := parseEndpoint(url, "devstoreaccount1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c, err := dial(ctx, e, newSigner("devstoreaccount1", emulatorKey(t)), jumping{clock.System})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f.busy.Store(3)
	if err := c.createPageBlob("/devstoreaccount1/c/b", 512); err != nil || c.busy != 3 {
		t.Errorf("%v after %d times of 503", err, c.busy)
	}
	f.busy.Store(1000)
	var status *StatusError
	if err := c.createPageBlob("/devstoreaccount1/c/b", 512); !errors.As(err, &status) || status.Code != "ServerBusy" || c.busy != 3+60 {
		t.Errorf("%v after %d times of 503", err, c.busy)
	}
	c.clock = clock.NewManual(time.Now()) // stands still
	f.busy.Store(1)
	f.stall = func(*http.Request) { cancel() }
	if err := c.createPageBlob("/devstoreaccount1/c/b", 512); err == nil {
		t.Error("a request that was given up succeeded")
	}
}

// jumping is a clock on which no timer takes any time.
type jumping struct{ clock.Clock }

func (j jumping) NewTimer(time.Duration) clock.Timer { return j.Clock.NewTimer(0) }

func BenchmarkPut4KiBNull(b *testing.B) {
	t := newNullTarget(b)
	e := t.endpoint
	c, err := dial(b.Context(), e, newSigner(t.o.Account, t.o.Key), clock.System)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	p := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.putPage("/devstoreaccount1/c/b", 0, p); err != nil {
			b.Fatal(err)
		}
	}
}
