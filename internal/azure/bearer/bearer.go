// Package bearer takes bearer tokens: JSON web tokens that an issuer of OpenID Connect signs, which say who asks. It says
// whether a token is genuine and good here and now, and which actions the roles of its user allow (roles.go). Which
// actions an operation needs is in internal/azure/op.
//
// A token is believed when a key of the issuer has signed it with RSA or an elliptic curve; the keys are read from the
// issuer (keys.go) and kept, and so are tokens that were found genuine, so that the issuer is asked nothing for a request
// of a known user. An Authority may also be told not to look at signatures, for tests of clients; then anybody can say to
// be anybody.
//
// Tokens are secrets. They are in no error of this package, and nothing of it logs.
package bearer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/op"
	"pagevault/internal/clock"
)

const (
	// Skew is how far the clocks of issuer and server may be apart, as Azure has it.
	Skew = 5 * time.Minute

	// tokenMax bounds a token: one with 200 groups, more than Entra puts into one, has 10 KiB.
	tokenMax = 16 << 10

	// cacheMax is how many genuine tokens are remembered, 1 KiB each. Beyond it all are forgotten and verified again, which
	// takes 50 µs each.
	cacheMax = 4096
)

// Options configures an Authority. Either Issuer or Unsigned is set.
type Options struct {
	Issuer    string       // URL, as it is in tokens: https, or http on loopback
	Unsigned  bool         // believe every token that is well formed and says that it is good
	Audiences []string     // of which a token must name one. nil: those of Azure Storage, and of the account at Azure
	Roles     *Roles       // nil: whoever has a token is an owner, which goes with Unsigned only
	Client    *http.Client // asks the issuer. nil: one that trusts what the system trusts, through the environment's proxy
	Clock     clock.Clock  // nil: the machine's
	Events    Events
}

// Events are called when something happens that no request reports. They may come from any goroutine; a nil function is
// not called.
type Events struct {
	KeysRead   func(n int)     // the issuer's keys are others than before
	KeysFailed func(err error) // the issuer's keys could not be read; those from before stay
}

// Authority knows whom to believe and what they may do. It is safe for concurrent use. Goroutines of its own read the
// issuer's keys, one at a time, and end with Close.
type Authority struct {
	o         Options
	keys      *keys // nil: signatures are not looked at
	challenge []byte

	mu struct {
		sync.Mutex
		genuine    map[[sha256.Size]byte]*Claims // by the hash of the token
		generation uint64                        // of the keys that they are signed with
	}
}

// New returns an Authority. It asks the issuer for nothing yet.
func New(o Options) (*Authority, error) {
	if o.Clock == nil {
		o.Clock = clock.System
	}
	switch {
	case o.Unsigned == (o.Issuer != ""):
		return nil, errors.New("want either an issuer or tokens that nobody need have signed")
	case o.Roles == nil && !o.Unsigned:
		return nil, errors.New("roles are missing: who may do what")
	}
	a := &Authority{o: o, challenge: []byte(challenge(&o))}
	a.mu.genuine = map[[sha256.Size]byte]*Claims{}
	if !o.Unsigned {
		if err := checkURL(o.Issuer); err != nil {
			return nil, fmt.Errorf("issuer %s: %w", o.Issuer, err)
		}
		a.keys = newKeys(&o)
	}
	return a, nil
}

// Close ends what reads the issuer's keys.
func (a *Authority) Close() {
	if a.keys != nil {
		a.keys.close()
	}
}

// Warm reads the issuer's keys, so that the first request need not wait for them. What goes wrong Events tells.
func (a *Authority) Warm(ctx context.Context) {
	if a.keys != nil {
		a.keys.wait(ctx, a.keys.refresh())
	}
}

// Challenge returns the value of WWW-Authenticate that tells clients where tokens come from.
func (a *Authority) Challenge() []byte { return a.challenge }

// challenge has the two parts that Azure's SDKs read. They take the fourth part between slashes for the tenant, which it is
// in the issuers that Azure has.
func challenge(o *Options) string {
	issuer, resource := "https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000", storageAudience
	if o.Issuer != "" {
		issuer = strings.TrimRight(o.Issuer, "/")
	}
	if len(o.Audiences) > 0 {
		resource = o.Audiences[0]
	}
	return "Bearer authorization_uri=" + issuer + "/oauth2/authorize resource_id=" + resource
}

