package server

import (
	"testing"

	"pagevault/internal/azure/xmlbody"
)

func TestCorsRule(t *testing.T) {
	rules := []xmlbody.CorsRule{
		{AllowedOrigins: "http://a.example, https://*.wild.example", AllowedMethods: "GET,PUT", AllowedHeaders: "x-ms-date, X-Ms-Meta-*"},
		{AllowedOrigins: "*", AllowedMethods: "HEAD"},
	}
	f := func(want int, origin, method, headers string) {
		t.Helper()
		got := -1
		for i := range rules {
			if corsRule(rules, origin, method, headers) == &rules[i] {
				got = i
			}
		}
		if got != want {
			t.Errorf("%s %s %q: rule %d, want %d", method, origin, headers, got, want)
		}
	}
	f(0, "http://a.example", "GET", "")
	f(0, "http://a.example", "PUT", "X-MS-Date,x-ms-meta-any")
	f(-1, "http://a.example", "PUT", "x-ms-date,x-ms-version")
	f(-1, "http://a.example", "DELETE", "")
	f(-1, "https://a.example", "GET", "") // the scheme counts
	f(-1, "http://a.example.org", "GET", "")
	f(0, "https://x.y.wild.example", "GET", "")
	f(-1, "https://wild.example", "GET", "")
	f(-1, "https://.wild.example", "GET", "")
	f(-1, "https://evilwild.example", "GET", "")
	f(1, "null", "HEAD", "")
	f(-1, "null", "HEAD", "x") // no header is allowed
}
