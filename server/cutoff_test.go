package server

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"pagevault/internal/azure/xsm"
)

// cuttable are requests that change something, each in its own way to be read: headers alone, plain bodies, documents,
// requests within a request, structured messages, and chunks, which are refused even when they are whole.
func cuttable(t *testing.T) map[string]struct {
	request []byte
	status  int
} {
	t.Helper()
	whole := func(c call, status int) struct {
		request []byte
		status  int
	} {
		t.Helper()
		return struct {
			request []byte
			status  int
		}{append(c.bytes(t), c.body...), status}
	}
	const acl = `<SignedIdentifiers><SignedIdentifier><Id>a</Id><AccessPolicy><Permission>r</Permission></AccessPolicy></SignedIdentifier></SignedIdentifiers>`
	const tags = `<Tags><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tags>`
	part := call{method: "DELETE", path: "disks/c"}.bytes(t)
	batch := "--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n" + string(part) + "\r\n--b--\r\n"

	data := pages(512, 'y')
	var message bytes.Buffer
	e := xsm.NewEncoder(512, 200)
	if _, err := e.Write(&message, data); err != nil {
		t.Fatal(err)
	}
	framed := call{method: "PUT", path: "disks/b?comp=page", body: message.Bytes(), header: []string{"x-ms-page-write: update", "x-ms-range: bytes=512-1023",
		"x-ms-structured-body: " + xsm.Value, "x-ms-structured-content-length: 512"}}
	piece := call{method: "PUT", path: "disks/staged?comp=block&blockid=AAAA", body: message.Bytes(), header: framed.header[2:]}
	chunks := call{method: "PUT", path: "disks/b?comp=page", noLength: true, header: []string{"Transfer-Encoding: chunked", "x-ms-page-write: update",
		"x-ms-range: bytes=0-511"}}
	chunks.body = []byte("20;a=b\r\n" + strings.Repeat("x", 32) + "\r\n1e0\r\n" + strings.Repeat("x", 480) + "\r\n0\r\nA: b\r\n\r\n")
	return map[string]struct {
		request []byte
		status  int
	}{
		"Put Page":              whole(putPage(0, pages(512, 'x')), 201),
		"Put Page, structured":  whole(framed, 201),
		"Put Block, structured": whole(piece, 201),
		"Put Page, chunked":     whole(chunks, 411),
		"Put Blob (page)":       whole(call{method: "PUT", path: "disks/new", header: []string{"x-ms-blob-type: PageBlob", "x-ms-blob-content-length: 512"}}, 201),
		"Set Container ACL":     whole(call{method: "PUT", path: "disks?restype=container&comp=acl", body: []byte(acl)}, 200),
		"Set Blob Tags":         whole(call{method: "PUT", path: "disks/b?comp=tags", body: []byte(tags)}, 204),
		"Put Blob (block)":      whole(call{method: "PUT", path: "disks/new", body: pages(700, 'b'), header: []string{"x-ms-blob-type: BlockBlob"}}, 201),
		"Put Block":             whole(call{method: "PUT", path: "disks/staged?comp=block&blockid=AAAA", body: pages(700, 's')}, 201),
		"Put Block List":        whole(call{method: "PUT", path: "disks/listed?comp=blocklist", body: []byte("<BlockList></BlockList>")}, 201),
		"Append Block":          whole(call{method: "PUT", path: "disks/log?comp=appendblock", body: pages(700, 'l')}, 201),
		"Blob Batch":            whole(call{method: "POST", path: "?comp=batch", body: []byte(batch), header: []string{"Content-Type: multipart/mixed; boundary=b"}}, 202),
	}
}

// TestCutOffAnywhere ends requests at every byte, of the request line, the headers and the body, over plain connections
// and through TLS, there with and without the alert that ends a connection in order. Whoever listens hears a refusal or
// nothing, and nothing changes: not a byte, page, ETag, name, policy, tag, or figure of what is used. The whole request, at
// last, does its work, but for the one in chunks.
func TestCutOffAnywhere(t *testing.T) {
	t.Run("plain", func(t *testing.T) { cutAnywhere(t, nil) })
	t.Run("TLS", func(t *testing.T) { cutAnywhere(t, borrowedTLS(t)) })
}

