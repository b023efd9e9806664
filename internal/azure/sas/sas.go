// Package sas reads and verifies shared access signatures: tokens in the query of a request that let whoever has them do
// some things with some resources for some time.
//
// An account SAS is signed with a key of the account and is for all containers. A service SAS is signed with a key of
// the account and is for one container, blob or snapshot; parts of it may be in a stored access policy of the container.
// A user delegation SAS is a service SAS signed with a key that was given to a user.
//
// The package says whether a token is genuine and valid for a resource, at a time, from an address. Which permission an
// operation needs is in internal/azure/op.
//
// What is signed are values joined by line feeds. So that no value can pass for several, none may have a control
// character in it, and neither may the name of the blob.
package sas

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
	"strings"
	"time"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/query"
)

// Kind says what a token is signed with and what it is for.
type Kind uint8

// The kinds.
const (
	Account Kind = iota + 1
	Service
	Delegation
)

// Token is a shared access signature as it came with a request. It borrows nothing.
type Token struct {
	Kind      Kind
	values    [fieldEnd]string // as given, decoded; "" when absent
	signature [sha256.Size]byte
}

// Policy is a stored access policy of a container. Empty fields are left to the token.
type Policy struct {
	ID          string
	Start       string // as Get Container ACL has it: yyyy-MM-ddTHH:mm:ss.fffffffZ
	Expiry      string
	Permissions string
}

// Resource is what a request with a token is addressed to, and of the request what a token may be bound to.
type Resource struct {
	Account   string // without -secondary
	Container string // decoded; "": the account
	Blob      string // decoded; "": the container
	Headers   *header.Set
	Query     *query.Set
}

// failed is the error of a token that nobody believes. The detail must not repeat the signature.
func failed(detail string) error {
	return azerr.AuthenticationFailed.With("AuthenticationErrorDetail", detail)
}

// Parse reads the token in a query. The error is AuthenticationFailed for whatever makes no token: parameters given
// twice, missing, or of no known form.
func Parse(q *query.Set) (*Token, error) {
	t := new(Token)
	var seen [fieldEnd]bool
	for _, p := range q.Params() {
		f := fieldOf(p.Name)
		if f == 0 {
			continue
		}
		if seen[f] {
			return nil, failed("The parameter " + names[f] + " is given twice.")
		}
		if !plain(string(p.Value)) {
			return nil, failed("The parameter " + names[f] + " has a control character in it.")
		}
		seen[f], t.values[f] = true, string(p.Value)
	}
	// Clients that forget to escape the signature send a plus, which reads as a space.
	sum, err := base64.StdEncoding.Strict().DecodeString(strings.ReplaceAll(t.values[sig], " ", "+"))
	if err != nil || len(sum) != sha256.Size {
		return nil, failed("Signature is not well formed.")
	}
	copy(t.signature[:], sum)
	t.values[sig] = ""
	if err := t.classify(); err != nil {
		return nil, err
	}
	return t, t.checkForm()
}

// plain reports whether s has no control character.
func plain(s string) bool {
	return strings.IndexFunc(s, func(c rune) bool { return c < 0x20 || c == 0x7f }) < 0
}

// classify finds out what kind of token it is. One that could be read as two kinds is none.
func (t *Token) classify() error {
	v := &t.values
	account, service := v[ss] != "" || v[srt] != "", v[sr] != ""
	delegation := v[skoid]+v[sktid]+v[skt]+v[ske]+v[sks]+v[skv] != ""
	switch {
	case account && (service || delegation || v[si] != ""), !account && !service:
		return failed("The parameters are neither those of an account SAS nor those of a service SAS.")
	case account:
		t.Kind = Account
	case delegation:
		t.Kind = Delegation
	default:
		t.Kind = Service
	}
	return nil
}

// The first versions that have what they are named for.
const (
	firstVersion    = "2012-02-12" // with a version of its own; older tokens have none
	firstAccount    = "2015-04-05"
	firstSnapshot   = "2018-11-09"
	firstDelegation = "2018-11-09"
	firstBlobID     = "2019-12-12" // sr=bv
	firstPrefix     = "2015-02-21" // of /blob before the account
)

// checkForm checks whatever can be checked without knowing anything but the token.
func (t *Token) checkForm() error {
	v := &t.values
	if v[sv] != "" && !date(v[sv]) || v[sv] == "" && t.Kind != Service {
		return failed("Signed version is not well formed: sv=" + v[sv] + ".")
	}
	for _, f := range [...]field{st, se, skt, ske} {
		if _, ok := ParseTime(v[f]); v[f] != "" && !ok {
			return failed("The time of " + names[f] + " is not well formed: " + v[f] + ".")
		}
	}
	if _, _, ok := parseAddresses(v[sip]); !ok {
		return failed("The addresses of sip are not well formed: " + v[sip] + ".")
	}
	switch v[spr] {
	case "", "https", "https,http", "http,https":
	default:
		return failed("The protocols of spr are not well formed: " + v[spr] + ".")
	}
	switch t.Kind {
	case Account:
		return t.checkAccount()
	case Delegation:
		if err := t.checkKey(); err != nil {
			return err
		}
	}
	return t.checkResource()
}

