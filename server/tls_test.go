package server

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
)

// borrowedTLS returns the certificate that net/http/httptest has for its tests.
func borrowedTLS(t *testing.T) *tls.Config {
	t.Helper()
	lender := httptest.NewTLSServer(nil)
	defer lender.Close()
	return &tls.Config{Certificates: lender.TLS.Certificates, MinVersion: tls.VersionTLS12}
}

// TestTLS shows that what holds for plain connections holds through TLS: whole bodies only, the last reply arrives, and
// listings name the endpoint as https.
func TestTLS(t *testing.T) {
	ts := start(t, func(o *Options) { o.TLS = borrowedTLS(t) })
	dial := func() *wire {
		t.Helper()
		c, err := tls.Dial("tcp", ts.addr, &tls.Config{InsecureSkipVerify: true}) // borrowed, and not for this name
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(patience))
		return &wire{t, c, bufio.NewReaderSize(c, 64<<10)}
	}
	w := dial()
	f := func(status int, code string, c call) answer {
		t.Helper()
		w.send(c.bytes(t), c.body)
		a := w.recv(c.method)
		a.want(t, status, code)
		return a
	}
	f(201, "", makeContainer)
	f(201, "", makeDisk)
	p := fill(3 << 20)
	f(201, "", putPage(0, p))
	get := call{method: "GET", path: "disks/b", header: []string{"Range: bytes=0-9437183"}} // in pieces
	if a := f(206, "", get); !bytes.Equal(a.body[:len(p)], p) || !bytes.Equal(a.body[len(p):], make([]byte, 6<<20)) {
		t.Error("wrong bytes")
	}
	if a := f(200, "", call{method: "GET", path: "?comp=list"}); !bytes.Contains(a.body, []byte(`ServiceEndpoint="https://127.0.0.1/devstoreaccount1/"`)) {
		t.Errorf("%s", a.body)
	}
	f(413, "RequestBodyTooLarge", putPage(0, pages(32<<20, 'x')))

	before := ts.failures()
	w = dial()
	c := putPage(0, pages(1<<20, 'x'))
	w.send(c.bytes(t), c.body[:500<<10])
	w.Close()
	ts.awaitFailure(t, before)
	w = dial()
	if a := f(206, "", get); !bytes.Equal(a.body[:len(p)], p) {
		t.Error("a body that was cut off was written")
	}
}

// TestTLSSDK takes Azure's own client through the life of a disk over https, checking the certificate.
func TestTLSSDK(t *testing.T) {
	ts := start(t, func(o *Options) { o.TLS = borrowedTLS(t) })
	lender := httptest.NewTLSServer(nil)
	defer lender.Close()
	o := &service.ClientOptions{}
	o.Transport = lender.Client() // which trusts the certificate that was borrowed
	o.Retry.MaxRetries = -1
	useDisk(t, ts, "https", o)
}

// TestTLSPlain shows that a client which speaks plain HTTP to a TLS port hangs nobody up but itself.
func TestTLSPlain(t *testing.T) {
	ts := start(t, func(o *Options) { o.TLS = borrowedTLS(t) })
	w := ts.dial(t)
	w.send([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	buf := make([]byte, 1024)
	n, _ := w.Read(buf)
	if bytes.Contains(buf[:n], []byte("HTTP/1.1 2")) {
		t.Errorf("got %q", buf[:n])
	}
	eventually(t, "the connection to end", func() bool { return ts.serving.Load() == 0 })
}