func cutAnywhere(t *testing.T, config *tls.Config) {
	ts := start(t, func(o *Options) { o.TLS = config })
	dial := func() *wire { return ts.dial(t) }
	if config != nil {
		client := &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(1)} // borrowed, and not for this name
		dial = func() *wire {
			t.Helper()
			c, err := tls.Dial("tcp", ts.addr, client)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			c.SetDeadline(time.Now().Add(patience))
			return &wire{t, c, bufio.NewReaderSize(c, 4<<10)}
		}
	}
	do := func(c call) answer {
		t.Helper()
		w := dial()
		defer w.Close()
		w.send(c.bytes(t), c.body)
		return w.recv(c.method)
	}
	do(makeContainer).want(t, 201, "")
	for _, name := range []string{"b", "c"} {
		do(call{method: "PUT", path: "disks/" + name, header: []string{"x-ms-blob-type: PageBlob", "x-ms-blob-content-length: 4096"}}).want(t, 201, "")
	}
	do(putPage(2048, pages(512, 'a'))).want(t, 201, "")
	do(call{method: "PUT", path: "disks/log", header: []string{"x-ms-blob-type: AppendBlob"}}).want(t, 201, "")

	look := func() string { return ts.picture(t, do) }
	for name, c := range cuttable(t) {
		t.Run(name, func(t *testing.T) {
			before := look()
			for i := range c.request {
				w := dial()
				w.send(c.request[:i])
				w.endOfInput(i%2 == 0)
				w.onlyRefused()
				w.Close()
			}
			if after := look(); after != before {
				t.Fatalf("a request that was cut off changed something:\n%s\nthen\n%s", before, after)
			}
			w := dial()
			defer w.Close()
			w.send(c.request)
			if a := w.recv("PUT"); a.StatusCode != c.status {
				t.Errorf("the whole request: want %d\n%s%s", c.status, a.raw, a.body)
			}
			if changed := look() != before; changed != (c.status < 300) {
				t.Errorf("the whole request changed something: %v", changed)
			}
		})
	}
}

// endOfInput ends what is sent; through TLS, in order or without a word.
func (w *wire) endOfInput(orderly bool) {
	w.t.Helper()
	half, ok := w.Conn.(interface{ CloseWrite() error })
	if c, through := w.Conn.(*tls.Conn); through && !orderly {
		half, ok = c.NetConn().(*net.TCPConn)
	}
	if !ok {
		w.t.Fatal("a connection that has no halves")
	}
	if err := half.CloseWrite(); err != nil {
		w.t.Fatal(err)
	}
}

var (
	replyIDs   = regexp.MustCompile(`(?m)^(Date|x-ms-request-id|Server|Connection):.*\r\n`)
	idsInBody  = regexp.MustCompile(`RequestId:[0-9a-f-]+`)
	timeInBody = regexp.MustCompile(`Time:[0-9TZ:.-]+`)
)

// picture writes down all that a request could have changed.
func (ts *testServer) picture(t *testing.T, do func(call) answer) string {
	t.Helper()
	var b strings.Builder
	for _, path := range []string{"?comp=list&include=metadata", "disks?restype=container&comp=list&include=metadata,snapshots,tags", "disks?restype=container&comp=acl",
		"disks/b", "disks/b?comp=pagelist", "disks/b?comp=tags", "disks/c", "disks/new", "disks/log", "disks/listed",
		"disks/staged?comp=blocklist&blocklisttype=all"} {
		a := do(call{method: "GET", path: path})
		body := timeInBody.ReplaceAllString(idsInBody.ReplaceAllString(string(a.body), ""), "")
		fmt.Fprintf(&b, "%s: %s%x\n", path, replyIDs.ReplaceAllString(a.raw, ""), sha256.Sum256([]byte(body)))
	}
	account, ok := ts.o.Service.Account(testAccount)
	if !ok {
		t.Fatal("no account")
	}
	u, err := account.Usage()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&b, "%+v, written %d, different %d, stored %d\n", u.Totals, u.WrittenBytes, u.UniqueBytes, u.LiveBytes)
	return b.String()
}
