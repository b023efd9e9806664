package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pagevault/blobstore"
	"pagevault/internal/azure/op"
)

// keeper is an AccountKeeper that keeps nothing.
type keeper struct {
	service *blobstore.Service
	got     *AccountChange
	err     error
}

func (k *keeper) do(c *AccountChange) (*AccountChanged, error) {
	k.got = c
	if k.err != nil {
		return nil, k.err
	}
	return &AccountChanged{Name: c.Name, Rate: c.Rate, SetRate: c.Rate != nil}, nil
}

func (k *keeper) Add(_ context.Context, c *AccountChange) (*AccountChanged, error)    { return k.do(c) }
func (k *keeper) Rotate(_ context.Context, c *AccountChange) (*AccountChanged, error) { return k.do(c) }
func (k *keeper) Limit(_ context.Context, c *AccountChange) (*AccountChanged, error)  { return k.do(c) }
func (k *keeper) Describe(string) string                                              { return "test" }

func (k *keeper) Remove(ctx context.Context, c *AccountChange) (*AccountChanged, error) {
	if _, err := k.service.Remove(ctx, blobstore.Removal{Name: c.Name, Filled: true, Commit: func() error { return nil }}); err != nil {
		return nil, err
	}
	return k.do(c)
}

// keptServer returns a server, not serving yet, with a keeper.
func keptServer(t *testing.T) (*testServer, *keeper) {
	k := new(keeper)
	ts := newServer(t, func(o *Options) {
		k.service, o.Accounts, o.AdminNames = o.Service, k, []string{"vault.example.org"}
	})
	return ts, k
}

