package conform

import (
	"bytes"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var (
	guidForm     = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	etagForm     = regexp.MustCompile(`^"0x[0-9A-F]{15}"$`)
	versionForm  = regexp.MustCompile(`^20\d\d-\d\d-\d\d$`)
	snapshotForm = regexp.MustCompile(`^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z$`)
	messageForm  = regexp.MustCompile(`(?s)^[^\n]+\nRequestId:([0-9a-f-]{36})\nTime:(\S+)$`)
)

// checkReply checks of one reply what holds for every reply to every request, whoever sent it. Everything the suite
// receives passes here.
func checkReply(t T, r *reply) {
	t.Helper()
	faults := replyFaults(r)
	if len(faults) > 0 {
		t.Errorf("every reply: %s:\n%v", strings.Join(faults, "; "), r)
	}
}

// replyFaults lists what is wrong with a reply, in words.
func replyFaults(r *reply) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if !guidForm.MatchString(r.get("x-ms-request-id")) {
		fault("x-ms-request-id %q is not a GUID", r.get("x-ms-request-id"))
	}
	checkVersion(r, fault)
	if _, err := httpTime(r.get("Date")); err != nil {
		fault("Date: %v", err)
	}
	if r.get("Server") == "" {
		fault("no Server")
	}
	checkEcho(r, fault)
	checkTwice(r, fault)
	checkStamp(r, fault)
	checkLength(r, fault)
	if r.status >= 300 {
		checkRefusal(r, fault)
	} else if r.has("x-ms-error-code") {
		fault("a success carries x-ms-error-code")
	}
	return faults
}

// checkVersion: the version that was asked for comes back; without a well-formed one, the one that was used.
func checkVersion(r *reply, fault func(string, ...any)) {
	got := r.get("x-ms-version")
	if !versionForm.MatchString(got) {
		fault("x-ms-version %q", got)
	}
	if asked, ok := lookup(r.sent, "x-ms-version"); ok && versionForm.MatchString(asked) && r.status < 400 && got != asked {
		fault("x-ms-version %q, asked for %q", got, asked)
	}
}

// checkEcho: a client request id of up to 1,024 visible ASCII characters comes back byte for byte, and nothing else does.
func checkEcho(r *reply, fault func(string, ...any)) {
	asked, sent := lookup(r.sent, "x-ms-client-request-id")
	got, echoed := lookup(r.fields, "x-ms-client-request-id")
	echo := sent && asked != "" && len(asked) <= 1024
	for i := 0; i < len(asked); i++ {
		echo = echo && asked[i] >= 0x20 && asked[i] < 0x7f
	}
	if echo != echoed || echo && got != asked {
		fault("x-ms-client-request-id %q (sent %v), asked with %q", got, echoed, asked)
	}
}

// checkTwice: no header comes twice, and the body is framed in one way.
func checkTwice(r *reply, fault func(string, ...any)) {
	seen := map[string]bool{}
	for _, f := range r.fields {
		name := strings.ToLower(f.name)
		if seen[name] {
			fault("%s comes twice", f.name)
		}
		seen[name] = true
	}
	if r.has("Transfer-Encoding") && r.has("Content-Length") {
		fault("both Transfer-Encoding and Content-Length")
	}
}

