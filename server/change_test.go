package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pagevault/blobstore"
	"pagevault/internal/clock"
)

// fakeChanger is an account whose members are what a test says.
type fakeChanger struct {
	name string

	mu      sync.Mutex
	members []blobstore.MemberHealth
	policy  string
	fails   error
	needed  error // what MemberNeeded says
	calls   []string
	hold    chan struct{} // nil: retiring takes no time
	held    chan struct{} // gets a value when it begins to
}

func (f *fakeChanger) Name() string { return f.name }

func (f *fakeChanger) Health() blobstore.Health {
	f.mu.Lock()
	defer f.mu.Unlock()
	return blobstore.Health{Account: f.name, Writable: true, UnderReplicated: 42, Members: slices.Clone(f.members)}
}

func (f *fakeChanger) ReplaceMember(_ context.Context, number int, dir string, wipe bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf("replace %d %s %v", number, dir, wipe))
	if f.fails != nil {
		return f.fails
	}
	m := blobstore.MemberHealth{Number: number, Dir: dir, State: blobstore.MemberJoining}
	if number > len(f.members) {
		f.members = append(f.members, m)
	} else {
		f.members[number-1] = m
	}
	return nil
}

func (f *fakeChanger) MemberNeeded(int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.needed
}

func (f *fakeChanger) RetireMember(ctx context.Context, number int) error {
	f.mu.Lock()
	hold := f.hold
	f.calls = append(f.calls, fmt.Sprintf("retire %d", number))
	f.mu.Unlock()
	if hold != nil {
		f.held <- struct{}{}
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails == nil {
		f.members = slices.DeleteFunc(f.members, func(m blobstore.MemberHealth) bool { return m.Number == number })
	}
	return f.fails
}

func (f *fakeChanger) SetRedundancy(_ context.Context, r blobstore.Redundancy) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails == nil {
		f.policy = r.String()
	}
	return f.fails
}

// changes is a server with two accounts, a and b, whose members are in /d1, /d2 and /d3.
type changes struct {
	*testServer
	a, b  *fakeChanger
	url   string
	moves []string
}

func newChanges(t *testing.T) *changes {
	t.Helper()
	c := &changes{}
	fake := func(name string) *fakeChanger {
		f := &fakeChanger{name: name, held: make(chan struct{}, 1)}
		for i := range 3 {
			f.members = append(f.members, blobstore.MemberHealth{Number: i + 1, Dir: fmt.Sprintf("/d%d/%s", i+1, name), State: blobstore.MemberCurrent})
		}
		return f
	}
	c.a, c.b = fake("a"), fake("b")
	c.testServer = newServer(t, func(o *Options) {
		o.Service = limited(t, blobstore.Limits{}, "a", "b")
		o.MemberDir = func(account, from, dir string) (string, error) {
			if strings.HasPrefix(dir, "/no") {
				return "", fmt.Errorf("%s cannot be in the place of %s", dir, from)
			}
			return filepath.Join(dir, account), nil
		}
		o.MemberMoved = func(from, to string) { c.moves = append(c.moves, from+" to "+to) }
	})
	c.changer = func(a *blobstore.Account) memberChanger { return map[string]*fakeChanger{"a": c.a, "b": c.b}[a.Name()] }
	side := httptest.NewServer(c.Admin())
	t.Cleanup(side.Close)
	c.url = side.URL
	return c
}

