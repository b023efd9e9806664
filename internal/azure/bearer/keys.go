package bearer

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/clock"
)

const (
	// refreshEvery is the least time between two readings of the issuer's keys, whatever tokens come: a stranger with tokens
	// of keys that nobody knows must not have us call the issuer for each.
	refreshEvery = 10 * time.Second

	// keysAge is after what time known keys are read again, so that one that is withdrawn stops to count. Issuers announce a
	// new key a day or more before they use it.
	keysAge = time.Hour

	// fetchTimeout bounds a reading of the keys, and with it how long a request waits for them.
	fetchTimeout = 10 * time.Second

	documentMax = 1 << 20 // of what the issuer sends; Entra's keys are 15 KiB
	keysMax     = 256     // more than any issuer has
	rsaBitsMin  = 2048
)

// algorithms are those that a token may be signed with: none that uses a secret, which here would be one that is public.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512}

// keySet is the keys of the issuer at one time. It is never changed.
type keySet struct {
	generation uint64 // differs from that of every other set
	issuer     string // as it is in tokens
	keys       []jose.JSONWebKey
	read       time.Time
}

// find returns the keys of that name. A token without a name is for the only key there is.
func (s *keySet) find(name string) (found []jose.JSONWebKey) {
	if name == "" && len(s.keys) == 1 {
		return s.keys
	}
	for _, k := range s.keys {
		if name != "" && k.KeyID == name {
			found = append(found, k)
		}
	}
	return found
}

// keys reads and keeps the issuer's keys. At most one goroutine runs at a time; close waits for it.
type keys struct {
	issuer string
	client *http.Client
	clock  clock.Clock
	events Events

	ctx    context.Context // of what is read; ends with close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu struct {
		sync.Mutex
		set     *keySet // nil: never read yet
		tried   time.Time
		running chan struct{} // closed when the reading that is under way ends; nil: none is
		closed  bool
	}
}

func newKeys(o *Options) *keys {
	k := &keys{issuer: o.Issuer, client: o.Client, clock: o.Clock, events: o.Events}
	if k.client == nil {
		k.client = &http.Client{}
	}
	client := *k.client
	client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if len(via) > 3 {
			return errors.New("too many redirections")
		}
		return checkURL(r.URL.String())
	}
	k.client = &client
	k.ctx, k.cancel = context.WithCancel(context.Background())
	return k
}

func (k *keys) close() {
	k.mu.Lock()
	k.mu.closed = true
	k.mu.Unlock()
	k.cancel()
	k.wg.Wait()
}

// current returns the keys that are known, nil if there are none. Old ones it has read again meanwhile.
func (k *keys) current(now time.Time) *keySet {
	k.mu.Lock()
	set := k.mu.set
	k.mu.Unlock()
	if set != nil && now.Sub(set.read) >= keysAge {
		k.refresh()
	}
	return set
}

// verify returns what a token says that a key of the issuer has signed, and the keys it was looked up in.
func (k *keys) verify(ctx context.Context, token string) (*Claims, *keySet, error) {
	jws, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil || len(jws.Signatures) != 1 {
		return nil, nil, errForm
	}
	head := &jws.Signatures[0].Header
	set := k.current(k.clock.Now())
	if set == nil || len(set.find(head.KeyID)) == 0 {
		k.wait(ctx, k.refresh())
		set = k.current(k.clock.Now())
	}
	if set == nil {
		return nil, nil, azerr.ServerBusy.Because(errors.New("the keys of the issuer of tokens are not known yet"))
	}
	for _, key := range set.find(head.KeyID) {
		if key.Algorithm != "" && key.Algorithm != head.Algorithm {
			continue
		}
		payload, err := jws.Verify(key.Key)
		if err != nil {
			continue
		}
		c, err := parseClaims(payload)
		if err == nil && c.Issuer != set.issuer {
			err = errIssuer
		}
		return c, set, err
	}
	return nil, nil, rejected("Signature validation failed. No key of the issuer has signed the token.")
}

