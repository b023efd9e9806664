package conform

import (
	"fmt"
	"strings"
	"testing"
)

// The replies that the checks of every reply are tried on, as they would come off the wire.
func goodReplies() map[string]*reply {
	common := []field{{"x-ms-request-id", "0b072e35-a072-4a84-a4b8-5becc9396f6c"}, {"x-ms-version", version},
		{"Date", "Sun, 22 Nov 2026 19:52:27 GMT"}, {"Server", "X"}, {"x-ms-client-request-id", "me"}}
	stamp := []field{{"ETag", `"0x8DF48D2E73D9A11"`}, {"Last-Modified", "Sun, 22 Nov 2026 19:52:27 GMT"}}
	make := func(method string, status int, body string, more ...field) *reply {
		r := &reply{method: method, status: status, body: []byte(body), sent: []field{{"x-ms-version", version}, {"x-ms-client-request-id", "me"}}}
		r.fields = append(append(r.fields, common...), more...)
		return r
	}
	body := `<?xml version="1.0" encoding="utf-8"?><Error><Code>BlobNotFound</Code><Message>No.` + "\n" +
		`RequestId:0b072e35-a072-4a84-a4b8-5becc9396f6c` + "\n" + `Time:2026-11-22T19:54:54.9805044Z</Message></Error>`
	return map[string]*reply{
		"write":        make("PUT", 201, "", append(stamp, field{"Content-Length", "0"}, field{"x-ms-snapshot", "2026-11-22T19:54:54.9805044Z"})...),
		"read":         make("GET", 200, "abc", append(stamp, field{"Content-Length", "3"})...),
		"head":         make("HEAD", 200, "", append(stamp, field{"Content-Length", "512"})...),
		"not modified": make("GET", 304, "", append(stamp, field{"x-ms-error-code", "ConditionNotMet"})...),
		"head error":   make("HEAD", 404, "", field{"x-ms-error-code", "BlobNotFound"}, field{"Content-Length", "0"}),
		"error": make("GET", 404, body, field{"x-ms-error-code", "BlobNotFound"}, field{"Content-Type", "application/xml"},
			field{"Content-Length", fmt.Sprint(len(body))}),
	}
}

// without returns the fields without one.
func without(fields []field, name string) (rest []field) {
	for _, f := range fields {
		if !strings.EqualFold(f.name, name) {
			rest = append(rest, f)
		}
	}
	return rest
}

// TestCheckReply spoils a good reply in every way that the checks are there for.
func TestCheckReply(t *testing.T) {
	for name, r := range goodReplies() {
		if faults := replyFaults(r); len(faults) > 0 {
			t.Errorf("%s: %v", name, faults)
		}
	}
	spoil := func(name, what string, f func(r *reply)) {
		t.Helper()
		r := goodReplies()[name]
		f(r)
		if len(replyFaults(r)) == 0 {
			t.Errorf("%s, %s: no fault found in\n%v", name, what, r)
		}
	}
	set := func(header, value string) func(r *reply) {
		return func(r *reply) { r.fields = append(without(r.fields, header), field{header, value}) }
	}
	drop := func(header string) func(r *reply) { return func(r *reply) { r.fields = without(r.fields, header) } }
	add := func(header, value string) func(r *reply) {
		return func(r *reply) { r.fields = append(r.fields, field{header, value}) }
	}
	text := func(old, new string) func(r *reply) {
		return func(r *reply) {
			r.body = []byte(strings.Replace(string(r.body), old, new, 1))
			set("Content-Length", fmt.Sprint(len(r.body)))(r)
		}
	}
	for name, r := range goodReplies() {
		for _, header := range []string{"x-ms-request-id", "x-ms-version", "Date", "Server", "x-ms-client-request-id"} {
			spoil(name, "no "+header, drop(header))
			spoil(name, "twice "+header, add(header, r.get(header)))
		}
		spoil(name, "another id", set("x-ms-client-request-id", "Me"))
		spoil(name, "a version", add("x-ms-version-id", "2026-11-22"))
		spoil(name, "a capital", add("x-ms-server-encrypted", "True"))
		spoil(name, "a bad date", set("Date", "2026-11-22"))
		spoil(name, "a bad request id", set("x-ms-request-id", "1"))
	}
	for _, name := range []string{"write", "read", "head", "not modified"} {
		spoil(name, "no ETag", drop("ETag"))
		spoil(name, "no Last-Modified", drop("Last-Modified"))
		spoil(name, "bare ETag", set("ETag", "0x8DF48D2E73D9A11"))
		spoil(name, "weak ETag", set("ETag", `W/"0x8DF48D2E73D9A11"`))
		spoil(name, "lower-case ETag", set("ETag", `"0x8df48d2e73d9a11"`))
		spoil(name, "local time", set("Last-Modified", "Sun, 22 Nov 2026 19:52:27 CET"))
	}
	spoil("read", "another version", set("x-ms-version", "2021-12-02"))
	spoil("read", "an error code", add("x-ms-error-code", "BlobNotFound"))
	spoil("write", "no length", drop("Content-Length"))
	spoil("write", "a short time", set("x-ms-snapshot", "2026-11-22T19:54:54Z"))
	spoil("read", "both framings", add("Transfer-Encoding", "chunked"))
	for _, name := range []string{"not modified", "head error"} {
		spoil(name, "a body", func(r *reply) { r.body = []byte("x") })
		spoil(name, "a length", set("Content-Length", "5"))
		spoil(name, "a type", add("Content-Type", "application/xml"))
		spoil(name, "no code", drop("x-ms-error-code"))
	}
	spoil("error", "no code", drop("x-ms-error-code"))
	spoil("error", "another code", set("x-ms-error-code", "ContainerNotFound"))
	spoil("error", "another type", set("Content-Type", "text/xml"))
	spoil("error", "no body", func(r *reply) { r.body = nil; set("Content-Length", "0")(r) })
	spoil("error", "no declaration", text(`<?xml version="1.0" encoding="utf-8"?>`, ""))
	spoil("error", "another root", text("<Error>", "<Fault>"))
	spoil("error", "not XML", text("</Error>", ""))
	spoil("error", "no trailer", text("\nRequestId:", " RequestId:"))
	spoil("error", "another request", text("RequestId:0b", "RequestId:1b"))
	spoil("error", "a short time", text("54.9805044Z", "54Z"))
	spoil("error", "order", text("<Error>", "<Error><HeaderName>Range</HeaderName>"))
}