// post wants an answer with the status and parts in it. An error is one line.
func (c *changes) post(t *testing.T, path string, status int, parts ...string) string {
	t.Helper()
	reply, err := http.Post(c.url+path, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err != nil || reply.StatusCode != status {
		t.Fatalf("%s: %d %s %v, want %d", path, reply.StatusCode, text, err, status)
	}
	for _, part := range parts {
		if !strings.Contains(string(text), part) {
			t.Errorf("%s: %s without %q", path, text, part)
		}
	}
	if status != 200 && strings.Count(string(text), "\n") != 1 {
		t.Errorf("%s: more than a line: %q", path, text)
	}
	return string(text)
}

func (c *changes) wantMoves(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(c.moves, want) {
		t.Errorf("moved %q, want %q", c.moves, want)
	}
	c.moves = nil
}

var errRefused = fmt.Errorf("%w:\nit is not empty", blobstore.ErrRefused)

// TestReplaceMember shows what is done for which account, what is told, and that the layout follows when all accounts have
// moved and not before.
func TestReplaceMember(t *testing.T) {
	c := newChanges(t)
	f := func(query string, status int, parts ...string) {
		t.Helper()
		c.post(t, "/members/replace"+query, status, parts...)
	}
	f("?member=2&wipe=true", 200, `{"member":2,"from":"/d2","dir":"/d2","accounts":["a","b"],"replicas":["/d1","/d2","/d3"]}`)
	c.wantMoves(t)
	f("?member=2&dir=/new/", 200, `{"member":2,"from":"/d2","dir":"/new","accounts":["a","b"],"replicas":["/d1","/new","/d3"]}`)
	c.wantMoves(t, "/d2 to /new")
	if want := []string{"replace 2 /d2/a true", "replace 2 /new/a false"}; !slices.Equal(c.a.calls, want) {
		t.Errorf("%q, want %q", c.a.calls, want)
	}
	f("?member=4&dir=/d4", 200, `{"member":4,"dir":"/d4","accounts":["a","b"],"replicas":["/d1","/new","/d3","/d4"]}`)
	c.wantMoves(t, " to /d4")

	// One of two fails: that is told, nothing is told to have moved, and another try does only what is left.
	c.b.fails = errRefused
	f("?member=2&dir=/d2", 409, "account b: refused:; it is not empty; done for: a")
	c.wantMoves(t)
	if c.post(t, "/members/replace?member=2", 409, "member 2 is /d2 in account a and /new in account b: say which account is meant"); len(c.moves) > 0 {
		t.Errorf("moved %q", c.moves)
	}
	c.b.fails, c.a.calls = nil, nil
	f("?member=2&dir=/d2", 200, `"from":"/new","dir":"/d2","accounts":["a","b"]`)
	c.wantMoves(t, "/new to /d2")
	if len(c.a.calls) > 0 {
		t.Errorf("done again: %q", c.a.calls)
	}
	f("?member=2&dir=/other&account=b", 200, `"accounts":["b"],"replicas":["/d1","/d2","/d3","/d4","/other"]`)
	c.wantMoves(t)
	f("?member=2&dir=/d2&account=b", 200)
	c.moves = nil

	// What fails before anything is done.
	c.a.calls, c.b.calls = nil, nil
	f("", 400, "member: want the number of a member")
	f("?member=0", 400, "member: want")
	f("?member=1&dir=d1", 400, "dir: want a path from the root")
	f("?member=1&wipe=perhaps", 400, "wipe: want true or false")
	f("?member=1&account=nobody", 404, "there is no account nobody")
	f("?member=1&dir=/d3", 409, "account a: /d3 is member 3")
	f("?member=1&dir=/no/place", 409, "/no/place cannot be in the place of /d1")
	f("?member=6&dir=/d6", 409, "there is no member 6, and a new one is member 5")
	f("?member=5", 409, "there is no member 5: a new one needs a directory")
	c.changing.Lock()
	f("?member=1", 409, "members or accounts are being changed already")
	c.changing.Unlock()
	c.b.needed = fmt.Errorf("%w: 3 segments lack a shard", blobstore.ErrNotNow)
	f("?member=1", 503, "account b: not now: 3 segments lack a shard")
	c.b.needed = nil
	if len(c.a.calls)+len(c.b.calls) > 0 {
		t.Errorf("done nevertheless: %q %q", c.a.calls, c.b.calls)
	}

	// The status is that of the worst.
	c.a.fails, c.b.fails = errRefused, fmt.Errorf("%w: later", blobstore.ErrNotNow)
	f("?member=1", 503, "account a: ", "account b: ")
	c.a.fails = errors.New("the disk is broken")
	f("?member=1&account=a", 500, "account a: the disk is broken")
	c.wantMoves(t)
}

// TestRetireMember shows that a long one says how far it is and ends with what came of it, and that a quick refusal has the
// status of one.
func TestRetireMember(t *testing.T) {
	c := newChanges(t)
	manual := clock.NewManual(time.Unix(1e9, 0))
	c.o.Clock = manual
	c.a.hold = make(chan struct{})
	answer := make(chan string, 1)
	go func() {
		reply, err := http.Post(c.url+"/members/retire?member=3", "", nil)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer reply.Body.Close() // the header comes with the first line
		lines := json.NewDecoder(reply.Body)
		var first retireEvent
		text := reply.Status
		if err := lines.Decode(&first); err != nil || first != (retireEvent{Account: "a", UnderReplicated: 42}) {
			text += fmt.Sprintf(" %v %v", err, first)
		}
		close(c.a.hold)
		for {
			var next json.RawMessage
			if lines.Decode(&next) != nil {
				break
			}
			text += " " + string(next)
		}
		answer <- text
	}()
	<-c.a.held
	for done := false; !done; { // the handler may not have its timer yet
		manual.Advance(changeTick)
		select {
		case got := <-answer:
			const want = `200 OK {"account":"a","done":true} {"account":"b","done":true} {"change":{"member":3,"from":"/d3","accounts":["a","b"],"replicas":["/d1","/d2"]}}`
			for _, account := range []string{"a", "b"} { // as often as the clock went on
				got = strings.ReplaceAll(got, `{"account":"`+account+`","underReplicatedBytes":42} `, "")
			}
			if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			done = true
		default:
		}
	}
	c.wantMoves(t, "/d3 to ")

	c.post(t, "/members/retire?member=3", 409, "there is no member 3")
	c.post(t, "/members/retire?member=x", 400, "member: want")
	c.b.fails = errRefused
	c.post(t, "/members/retire?member=2", 409, "account b: refused:; it is not empty; done for: a")
	c.wantMoves(t)
	if text := c.post(t, "/members/retire?member=2", 409); !strings.Contains(text, "say which account is meant") {
		t.Error(text)
	}
	c.b.fails = nil
	c.post(t, "/members/retire?member=2&account=b", 200, `"accounts":["b"],"replicas":["/d1"]`)
	c.wantMoves(t, "/d2 to ")
}

// TestRetireEnds: it goes on only as long as somebody waits for it.
func TestRetireEnds(t *testing.T) {
	c := newChanges(t)
	c.a.hold = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/members/retire?"+url.Values{"member": {"1"}, "account": {"a"}}.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		reply, err := http.DefaultClient.Do(request)
		if err == nil {
			_, err = io.ReadAll(reply.Body)
			reply.Body.Close()
		}
		ended <- err
	}()
	<-c.a.held
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the client: %v", err)
	}
	c.changing.Lock() // when the handler has ended
	defer c.changing.Unlock()
	if len(c.a.Health().Members) != 3 {
		t.Error("the member is gone")
	}
	c.wantMoves(t)
}

