package faultproxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// target is a server that notes what it has carried out.
type target struct {
	*httptest.Server
	mu   sync.Mutex
	done []string // method, path and body of each request that came whole
}

func startTarget(t *testing.T) *target {
	s := new(target)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // cut
		}
		s.mu.Lock()
		s.done = append(s.done, r.Method+" "+r.URL.Path+" "+string(body))
		s.mu.Unlock()
		switch r.URL.Path {
		case "/nothing":
			w.WriteHeader(http.StatusNoContent)
		case "/chunks":
			for i := range 3 {
				fmt.Fprintf(w, "chunk %d of %s,", i, body)
				w.(http.Flusher).Flush()
			}
		case "/end":
			c, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			fmt.Fprintf(rw, "HTTP/1.1 200 OK\r\n\r\nto the end")
			rw.Flush()
		default:
			fmt.Fprintf(w, "reply to %s", body)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *target) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.done...)
}

// through starts a proxy to s and returns it with a client of its own.
func through(t *testing.T, s *target, choose func(*rand.Rand, Request) Fault) (*Proxy, *http.Client) {
	t.Helper()
	p := Start(t, Options{Target: s.Listener.Addr().String(), Seed: 7, Choose: choose})
	tr := &http.Transport{ExpectContinueTimeout: time.Minute}
	t.Cleanup(tr.CloseIdleConnections)
	return p, &http.Client{Transport: tr}
}

// ask makes a request and returns the status and what came of the reply.
func ask(t *testing.T, c *http.Client, method, url, body string) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(url, "/chunks") {
		req.ContentLength = -1
	}
	if strings.HasSuffix(url, "/expect") {
		req.Header.Set("Expect", "100-continue")
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(got), err
}

// TestPassesOn: without faults everything comes through as it was sent, in every form of a body.
func TestPassesOn(t *testing.T) {
	s := startTarget(t)
	p, c := through(t, s, nil)
	f := func(method, path, body string, status int, want string) {
		t.Helper()
		code, got, err := ask(t, c, method, "http://"+p.Addr()+path, body)
		if err != nil || code != status || got != want {
			t.Errorf("%s %s: %d %q %v, want %d %q", method, path, code, got, err, status, want)
		}
		done := s.requests()
		if last := done[len(done)-1]; last != method+" "+path+" "+body {
			t.Errorf("the server saw %q", last)
		}
	}
	long := strings.Repeat("long ", 100_000)
	for range 3 { // on the same connection
		f("PUT", "/a", "body", 200, "reply to body")
		f("GET", "/a", "", 200, "reply to ")
		f("HEAD", "/a", "", 200, "")
		f("PUT", "/nothing", "body", 204, "")
		f("PUT", "/expect", "body", 200, "reply to body")
		f("PUT", "/a", long, 200, "reply to "+long)
		f("PUT", "/chunks", "parts", 200, "chunk 0 of parts,chunk 1 of parts,chunk 2 of parts,")
		f("GET", "/end", "", 200, "to the end")
	}
}

// TestFaults: of each fault, what the client sees, and whether the server has carried the request out.
func TestFaults(t *testing.T) {
	big := strings.Repeat("x", 300_000)
	for _, c := range []struct {
		fault  Fault
		done   bool // by the server
		status int  // 0: no whole head comes
		whole  bool // the reply
	}{
		{None, true, 200, true},
		{ResetBefore, false, 0, false},
		{ResetAfter, true, 0, false},
		{CutRequest, false, 0, false},
		{CutReply, true, 200, false},
		{Delay, true, 200, true},
		{Busy, false, 503, true},
	} {
		t.Run(c.fault.String(), func(t *testing.T) {
			for n := range 20 { // of different dice
				s := startTarget(t)
				p, client := through(t, s, func(_ *rand.Rand, r Request) Fault {
					if r.Target == "/before" {
						return None
					}
					return c.fault
				})
				if _, got, err := ask(t, client, "POST", "http://"+p.Addr()+"/before", "b"); err != nil || got != "reply to b" {
					t.Fatalf("before: %q %v", got, err)
				}
				path := fmt.Sprintf("/%d", n)
				status, got, err := ask(t, client, "POST", "http://"+p.Addr()+path, big)
				if (err == nil) != c.whole || status != c.status {
					t.Errorf("status %d, error %v", status, err)
				}
				want := "reply to " + big
				switch {
				case c.whole && c.status == 200 && got != want, !strings.HasPrefix(want, got) && c.status != 503:
					t.Errorf("got %d bytes that are not the reply", len(got))
				case c.fault == CutReply && len(got) == len(want):
					t.Error("the reply came whole")
				}
				s.CloseClientConnections()
				s.Close() // has ended what it was doing
				if done := s.requests(); (len(done) == 2) != c.done || c.done && done[1] != "POST "+path+" "+big {
					t.Errorf("the server has carried out %d requests", len(done)-1)
				}
				if counts := p.Counts(); counts[c.fault] == 0 {
					t.Errorf("counts %v", counts)
				}
			}
		})
	}
}