// post sends a change to the admin listener, with the headers given as pairs.
func (ts *testServer) post(what, body string, headers ...string) (status int, answer string) {
	r := httptest.NewRequest(http.MethodPost, "/accounts/"+what, strings.NewReader(body))
	r.Host = "127.0.0.1:10001"
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	w := newDeadlineRecorder()
	ts.Admin().ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// deadlineRecorder is a recorder of which deadlines may be set.
type deadlineRecorder struct {
	*httptest.ResponseRecorder
}

// SetReadDeadline and SetWriteDeadline are what http.ResponseController looks for.
func (deadlineRecorder) SetReadDeadline(time.Time) error  { return nil }
func (deadlineRecorder) SetWriteDeadline(time.Time) error { return nil }

func newDeadlineRecorder() *deadlineRecorder { return &deadlineRecorder{httptest.NewRecorder()} }

// TestAdminFromHere: what a browser sends for a page of another site, or under a name that leads here, changes nothing.
func TestAdminFromHere(t *testing.T) {
	ts, k := keptServer(t)
	f := func(status int, headers ...string) {
		t.Helper()
		k.got = nil
		got, body := ts.post("add", `{"name":"a"}`, headers...)
		if got != status || (k.got != nil) != (status == 200) {
			t.Errorf("%q: got %d %s, changed: %v; want %d", headers, got, body, k.got != nil, status)
		}
	}
	f(200)
	for _, host := range []string{"127.0.0.1", "10.0.0.7:10001", "[::1]:10001", "::1", "localhost", "LOCALHOST:1", "vault.example.org", "Vault.Example.Org.:10001"} {
		f(200, "Host", host)
	}
	for _, host := range []string{"evil.example", "127.0.0.1.evil.example:10001", "localhost.evil.example", "", "1", "x:y:z"} {
		f(403, "Host", host)
	}
	f(403, "Origin", "http://evil.example")
	f(403, "Origin", "http://127.0.0.1:8080")
	f(403, "Origin", "null")
	f(200, "Origin", "http://127.0.0.1:10001")
	f(403, "Sec-Fetch-Site", "cross-site")
	f(403, "Sec-Fetch-Site", "same-site")
	f(200, "Sec-Fetch-Site", "same-origin")
	f(403, "Host", "evil.example", "Origin", "http://evil.example", "Sec-Fetch-Site", "same-origin")
	f(400, "Content-Type", "text/plain")
	f(400, "Content-Type", "application/x-www-form-urlencoded")

	// The same holds for everything else that changes something, and for nothing that only tells.
	for _, path := range []string{"/maintain", "/check", "/scrub", "/members/replace?member=1", "/redundancy?policy=3"} {
		r := httptest.NewRequest(http.MethodPost, path, nil)
		w := httptest.NewRecorder()
		if ts.Admin().ServeHTTP(w, r); w.Code != 403 {
			t.Errorf("POST %s as %s: %d", path, r.Host, w.Code)
		}
	}
	if status, _ := ts.admin(t, "/healthz"); status != 200 {
		t.Errorf("/healthz: %d", status)
	}
}

// TestAccountChange: what is asked reaches the keeper whole or not at all, and its errors have statuses.
func TestAccountChange(t *testing.T) {
	ts, k := keptServer(t)
	status, body := ts.post("rotate", `{"name":"a","keys":["c2VjcmV0"],"key":2}`)
	if status != 200 || k.got.Name != "a" || string(k.got.Keys[0]) != "secret" || k.got.Key != 2 || strings.Contains(body, "c2VjcmV0") {
		t.Errorf("got %d %s, %+v", status, body, k.got)
	}
	k.got = nil
	for _, bad := range []string{"", "{", `[]`, `{"name":1}`, `{"name":"a","secret":"x"}`, `{"name":"a"}{}`, `{"keys":["*"]}`, `{"name":"` + strings.Repeat("a", accountChangeMax) + `"}`} {
		if status, body := ts.post("add", bad); status != 400 || k.got != nil || strings.Contains(body, "secret") {
			t.Errorf("%.40s: got %d %s", bad, status, body)
		}
	}
	for err, want := range map[error]int{blobstore.ErrRefused: 409, blobstore.ErrNotNow: 503, errors.New("disk"): 500} {
		k.err = err
		if status, _ := ts.post("limit", `{"name":"a"}`); status != want {
			t.Errorf("%v: got %d, want %d", err, status, want)
		}
	}
	k.err = nil
	ts.changing.Lock()
	if status, _ := ts.post("add", `{"name":"a"}`); status != 409 {
		t.Errorf("while others change something: %d", status)
	}
	ts.changing.Unlock()
	for _, lock := range []interface {
		Lock()
		Unlock()
	}{&ts.checking, &ts.scrubbing} {
		lock.Lock()
		if status, _ := ts.post("remove", `{"name":"`+testAccount+`"}`); status != 409 {
			t.Errorf("removed during a check: %d", status)
		}
		lock.Unlock()
	}
	if status, _ := ts.post("nonsense", `{}`); status != 404 {
		t.Errorf("nonsense: %d", status)
	}
	ts.o.Accounts = nil
	if status, _ := ts.post("add", `{"name":"a"}`); status != 409 {
		t.Errorf("without a keeper: %d", status)
	}
}

// TestAccountRate: another rate holds at once, and is told.
func TestAccountRate(t *testing.T) {
	ts, _ := keptServer(t)
	ts.serve(t)
	ts.makeBlob(t, 4096)
	change := func(rate string) {
		t.Helper()
		if status, body := ts.post("limit", `{"name":"`+testAccount+`","rate":`+rate+`}`); status != 200 {
			t.Fatalf("%d %s", status, body)
		}
	}
	change(`{"requests":1}`)
	head := call{method: "HEAD", path: "disks/b"}
	ts.do(t, head).want(t, 200, "")
	ts.do(t, head).want(t, 503, "ServerBusy")
	_, body := ts.admin(t, "/accounts")
	var list accountList
	if err := json.Unmarshal([]byte(body), &list); err != nil || list.Accounts[0].Rate != (Rate{Requests: 1}) || list.Accounts[0].Source != "test" || list.Accounts[0].Keys != 1 {
		t.Errorf("%v %s", err, body)
	}
	if strings.Contains(body, testKey) || strings.Contains(body, "Keys") {
		t.Errorf("keys are told: %s", body)
	}
	change(`{}`)
	ts.do(t, head).want(t, 200, "")
	ts.do(t, head).want(t, 200, "")
}

// TestRemoveUnderRequests: a request that is under way is finished before its account goes, others are told to come again,
// and afterwards there is no such account, in either style of address.
func TestRemoveUnderRequests(t *testing.T) {
	ts, _ := keptServer(t)
	g := ts.gated(op.PutPage)
	ts.serve(t)
	ts.makeBlob(t, 64<<20)

	busy := ts.dial(t)
	c := putPage(0, pages(512, 'x'))
	busy.send(c.bytes(t), c.body)
	<-g.arrived
	reader := ts.dial(t) // of a long blob, which is not read for now
	reader.send((call{method: "GET", path: "disks/b"}).bytes(t))
	if _, err := reader.in.Peek(1); err != nil {
		t.Fatal(err)
	}
	asking := ts.dial(t) // was told to send its body, and has not yet
	late := putPage(512, pages(512, 'y'), expect)
	asking.send(late.bytes(t))
	asking.recv("PUT").want(t, 100, "")

	type result struct {
		status int
		body   string
	}
	done := make(chan result, 1)
	go func() {
		status, body := ts.post("remove", `{"name":"`+testAccount+`"}`)
		done <- result{status, body}
	}()
	account := ts.o.Service.Accounts()[0]
	eventually(t, "the account to take no more requests", func() bool {
		if account.Enter() {
			account.Leave()
			return false
		}
		return true
	})
	ts.do(t, call{method: "HEAD", path: "disks/b"}).want(t, 503, "ServerBusy")
	asking.send(late.body)
	asking.recv("PUT").want(t, 503, "ServerBusy")
	if status, body := ts.admin(t, "/readyz"); status != 200 || !strings.Contains(body, testAccount) {
		t.Errorf("/readyz meanwhile: %d %s", status, body)
	}
	close(g.open)
	busy.recv("PUT").want(t, 201, "")
	select {
	case r := <-done:
		t.Fatalf("removed under a reader: %d %s", r.status, r.body)
	default:
	}
	a := reader.recv("GET")
	a.want(t, 200, "")
	if len(a.body) != 64<<20 || !bytes.Equal(a.body[:512], pages(512, 'x')) && !bytes.Equal(a.body[:512], make([]byte, 512)) {
		t.Errorf("the reader got %d bytes", len(a.body))
	}
	if r := <-done; r.status != 200 {
		t.Fatalf("removing: %d %s", r.status, r.body)
	}
	ts.do(t, call{method: "HEAD", path: "disks/b"}).want(t, 404, "ResourceNotFound")
	hosted := ts.dial(t)
	hosted.send([]byte("HEAD /disks/b HTTP/1.1\r\nHost: " + testAccount + ".blob.localhost\r\n\r\n"))
	hosted.recv("HEAD").want(t, 404, "ResourceNotFound")
	if status, body := ts.admin(t, "/accounts"); status != 200 || strings.Contains(body, testAccount) {
		t.Errorf("/accounts: %d %s", status, body)
	}
	if status, _ := ts.post("remove", `{"name":"`+testAccount+`"}`); status != 409 {
		t.Errorf("removed twice: %d", status)
	}
}

// TestAddedAccount: an account that is added is an address at once, in both styles, and nothing before.
func TestAddedAccount(t *testing.T) {
	ts := start(t, func(o *Options) { o.HostSuffixes = []string{"store.example.org"} })
	f := func(status int, code, path, host string) {
		t.Helper()
		w := ts.dial(t)
		w.send([]byte("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nx-ms-version: 2026-12-06\r\n\r\n"))
		w.recv("GET").want(t, status, code)
	}
	all := func(status int, code string) {
		t.Helper()
		f(status, code, "/later/c?restype=container", "127.0.0.1")
		f(status, code, "/later-secondary/c?restype=container", "127.0.0.1")
		f(status, code, "/c?restype=container", "later.store.example.org")
		f(status, code, "/c?restype=container", "later-secondary.store.example.org:10000")
		f(status, code, "/c?restype=container", "LATER.blob.localhost")
		f(status, code, "/c?restype=container", "later-secondary.blob.localhost")
	}
	all(404, "ResourceNotFound")
	if err := ts.o.Service.Add(blobstore.AccountOptions{Name: "later", Keys: [][]byte{{1}}}, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	all(401, "NoAuthenticationInformation")
}