func TestSetRedundancy(t *testing.T) {
	c := newChanges(t)
	c.post(t, "/redundancy?policy=rs:2%2B1", 200, `{"redundancy":"rs:2+1","accounts":["a","b"]}`)
	c.post(t, "/redundancy?policy=rs:2+1", 200, `{"redundancy":"rs:2+1"`)
	c.post(t, "/redundancy?policy=3&account=b", 200, `{"redundancy":"3","accounts":["b"]}`)
	if c.a.policy != "rs:2+1" || c.b.policy != "3" {
		t.Errorf("%s, %s", c.a.policy, c.b.policy)
	}
	c.post(t, "/redundancy", 400, "policy: ", "want 3, or rs:K+M")
	c.post(t, "/redundancy?policy=5", 400, "policy: ")
	c.post(t, "/redundancy?policy=rs:3%2B1", 409, "account a: rs:3+1 takes 4 members, and there are 3")
	c.post(t, "/redundancy?policy=3&account=nobody", 404)
	c.b.fails = errRefused
	c.post(t, "/redundancy?policy=3", 409, "account b: refused:; it is not empty; done for: a")
	if status, _ := c.admin(t, "/redundancy"); status != 405 {
		t.Errorf("GET: %d", status)
	}
}

// TestDegradedBy shows every reason that /readyz gives.
func TestDegradedBy(t *testing.T) {
	h := blobstore.Health{Error: "too few", UnderReplicated: 7, Unhealable: 2, Members: []blobstore.MemberHealth{
		{Number: 1, State: blobstore.MemberCurrent}, {Number: 2, State: blobstore.MemberBehind, Reason: "write error", Error: "EIO"}}}
	want := []string{"writes are refused: too few", "member 2 is behind: write error: EIO", "7 bytes lack a copy or a shard",
		"segments of which something can be had from no member that is there: 2"}
	if got := degradedBy(&h); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := degradedBy(&blobstore.Health{Writable: true}); got != nil {
		t.Errorf("%q of one that is well", got)
	}
}
