package bearer

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"time"
)

// Claims is what a token says that matters here. It borrows nothing and must not be changed.
type Claims struct {
	Issuer    string
	Subject   string
	ObjectID  string // "": the issuer has no such claim
	TenantID  string // likewise
	Audience  []string
	Roles     []string
	Groups    []string
	Expiry    time.Time
	NotBefore time.Time // zero: not said
	IssuedAt  time.Time // likewise
}

// Name returns what the user is called in logs: the object id, or else the subject.
func (c *Claims) Name() string {
	if c.ObjectID != "" {
		return c.ObjectID
	}
	return c.Subject
}

var (
	errForm    = rejected("The token is not well formed.")
	errIssuer  = rejected("Issuer validation failed. Issuer did not match.")
	errExpired = rejected("Lifetime validation failed. The token is expired.")
	errEarly   = rejected("Lifetime validation failed. The token is not yet valid.")
)

// checkTime checks that the token is good at now, by clocks that may be apart by Skew.
func (c *Claims) checkTime(now time.Time) error {
	switch {
	case !now.Before(c.Expiry.Add(Skew)):
		return errExpired
	case now.Add(Skew).Before(c.NotBefore), now.Add(Skew).Before(c.IssuedAt):
		return errEarly
	}
	return nil
}

// texts is a claim that is a text or a list of them.
type texts []string

func (t *texts) UnmarshalJSON(p []byte) error {
	var one string
	if bytes.HasPrefix(p, []byte{'"'}) {
		if err := json.Unmarshal(p, &one); err != nil {
			return err
		}
		*t = texts{one}
		return nil
	}
	return json.Unmarshal(p, (*[]string)(t))
}

// moment is a NumericDate: seconds since 1970, maybe with a fraction.
type moment time.Time

// momentMax is in the year 5138: what lies beyond is a mistake, such as milliseconds.
const momentMax = 1e11

var errMoment = errors.New("not a number of seconds since 1970")

func (m *moment) UnmarshalJSON(p []byte) error {
	var n float64
	if string(p) == "null" || json.Unmarshal(p, &n) != nil || n < 0 || n > momentMax || math.IsNaN(n) {
		return errMoment
	}
	whole, part := math.Modf(n)
	*m = moment(time.Unix(int64(whole), int64(part*1e9)).UTC())
	return nil
}

// parseClaims reads the payload of a token. A claim that is not of the type it should be makes the token no token, as do
// one that lacks an issuer, a user or an end.
func parseClaims(payload []byte) (*Claims, error) {
	var p map[string]json.RawMessage // not a struct: to encoding/json a claim "OID" would be one more "oid"
	if err := json.Unmarshal(payload, &p); err != nil {
		return nil, errForm
	}
	c := new(Claims)
	for _, claim := range [...]struct {
		name string
		into any
	}{{"iss", &c.Issuer}, {"sub", &c.Subject}, {"oid", &c.ObjectID}, {"tid", &c.TenantID}, {"aud", (*texts)(&c.Audience)},
		{"roles", (*texts)(&c.Roles)}, {"groups", (*texts)(&c.Groups)}, {"exp", (*moment)(&c.Expiry)},
		{"nbf", (*moment)(&c.NotBefore)}, {"iat", (*moment)(&c.IssuedAt)}} {
		if text, ok := p[claim.name]; ok && json.Unmarshal(text, claim.into) != nil {
			return nil, errForm
		}
	}
	switch {
	case c.Issuer == "" || c.Name() == "" || c.Expiry.IsZero():
		return nil, errForm
	case strings.ContainsFunc(c.ObjectID+c.TenantID+c.Subject, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		return nil, errForm // they are signed and logged in lines
	}
	return c, nil
}

// parseUnsigned reads a token without a look at its signature, which may be missing.
func parseUnsigned(token string) (*Claims, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errForm
	}
	head, err := base64.RawURLEncoding.Strict().DecodeString(parts[0])
	if err != nil || !json.Valid(head) || head[0] != '{' {
		return nil, errForm
	}
	payload, err := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	if err != nil {
		return nil, errForm
	}
	return parseClaims(payload)
}