// TestSmallFaults: what has no body is cut in its head, and is no request, or no reply.
func TestSmallFaults(t *testing.T) {
	for _, fault := range []Fault{CutRequest, CutReply} {
		for range 20 {
			s := startTarget(t)
			p, client := through(t, s, func(*rand.Rand, Request) Fault { return fault })
			if status, _, err := ask(t, client, "POST", "http://"+p.Addr()+"/nothing", ""); err == nil {
				t.Errorf("%v: status %d", fault, status)
			}
			s.Close()
			if done := s.requests(); (len(done) == 1) != (fault == CutReply) {
				t.Errorf("%v: the server has carried out %d requests", fault, len(done))
			}
		}
	}
}

// TestBusyGoesOn: a 503 does not end the connection.
func TestBusyGoesOn(t *testing.T) {
	s := startTarget(t)
	p, client := through(t, s, func(_ *rand.Rand, r Request) Fault {
		if r.Attempt < 3 {
			return Busy
		}
		return None
	})
	for _, want := range []int{503, 503, 200, 200} {
		if status, _, err := ask(t, client, "PUT", "http://"+p.Addr()+"/a", "body"); err != nil || status != want {
			t.Errorf("%d %v, want %d", status, err, want)
		}
	}
	if done := s.requests(); len(done) != 2 {
		t.Errorf("the server saw %q", done)
	}
}

// TestSameSeed: the faults follow from the seed and the requests, not from their order; another seed has others.
func TestSameSeed(t *testing.T) {
	const requests = 60
	run := func(seed uint64, backwards bool) map[string]Fault {
		s := startTarget(t)
		var mu sync.Mutex
		met := map[string]Fault{}
		some := Some(50, All()...)
		p := Start(t, Options{Target: s.Listener.Addr().String(), Seed: seed, Choose: func(dice *rand.Rand, r Request) Fault {
			f := some(dice, r)
			mu.Lock()
			defer mu.Unlock()
			met[fmt.Sprintf("%s %d", r.Target, r.Attempt)] = f
			return f
		}})
		for i := range requests {
			if backwards {
				i = requests - 1 - i
			}
			tr := &http.Transport{DisableKeepAlives: true}
			_, _, _ = ask(t, &http.Client{Transport: tr}, "POST", fmt.Sprintf("http://%s/%d", p.Addr(), i/2), "body") // each twice
		}
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(met)
	}
	first := run(1, false)
	if len(first) != requests {
		t.Fatalf("%d requests", len(first))
	}
	if again := run(1, true); !maps.Equal(first, again) {
		t.Error("other faults for the same seed")
	}
	if other := run(2, false); maps.Equal(first, other) {
		t.Error("the same faults for another seed")
	}
	kinds := map[Fault]bool{}
	for _, f := range first {
		kinds[f] = true
	}
	if len(kinds) < 5 {
		t.Errorf("only %v", kinds)
	}
}

// TestHeads: what is no message of HTTP is an error, not a hang or a guess.
func TestHeads(t *testing.T) {
	for _, head := range []string{"\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n", "GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
		"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", "GET / HTTP/1.1\r\n", strings.Repeat("x", headMax+10)} {
		if m, err := readHead(bufio.NewReader(strings.NewReader(head))); err == nil {
			t.Errorf("%.60q is taken for %q", head, m.first)
		}
	}
	var out bytes.Buffer
	for _, chunks := range []string{"x\r\n", "5\r\nab", "5\r\nabcde\r\n"} {
		if err := copyChunks(&out, bufio.NewReader(strings.NewReader(chunks))); err == nil {
			t.Errorf("%q is a whole body", chunks)
		}
	}
}