// wait waits for a reading to end, or ctx.
func (k *keys) wait(ctx context.Context, done <-chan struct{}) {
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// over is what a reading is that does not happen.
var over = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// refresh reads the keys again, unless that has just been tried, and returns what is closed when it is done.
func (k *keys) refresh() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.clock.Now()
	switch {
	case k.mu.running != nil:
		return k.mu.running
	case k.mu.closed || !k.mu.tried.IsZero() && now.Sub(k.mu.tried) < refreshEvery:
		return over
	}
	k.mu.tried = now
	done := make(chan struct{})
	k.mu.running = done
	k.wg.Go(func() { k.read(done) })
	return done
}

// read reads the keys and puts them in the place of those before.
func (k *keys) read(done chan struct{}) {
	ctx, cancel := context.WithTimeout(k.ctx, fetchTimeout)
	defer cancel()
	set, err := k.fetch(ctx)
	k.mu.Lock()
	changed := false
	if err == nil {
		old := k.mu.set
		changed = old == nil || !same(old, set)
		set.generation = 1
		if old != nil {
			set.generation = old.generation
		}
		if changed && old != nil {
			set.generation++
		}
		set.read = k.clock.Now()
		k.mu.set = set
	}
	k.mu.running = nil
	closed := k.mu.closed
	k.mu.Unlock()
	switch {
	case err != nil && !closed && k.events.KeysFailed != nil:
		k.events.KeysFailed(err)
	case changed && k.events.KeysRead != nil:
		k.events.KeysRead(len(set.keys))
	}
	close(done)
}

// same reports whether two sets hold the same keys.
func same(a, b *keySet) bool {
	x, err1 := json.Marshal(a.keys)
	y, err2 := json.Marshal(b.keys)
	return a.issuer == b.issuer && err1 == nil && err2 == nil && string(x) == string(y)
}

// fetch asks the issuer where its keys are, and then for them.
func (k *keys) fetch(ctx context.Context) (*keySet, error) {
	at := strings.TrimSuffix(k.issuer, "/") + "/.well-known/openid-configuration"
	body, err := k.get(ctx, at)
	if err != nil {
		return nil, err
	}
	var doc struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	if strings.TrimSuffix(doc.Issuer, "/") != strings.TrimSuffix(k.issuer, "/") {
		return nil, fmt.Errorf("%s: the issuer calls itself %q", at, doc.Issuer)
	}
	if err := checkURL(doc.Keys); err != nil {
		return nil, fmt.Errorf("%s: jwks_uri %q: %w", at, doc.Keys, err)
	}
	if body, err = k.get(ctx, doc.Keys); err != nil {
		return nil, err
	}
	set, err := parseKeys(body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doc.Keys, err)
	}
	return &keySet{issuer: doc.Issuer, keys: set}, nil
}

// get returns what is at an address.
func (k *keys) get(ctx context.Context, at string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: status %d", at, resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, documentMax+1))
	if err == nil && len(body) > documentMax {
		err = fmt.Errorf("more than %d bytes", documentMax)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	return body, nil
}

// parseKeys reads a set of keys, and leaves out those that no token is to be signed with: secrets, private ones, weak ones,
// and such as are for something else or of a kind that is not known.
func parseKeys(body []byte) ([]jose.JSONWebKey, error) {
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, err
	}
	if len(doc.Keys) > keysMax {
		return nil, fmt.Errorf("%d keys: want at most %d", len(doc.Keys), keysMax)
	}
	var all []jose.JSONWebKey
	for _, text := range doc.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(text) == nil && usable(&k) {
			all = append(all, k)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("none of the keys is one that tokens are signed with: RSA of 2048 bits or more, P-256, P-384 or P-521")
	}
	return all, nil
}

func usable(k *jose.JSONWebKey) bool {
	if k.Use != "" && k.Use != "sig" || !k.Valid() {
		return false
	}
	switch key := k.Key.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen() >= rsaBitsMin
	case *ecdsa.PublicKey:
		return true
	}
	return false
}

// checkURL returns an error unless what comes from the address can be believed: over TLS, or from this machine.
func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("not a URL")
	case u.Host == "" || u.User != nil:
		return errors.New("not the URL of a server")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && (u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()):
		return nil
	}
	return errors.New("want https, or http on a loopback address")
}
