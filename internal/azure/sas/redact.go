package sas

import "strings"

// hidden stands in for a signature.
const hidden = "..."

// Redact returns a text, such as a URL or an error about one, without the signatures of tokens in it.
func Redact(s string) string {
	var b strings.Builder
	for {
		at, n := findSignature(s)
		if at < 0 {
			if b.Len() == 0 {
				return s
			}
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:at+n])
		b.WriteString(hidden)
		s = s[at+n:]
		s = s[signatureEnd(s):]
	}
}

// findSignature returns where the name of the first signature parameter in s is, in clear or escaped, and its length
// with the sign of equality; -1 when there is none.
func findSignature(s string) (at, n int) {
	for i := 0; i+len("sig=") <= len(s); i++ {
		for _, name := range [...]string{"sig=", "sig%3d", "sig%253d"} {
			if len(s)-i >= len(name) && strings.EqualFold(s[i:i+len(name)], name) {
				return i, len(name)
			}
		}
	}
	return -1, 0
}

// signatureEnd returns how long the value is that s begins with.
func signatureEnd(s string) int {
	for i := range len(s) {
		if strings.IndexByte("& \t\r\n\"'<>,;)", s[i]) >= 0 || len(s)-i >= 3 && s[i:i+3] == "%26" || len(s)-i >= 5 && s[i:i+5] == "%2526" {
			return i
		}
	}
	return len(s)
}
