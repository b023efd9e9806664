package conform

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// version is what the tests send as x-ms-version unless they say otherwise: that of the Go SDK they run beside.
const version = "2026-12-06"

// ref is a path below the account as it goes on the wire, percent-encoded: "", "/container" or "/container/blob".
type ref string

// container returns the container part of r, "" for the service.
func (r ref) container() ref {
	s, ok := strings.CutPrefix(string(r), "/")
	if !ok || s == "" {
		return ""
	}
	s, _, _ = strings.Cut(s, "/")
	return "/" + ref(s)
}

// blob returns a blob of container r by its plain name.
func (r ref) blob(name string) ref { return r + "/" + ref(escapePath(name)) }

// escapePath percent-encodes all of a name but unreserved characters and slashes. Dots stay: a client that wants "." or
// ".." as a name has no other way to write them.
func escapePath(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		c := name[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~/", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// wire sends requests for one test.
type wire struct {
	T
	env *Env
}

// wire returns the byte-level client for a test or a part of one.
func (e *Env) wire(t T) *wire {
	e.setUp()
	return &wire{t, e}
}

// part runs f as a named part of the test.
func (w *wire) part(name string, f func(w *wire)) {
	w.Helper()
	w.Run(name, func(t T) { f(w.env.wire(t)) })
}

// partAfter is part for one that needs d to pass. It is left out where that cannot be.
func (w *wire) partAfter(d time.Duration, name string, f func(w *wire)) {
	w.Helper()
	if !w.env.canPass(d) {
		w.env.out = append(w.env.out, name)
		return
	}
	w.part(name, f)
}

// call is a request being put together. It is dated, versioned, given a length and signed when it is sent.
type call struct {
	w       *wire
	method  string
	root    string // path before the resource: "/account", "/account-secondary"
	ref     ref
	query   string // without "?", as on the wire
	fields  []field
	body    []byte
	without map[string]bool // lower-case names of automatic headers to leave out
	expect  bool
	sign    signature
}

// do starts a request for a resource.
func (w *wire) do(method string, r ref, query string) *call {
	w.env.setUp()
	return &call{w: w, method: method, root: "/" + w.env.Account, ref: r, query: query, without: map[string]bool{},
		sign: signature{key: w.env.Key, account: w.env.Account}}
}

func (w *wire) get(r ref, query string) *call    { return w.do("GET", r, query) }
func (w *wire) put(r ref, query string) *call    { return w.do("PUT", r, query) }
func (w *wire) head(r ref, query string) *call   { return w.do("HEAD", r, query) }
func (w *wire) delete(r ref, query string) *call { return w.do("DELETE", r, query) }

// h adds a header line, also where there is one of that name already.
func (c *call) h(name, value string) *call {
	c.fields = append(c.fields, field{name, value})
	return c
}

// hs adds header lines given as name, value, name, value…
func (c *call) hs(pairs ...string) *call {
	for i := 0; i+1 < len(pairs); i += 2 {
		c.h(pairs[i], pairs[i+1])
	}
	return c
}

// b sets the body, which is also announced by Content-Length.
func (c *call) b(body []byte) *call {
	c.body = body
	return c
}

// q adds to the query; value is percent-encoded here.
func (c *call) q(name, value string) *call {
	if c.query != "" {
		c.query += "&"
	}
	c.query += name + "=" + url.QueryEscape(value)
	return c
}

// leave keeps an automatic header out: x-ms-date, x-ms-version, Content-Length, Authorization.
func (c *call) leave(names ...string) *call {
	for _, n := range names {
		c.without[strings.ToLower(n)] = true
	}
	return c
}

// message finishes the request.
func (c *call) message() *message {
	m := &message{method: c.method, target: c.root + string(c.ref), body: c.body, expect: c.expect}
	if c.query != "" {
		m.target += "?" + c.query
	}
	host := strings.TrimPrefix(strings.TrimPrefix(c.w.env.URL, "http://"), "https://")
	m.fields = append(m.fields, c.fields...)
	c.auto(m, "Host", host)
	c.auto(m, "x-ms-date", c.w.env.Clock.Now().UTC().Format(http.TimeFormat))
	c.auto(m, "x-ms-version", version)
	if c.method == "PUT" || c.method == "POST" || c.body != nil {
		c.auto(m, "Content-Length", strconv.Itoa(len(c.body)))
	}
	if !c.without["authorization"] {
		m.fields = append(m.fields, field{"Authorization", c.sign.header(m)})
	}
	return m
}

// auto adds a header unless the test has set it or wants it left out.
func (c *call) auto(m *message, name, value string) {
	if _, set := lookup(m.fields, name); set || c.without[strings.ToLower(name)] {
		return
	}
	m.fields = append(m.fields, field{name, value})
}

// send exchanges the request for a reply and checks of it what holds for every reply. It does not judge the outcome.
func (c *call) send() *reply {
	c.w.Helper()
	m := c.message()
	r, err := c.w.env.wires.exchange(m)
	if err != nil {
		c.w.Fatalf("%v", err)
	}
	if c.method != "GET" && c.method != "HEAD" && r.status < 300 {
		c.w.env.album.forget()
	}
	checkReply(c.w.T, r)
	c.w.env.checkVersions(c.w.T, r)
	return r
}

// ok sends the request and ends the test unless the reply has the status.
func (c *call) ok(status int) *reply {
	c.w.Helper()
	r := c.send()
	if r.status != status {
		c.w.Fatalf("want status %d:\n%v", status, r)
	}
	return r
}

// fails sends a request that is to be refused with code, and checks the status that belongs to the code, the header, the
// body with the detail elements given as name, value, name, value… (in this order, others may stand between; a value "*"
// matches any text), and that nothing changed. Failures do not end the test, so that one run of a table shows them all.
func (c *call) fails(code string, details ...string) *reply {
	c.w.Helper()
	return c.failsAny([]string{code}, details...)
}

// failsAny is fails where the evidence leaves the choice between several codes.
func (c *call) failsAny(codes []string, details ...string) *reply {
	c.w.Helper()
	before := c.w.env.album.look(c.w, c.ref)
	r := c.send()
	if c.judge(r, codes, details) {
		c.w.env.ledger.enter(r.get("x-ms-error-code"), r.status)
	}
	c.w.env.album.forget()
	if after := c.w.env.album.look(c.w, c.ref); after != before {
		c.w.Errorf("a refused request changed something:\n%v\n%s", r, difference(before, after))
	}
	return r
}

// judge compares an error reply with what was promised.
func (c *call) judge(r *reply, codes, details []string) bool {
	c.w.Helper()
	got := r.get("x-ms-error-code")
	for _, code := range codes {
		if statusOf(code) == 0 {
			c.w.Fatalf("the test names a code %q that codes.go does not list", code)
		}
		if got != wireName(code) || r.status != statusOf(code) {
			continue
		}
		if len(details) > 0 && len(r.body) > 0 {
			if missing := missingDetail(r.body, details); missing != "" {
				c.w.Errorf("error body lacks %s:\n%v", missing, r)
				return false
			}
		}
		return true
	}
	want := make([]string, len(codes))
	for i, code := range codes {
		want[i] = fmt.Sprintf("%d %s", statusOf(code), wireName(code))
	}
	c.w.Errorf("want %s:\n%v", strings.Join(want, " or "), r)
	return false
}

// missingDetail returns the first of the detail elements that body does not have, "" when it has them all.
func missingDetail(body []byte, details []string) string {
	root, err := parseXML(body)
	if err != nil {
		return err.Error()
	}
	at := 0
	for i := 0; i+1 < len(details); i += 2 {
		found := false
		for ; at < len(root.children) && !found; at++ {
			n := root.children[at]
			found = n.name == details[i] && (details[i+1] == "*" || n.text == details[i+1])
		}
		if !found {
			return fmt.Sprintf("<%s>%s</%s>", details[i], details[i+1], details[i])
		}
	}
	return ""
}

// notModified sends a read whose condition says the client has the newest, and checks the 304.
func (c *call) notModified() *reply {
	c.w.Helper()
	return c.failsAny([]string{"NotModified"})
}
