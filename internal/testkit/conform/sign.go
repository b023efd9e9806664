package conform

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
)

// signature says how a request is signed. It is written from the description of the scheme and shares nothing with the
// server's own verifier.
type signature struct {
	account    string // in the Authorization header and the canonical resource
	key        string // base64
	lite       bool   // SharedKeyLite
	culture    bool   // sort x-ms-* as a Windows culture compares them, as newer SDKs do; else bytewise
	dateLine   bool   // put Date into its line even though x-ms-date is there
	resource   string // canonical path in place of /account + path of the request
	scheme     string // in place of SharedKey or SharedKeyLite
	raw        string // whole header value, in place of everything
	alteration func(stringToSign string) string
}

// header returns the value of the Authorization header for m.
func (s signature) header(m *message) string {
	if s.raw != "" {
		return s.raw
	}
	text := s.stringToSign(m)
	if s.alteration != nil {
		text = s.alteration(text)
	}
	key, err := base64.StdEncoding.DecodeString(s.key)
	if err != nil {
		panic("conform: account key is not base64: " + err.Error())
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	scheme := "SharedKey"
	if s.lite {
		scheme = "SharedKeyLite"
	}
	if s.scheme != "" {
		scheme = s.scheme
	}
	return scheme + " " + s.account + ":" + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func (s signature) stringToSign(m *message) string {
	v := func(name string) string {
		value, _ := lookup(m.fields, name)
		return value
	}
	date := v("Date")
	if v("x-ms-date") != "" && !s.dateLine {
		date = ""
	}
	path, query, _ := strings.Cut(m.target, "?")
	resource := "/" + s.account + path
	if s.resource != "" {
		resource = s.resource
	}
	if s.lite {
		if comp := decodedQuery(query)["comp"]; comp != nil {
			resource += "?comp=" + comp[0]
		}
		lines := []string{m.method, v("Content-MD5"), v("Content-Type"), date}
		return strings.Join(lines, "\n") + "\n" + s.canonicalHeaders(m.fields, v("x-ms-version")) + resource
	}
	// From 2015-02-21 an empty body's length is signed as nothing; before, as it was sent.
	length := v("Content-Length")
	if length == "0" && v("x-ms-version") > "2014-02-14" {
		length = ""
	}
	lines := []string{m.method, v("Content-Encoding"), v("Content-Language"), length, v("Content-MD5"), v("Content-Type"),
		date, v("If-Modified-Since"), v("If-Match"), v("If-None-Match"), v("If-Unmodified-Since"), v("Range")}
	return strings.Join(lines, "\n") + "\n" + s.canonicalHeaders(m.fields, v("x-ms-version")) + resource + canonicalQuery(query)
}

// canonicalHeaders is every x-ms-* header, "name:value" and LF each, in the order of the signature. Empty values count
// from 2016-05-31.
func (s signature) canonicalHeaders(fields []field, version string) string {
	values := map[string][]string{}
	for _, f := range fields {
		name := strings.ToLower(f.name)
		if strings.HasPrefix(name, "x-ms-") && (f.value != "" || version >= "2016-05-31") {
			values[name] = append(values[name], strings.TrimSpace(f.value))
		}
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	if s.culture {
		slices.SortFunc(names, compareCulture)
	} else {
		slices.Sort(names)
	}
	var b strings.Builder
	for _, name := range names {
		b.WriteString(name + ":" + strings.Join(values[name], ",") + "\n")
	}
	return b.String()
}

// cultureOrder is the order of the characters of a header name where the hyphen has no weight.
const cultureOrder = "!#$%&*.^_`|~+0123456789abcdefghijklmnopqrstuvwxyz"

// compareCulture compares lower-case header names as the service does: without their hyphens first; names that are equal
// so far differ at the first hyphen that only one of them has, and that one comes after.
func compareCulture(a, b string) int {
	x, y := strings.ReplaceAll(a, "-", ""), strings.ReplaceAll(b, "-", "")
	for i := 0; i < len(x) && i < len(y); i++ {
		if d := strings.IndexByte(cultureOrder, x[i]) - strings.IndexByte(cultureOrder, y[i]); d != 0 {
			return d
		}
	}
	if len(x) != len(y) {
		return len(x) - len(y)
	}
	for i := 0; i < len(a) && i < len(b); i++ {
		if a[i] != b[i] {
			if a[i] == '-' {
				return 1
			}
			return -1
		}
	}
	return len(a) - len(b)
}

// canonicalQuery is every parameter, LF and "name:value" each, sorted by lower-case name, decoded, repeated values sorted
// and joined by commas.
func canonicalQuery(query string) string {
	values := decodedQuery(query)
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		slices.Sort(values[name])
		b.WriteString("\n" + name + ":" + strings.Join(values[name], ","))
	}
	return b.String()
}

func decodedQuery(query string) map[string][]string {
	values := map[string][]string{}
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		name, value = decoded(name), decoded(value)
		values[strings.ToLower(name)] = append(values[strings.ToLower(name)], value)
	}
	return values
}

// decoded undoes percent-encoding, and leaves alone what is none: a test may send such a thing on purpose.
func decoded(s string) string {
	if d, err := url.QueryUnescape(s); err == nil {
		return d
	}
	return s
}