// checkStamp: the forms of ETag, Last-Modified and snapshot; one does not come without the other. There is no versioning
// here, so nothing may look as if there were.
func checkStamp(r *reply, fault func(string, ...any)) {
	if etag := r.get("ETag"); r.has("ETag") && !etagForm.MatchString(etag) {
		fault("ETag %s", etag)
	}
	if r.has("Last-Modified") {
		if _, err := httpTime(r.get("Last-Modified")); err != nil {
			fault("Last-Modified: %v", err)
		}
	}
	if r.has("ETag") != r.has("Last-Modified") {
		fault("only one of ETag and Last-Modified")
	}
	if s := r.get("x-ms-snapshot"); r.has("x-ms-snapshot") && !snapshotForm.MatchString(s) {
		fault("x-ms-snapshot %q", s)
	}
	if id := r.get("x-ms-version-id"); r.has("x-ms-version-id") && !snapshotForm.MatchString(id) {
		fault("x-ms-version-id %q", id)
	}
	if r.has("x-ms-is-current-version") && (!r.has("x-ms-version-id") || r.get("x-ms-is-current-version") != "true") {
		fault("x-ms-is-current-version %q", r.get("x-ms-is-current-version"))
	}
	for _, f := range r.fields {
		switch f.value {
		case "True", "False", "TRUE", "FALSE":
			fault("%s: %s, booleans are lower-case", f.name, f.value)
		}
	}
}

// checkLength: a write that succeeds says Content-Length: 0 [R]. A reply to HEAD has no body, which the connection shows;
// here only that what the header says of it can be.
func checkLength(r *reply, fault func(string, ...any)) {
	if r.status == 204 { // has neither a body nor a length
		if r.has("Content-Length") || len(r.body) > 0 {
			fault("204 with Content-Length %q", r.get("Content-Length"))
		}
		return
	}
	if r.status < 300 && (r.method == "PUT" || r.method == "DELETE") && r.get("Content-Length") != "0" {
		fault("a write succeeded with Content-Length %q", r.get("Content-Length"))
	}
	if n := r.get("Content-Length"); r.method != "HEAD" && r.has("Content-Length") && n != strconv.Itoa(len(r.body)) {
		fault("Content-Length %q, %d bytes", n, len(r.body))
	}
}

// checkRefusal: the code in the header; the body in the one shape that errors have; no body, nor headers that announce
// one, on HEAD and 304.
func checkRefusal(r *reply, fault func(string, ...any)) {
	code := r.get("x-ms-error-code")
	if code == "" {
		fault("no x-ms-error-code")
	}
	if r.method == "HEAD" || r.status == 304 {
		if len(r.body) > 0 {
			fault("a body")
		}
		if n := r.get("Content-Length"); r.has("Content-Length") && n != "0" {
			fault("Content-Length %q for no body", n)
		}
		if r.has("Content-Type") {
			fault("Content-Type for no body")
		}
		return
	}
	if ct := r.get("Content-Type"); ct != "application/xml" {
		fault("Content-Type %q", ct)
	}
	checkErrorBody(r, code, fault)
}

// checkErrorBody: <Error>, Code first, Message with the request id and the time as its last two lines, then details.
func checkErrorBody(r *reply, code string, fault func(string, ...any)) {
	const start = `<?xml version="1.0" encoding="utf-8"?><Error><Code>`
	if !bytes.HasPrefix(bytes.TrimPrefix(r.body, []byte("\xEF\xBB\xBF")), []byte(start)) {
		fault("the body does not begin with %s", start)
	}
	root, err := parseXML(r.body)
	if err != nil {
		fault("%v", err)
		return
	}
	if root.name != "Error" || !strings.HasPrefix(root.names(), "Code Message") {
		fault("<%s> of %s", root.name, root.names())
		return
	}
	if got := root.value("Code"); got != code {
		fault("<Code>%s</Code> beside x-ms-error-code: %s", got, code)
	}
	m := messageForm.FindStringSubmatch(root.value("Message"))
	if m == nil {
		fault("<Message>%q", root.value("Message"))
		return
	}
	if m[1] != r.get("x-ms-request-id") {
		fault("request id %s in the message", m[1])
	}
	if !snapshotForm.MatchString(m[2]) { // the same form: seven digits and Z
		fault("time %s in the message", m[2])
	}
}

// httpTime parses the one form of time that headers have.
func httpTime(s string) (time.Time, error) {
	t, err := time.Parse(http.TimeFormat, s)
	if err == nil && t.Format(http.TimeFormat) != s {
		err = fmt.Errorf("time %q is not in its normal form", s)
	}
	return t, err
}