func (t *Token) checkAccount() error {
	v := &t.values
	switch {
	case v[sv] < firstAccount:
		return failed("There is no account SAS of version " + v[sv] + ".")
	case v[sp] == "" || v[se] == "":
		return failed("The token says neither what is permitted nor until when: sp and se are mandatory.")
	case v[ss] == "" || strings.Trim(v[ss], "bqtf") != "":
		return failed("The services of ss are not well formed: " + v[ss] + ".")
	case v[srt] == "" || strings.Trim(v[srt], "sco") != "":
		return failed("The resource types of srt are not well formed: " + v[srt] + ".")
	}
	return nil
}

func (t *Token) checkResource() error {
	v := &t.values
	since := map[string]string{"b": "", "c": "", "bs": firstSnapshot, "bv": firstBlobID}
	first, ok := since[v[sr]]
	switch {
	case v[sr] == "d":
		return failed("A token for a directory (sr=d) is for accounts with a hierarchical namespace.")
	case !ok || v[sv] < first:
		return failed("The resource of sr is not well formed: " + v[sr] + ".")
	case v[sdd] != "":
		return failed("The parameter sdd goes with sr=d.")
	case v[si] == "" && (v[sp] == "" || v[se] == ""):
		return failed("The token says neither what is permitted nor until when: sp and se are mandatory without si.")
	}
	return nil
}

// Verify returns nil when the token is signed for the resource with one of the keys. The error is AuthenticationFailed
// with what should have been signed. For a Delegation the keys are DelegationKeys of the account's.
func (t *Token) Verify(r *Resource, keys [][]byte) error {
	text, err := t.stringToSign(r)
	if err != nil {
		return err
	}
	for _, key := range keys {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(text))
		if hmac.Equal(m.Sum(nil), t.signature[:]) {
			return nil
		}
	}
	return failed("Signature did not match. String to sign used was " + strings.ToValidUTF8(text, "\uFFFD"))
}

// Policy returns the id of the stored access policy that the token leans on, "" if it needs none.
func (t *Token) Policy() string { return t.values[si] }

// Apply completes the token from its policy. A field that both have is InvalidQueryParameterValue, one that is
// mandatory and in neither AuthenticationFailed.
func (t *Token) Apply(p *Policy) error {
	for _, part := range [...]struct {
		field
		value string
	}{{st, p.Start}, {se, p.Expiry}, {sp, p.Permissions}} {
		switch given := &t.values[part.field]; {
		case part.value == "":
		case *given != "":
			return azerr.BadQuery(names[part.field], *given, "the stored access policy says it too")
		default:
			*given = part.value
		}
	}
	if t.values[se] == "" || t.values[sp] == "" {
		return failed("Neither the token nor its stored access policy says what is permitted and until when.")
	}
	return nil
}

// Check returns nil when the token may be used now, from that address, over TLS or not. The errors are
// AuthenticationFailed, AuthorizationSourceIPMismatch and AuthorizationProtocolMismatch.
func (t *Token) Check(now time.Time, from netip.Addr, tls bool) error {
	v := &t.values
	if err := t.checkInterval(now, st, se); err != nil {
		return err
	}
	if t.Kind == Delegation {
		if err := t.checkInterval(now, skt, ske); err != nil {
			return err
		}
	}
	lo, hi, _ := parseAddresses(v[sip])
	from = from.Unmap()
	if lo.IsValid() && (from.BitLen() != lo.BitLen() || from.Less(lo) || hi.Less(from)) {
		return azerr.AuthorizationSourceIPMismatch.With("SourceIP", from.String())
	}
	if v[spr] == "https" && !tls {
		return azerr.AuthorizationProtocolMismatch
	}
	return nil
}

// checkInterval checks that now is not before the one time and before the other.
func (t *Token) checkInterval(now time.Time, start, expiry field) error {
	if from, ok := ParseTime(t.values[start]); ok && now.Before(from) {
		return failed("Signature not valid in the specified time frame: " + names[start] + " is " + t.values[start] + ".")
	}
	until, ok := ParseTime(t.values[expiry])
	if !ok || !now.Before(until) {
		return failed("Signature not valid in the specified time frame: " + names[expiry] + " is " + t.values[expiry] + ".")
	}
	return nil
}

// Version returns the version that the token is of, "" for the oldest.
func (t *Token) Version() string { return t.values[sv] }

// Permits reports whether the token has one of the letters. Letters that nobody knows do not matter.
func (t *Token) Permits(letters string) bool { return strings.ContainsAny(t.values[sp], letters) }

// ForBlobs reports whether an account SAS is for the Blob service.
func (t *Token) ForBlobs() bool { return strings.Contains(t.values[ss], "b") }

// ForType reports whether an account SAS is for resources of the type: 's', 'c' or 'o'.
func (t *Token) ForType(kind byte) bool { return strings.IndexByte(t.values[srt], kind) >= 0 }

// Scope returns the encryption scope that the token demands, "" for none.
func (t *Token) Scope() string { return t.values[ses] }

// Override is a header of a reply as a token wants it. An empty Value leaves it as it is.
type Override struct{ Name, Value string }

// Overrides returns the headers that a read with the token answers in place of the blob's.
func (t *Token) Overrides() [5]Override {
	v := &t.values
	return [...]Override{{"Cache-Control", v[rscc]}, {"Content-Disposition", v[rscd]}, {"Content-Encoding", v[rsce]},
		{"Content-Language", v[rscl]}, {"Content-Type", v[rsct]}}
}
