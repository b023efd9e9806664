package batch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"strings"
	"testing"
)

const two = "--b=1\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\nContent-ID: 0\r\n\r\n" +
	"DELETE /a/c/b?snapshot=x HTTP/1.1\r\nx-ms-date: now\r\nAuthorization: SharedKey a:b:c\r\nContent-Length: 0\r\n\r\n\r\n" +
	"--b=1\r\nContent-Type: application/http\r\n\r\nDELETE /a/c/d HTTP/1.1\r\n\r\n--b=1--\r\n"

func TestParse(t *testing.T) {
	for _, body := range []string{two, strings.ReplaceAll(two, "\r\n", "\n"), "preamble\r\n" + two + "epilogue"} {
		got, err := Parse([]byte(body), "b=1")
		if err != nil || len(got) != 2 {
			t.Fatalf("%q: got %v, %v", body, got, err)
		}
		r := got[0]
		if r.ContentID != "0" || r.Method != "DELETE" || r.URI != "/a/c/b?snapshot=x" ||
			string(r.Header) != "x-ms-date: now\r\nAuthorization: SharedKey a:b:c\r\nContent-Length: 0\r\n" {
			t.Errorf("%q: got %+v", body, r)
		}
		if got[1].ContentID != "" || got[1].URI != "/a/c/d" || len(got[1].Header) != 0 {
			t.Errorf("%q: got %+v", body, got[1])
		}
	}
}

func TestParseRefuses(t *testing.T) {
	f := func(body string, want error) {
		t.Helper()
		if got, err := Parse([]byte(body), "b"); !errors.Is(err, want) {
			t.Errorf("%q: got %v, %v, want %v", body, got, err, want)
		}
	}
	const head = "--b\r\nContent-Type: application/http\r\n\r\n"
	f("", errStart)
	f("--c\r\n", errStart)
	f("--b--", errStart)
	f("--b\r\n--b--\r\n", ErrEmpty)
	f(head+"DELETE /a HTTP/1.1\r\n\r\n", errEnd)
	f(head+"DELETE /a HTTP/1.1\r\n\r\n--bc--", errBody)
	f(head+"DELETE /a HTTP/1.1\r\nx: y\r\n--b--", errCut)
	f(head+"DELETE /a HTTP/1.1\r\n\r\nbody\r\n--b--", errBody)
	f(head+"DELETE /a HTTP/1.1\r\nx\r\n\r\n--b--", errHeader)
	f(head+"DELETE /a HTTP/1.1\r\nx: y\r\n folded\r\n\r\n--b--", errHeader)
	f(head+"DELETE /a HTTP/2\r\n\r\n--b--", errRequest)
	f(head+"DELETE /a\r\n\r\n--b--", errRequest)
	f(head+"--b--", errRequest)
	f("--b\r\nContent-Type: text/plain\r\n\r\nDELETE /a HTTP/1.1\r\n\r\n--b--", errType)
	f("--b\r\n\r\nDELETE /a HTTP/1.1\r\n\r\n--b--", errType)
	f("--b\r\nContent-Type: application/http\r\n--b--", errCut)
	one := head + "DELETE /a HTTP/1.1\r\n\r\n"
	f(strings.Repeat(one, PartsMax+1)+"--b--", ErrMany)
	if got, err := Parse([]byte(strings.Repeat(one, PartsMax)+"--b--"), "b"); len(got) != PartsMax || err != nil {
		t.Errorf("%d parts, %v", len(got), err)
	}
}

func TestBoundary(t *testing.T) {
	f := func(contentType, want string) {
		t.Helper()
		if got, ok := Boundary(contentType); ok != (want != "") || ok && got != want {
			t.Errorf("%q: got %q, %v", contentType, got, ok)
		}
	}
	f("multipart/mixed; boundary=batch_1", "batch_1")
	f(`Multipart/Mixed;charset=utf-8; Boundary="a b"`, "")
	f(`multipart/mixed; boundary="a=b"; x=y`, "a=b")
	f("multipart/mixed; boundary=a=b", "a=b")
	f("multipart/mixed", "")
	f("multipart/mixed; boundary=", "")
	f("multipart/mixed; boundary="+strings.Repeat("x", 71), "")
	f("multipart/form-data; boundary=a", "")
	f("", "")
}

// TestAppendReply reads the answer with the library that clients of this language use.
func TestAppendReply(t *testing.T) {
	b := AppendReply(nil, "r", &Reply{ContentID: "7", Status: 202, Reason: "Accepted", Headers: []Header{{"x-ms-version", "v"}}})
	b = AppendReply(b, "r", &Reply{Status: 404, Reason: "Not Found", Body: []byte("<Error/>")})
	b = AppendEnd(b, "r")
	m := multipart.NewReader(bytes.NewReader(b), "r")
	want := []string{"7 HTTP/1.1 202 Accepted\r\nx-ms-version: v\r\nContent-Length: 0\r\n\r\n",
		" HTTP/1.1 404 Not Found\r\nContent-Length: 8\r\n\r\n<Error/>"}
	for _, w := range want {
		p, err := m.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(p)
		if got := fmt.Sprintf("%s %s", p.Header.Get("Content-ID"), body); got != w || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, w)
		}
	}
	if _, err := m.NextPart(); err != io.EOF {
		t.Errorf("then %v", err)
	}
}

// FuzzParse: nothing panics, and what is read has what a request needs and no more of it than the body.
func FuzzParse(f *testing.F) {
	f.Add([]byte(two), "b=1")
	f.Add([]byte("--b\n--b--"), "b")
	f.Fuzz(func(t *testing.T, body []byte, boundary string) {
		b, ok := Boundary("multipart/mixed; boundary=" + boundary)
		if !ok {
			return
		}
		parts, err := Parse(body, b)
		if err != nil {
			return
		}
		if len(parts) == 0 || len(parts) > PartsMax {
			t.Fatalf("%d parts", len(parts))
		}
		size := 0
		for _, p := range parts {
			if p.Method == "" || p.URI == "" || len(p.Header) > 0 && !bytes.HasSuffix(p.Header, []byte("\r\n")) {
				t.Errorf("got %+v", p)
			}
			size += len(p.Header) - bytes.Count(p.Header, []byte("\n"))
		}
		if size > len(body) {
			t.Errorf("%d bytes of headers from %d", size, len(body))
		}
	})
}