// rejected is the error of a token that is not taken. The detail must not repeat any of it.
func rejected(detail string) error {
	return azerr.InvalidBearerToken.With("AuthenticationErrorDetail", detail)
}

// Verify returns what a token says, if it is genuine, for requests to the account, and good now. The errors are
// InvalidBearerToken, and ServerBusy when the issuer's keys are not there.
func (a *Authority) Verify(ctx context.Context, token []byte, account string) (*Claims, error) {
	if len(token) == 0 || len(token) > tokenMax {
		return nil, rejected("The token is empty, or too long.")
	}
	c, err := a.genuine(ctx, token)
	if err != nil {
		return nil, err
	}
	if err := c.checkTime(a.o.Clock.Now()); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(c.Audience, func(aud string) bool { return a.audience(aud, account) }) {
		return nil, rejected("Audience validation failed. Audience did not match.")
	}
	return c, nil
}

// genuine returns what a token says if it is from whom it says to be.
func (a *Authority) genuine(ctx context.Context, token []byte) (*Claims, error) {
	if a.keys == nil {
		c, err := parseUnsigned(string(token))
		if err == nil && !slices.ContainsFunc(azureIssuers, func(prefix string) bool { return strings.HasPrefix(c.Issuer, prefix) }) {
			err = errIssuer
		}
		return c, err
	}
	name, now := sha256.Sum256(token), a.o.Clock.Now()
	set := a.keys.current(now)
	a.mu.Lock()
	if set != nil && a.mu.generation != set.generation { // a key that is gone no longer vouches for anybody
		clear(a.mu.genuine)
		a.mu.generation = set.generation
	}
	c := a.mu.genuine[name]
	a.mu.Unlock()
	if c != nil {
		return c, nil
	}
	c, set, err := a.keys.verify(ctx, string(token))
	if err != nil {
		return nil, err
	}
	if c.checkTime(now) != nil {
		return c, nil // and is told so; not worth remembering
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.generation == set.generation {
		if len(a.mu.genuine) >= cacheMax {
			clear(a.mu.genuine)
		}
		a.mu.genuine[name] = c
	}
	return c, nil
}

// storageAudience is that of Azure Storage.
const storageAudience = "https://storage.azure.com"

// azureAudiences are what Azure Storage is called in tokens, beside the addresses of accounts.
var azureAudiences = []string{storageAudience, "e406a681-f3d4-42a8-90b6-c2b029497af1"}

// azureDomains are those of the Blob service in Azure's clouds.
var azureDomains = []string{"windows.net", "chinacloudapi.cn", "usgovcloudapi.net", "cloudapi.de"}

// azureIssuers are what tokens begin with that Azure takes.
var azureIssuers = []string{"https://sts.windows.net/", "https://sts.microsoftonline.de/", "https://sts.chinacloudapi.cn/",
	"https://sts.windows-ppe.net/", "https://login.microsoftonline.com/", "https://login.microsoftonline.us/", "https://login.partner.microsoftonline.cn/"}

// audience reports whether a token for aud is for the account. A slash at the end does not matter.
func (a *Authority) audience(aud, account string) bool {
	aud = strings.TrimSuffix(aud, "/")
	if a.o.Audiences != nil {
		return slices.ContainsFunc(a.o.Audiences, func(own string) bool { return strings.TrimSuffix(own, "/") == aud })
	}
	return slices.Contains(azureAudiences, aud) ||
		slices.ContainsFunc(azureDomains, func(domain string) bool { return aud == "https://"+account+".blob.core."+domain })
}

// Allowed returns the actions that whoever has the token may do to a container; "" is the account.
func (a *Authority) Allowed(c *Claims, account, container string) op.Action {
	if a.o.Roles == nil {
		return owner
	}
	return a.o.Roles.ofClaims(c, account, container)
}

// AllowedTo is Allowed for a user of whom only the object id is known: what the roles give to that id, and to everybody.
func (a *Authority) AllowedTo(objectID, account, container string) op.Action {
	if a.o.Roles == nil {
		return owner
	}
	return a.o.Roles.ofClaims(&Claims{ObjectID: objectID}, account, container)
}
