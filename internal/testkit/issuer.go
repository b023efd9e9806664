package testkit

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// Issuer is an issuer of OpenID Connect on loopback, over TLS, as far as a server that takes its tokens needs one. It signs
// whatever it is told. It ends with the test.
type Issuer struct {
	URL string // as it is in tokens

	srv *httptest.Server
	mu  struct {
		sync.Mutex
		keys    []IssuerKey // all that it publishes; it signs with the last
		fetches int         // of its keys
		down    bool
	}
}

// IssuerKey is a key that tokens are signed with, and what it is called.
type IssuerKey struct {
	ID        string
	Algorithm jose.SignatureAlgorithm
	Key       any // private, or a secret
}

// StartIssuer starts an issuer that has an RSA key and one on a curve, and signs with the former.
func StartIssuer(t testing.TB) *Issuer {
	t.Helper()
	i := &Issuer{}
	mux := http.NewServeMux()
	mux.HandleFunc("/tenant/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.answer(w, map[string]any{"issuer": i.URL, "jwks_uri": i.srv.URL + "/keys"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		i.mu.fetches++
		var set jose.JSONWebKeySet
		for _, k := range i.mu.keys {
			public := k.Key
			if private, ok := k.Key.(interface{ Public() crypto.PublicKey }); ok {
				public = private.Public()
			}
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: public, KeyID: k.ID, Use: "sig"})
		}
		i.mu.Unlock()
		i.answer(w, set)
	})
	i.srv = httptest.NewTLSServer(mux)
	t.Cleanup(i.srv.Close)
	i.URL = i.srv.URL + "/tenant"
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i.Publish(IssuerKey{"curve", jose.ES256, curve}, NewIssuerKey(t, "first"))
	return i
}

// NewIssuerKey returns a new RSA key.
func NewIssuerKey(t testing.TB, id string) IssuerKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return IssuerKey{id, jose.RS256, key}
}

func (i *Issuer) answer(w http.ResponseWriter, body any) {
	i.mu.Lock()
	down := i.mu.down
	i.mu.Unlock()
	if down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	if err := json.NewEncoder(w).Encode(body); err != nil {
		panic(err) // of the test's own making
	}
}

// Publish makes these the keys, the last of which signs from now on.
func (i *Issuer) Publish(keys ...IssuerKey) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.mu.keys = keys
}

// Keys returns the keys that are published.
func (i *Issuer) Keys() []IssuerKey {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.mu.keys
}

// SetDown has the issuer answer nothing but errors, or not.
func (i *Issuer) SetDown(down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.mu.down = down
}

// Fetches returns how often the keys were asked for.
func (i *Issuer) Fetches() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.mu.fetches
}

// Client returns a client that trusts the issuer.
func (i *Issuer) Client() *http.Client { return i.srv.Client() }

// CAFile returns a file with the certificate by which clients trust the issuer.
func (i *Issuer) CAFile(t testing.TB) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "issuer.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.srv.Certificate().Raw})
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Token returns a token that says claims. The issuer is in it unless claims say otherwise.
func (i *Issuer) Token(claims map[string]any) string {
	keys := i.Keys()
	return i.TokenBy(keys[len(keys)-1], claims)
}

// TokenBy is Token signed with a key that need not be one of the issuer's.
func (i *Issuer) TokenBy(key IssuerKey, claims map[string]any) string {
	all := map[string]any{"iss": i.URL}
	for name, value := range claims {
		all[name] = value
	}
	payload, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	text, err := key.Sign(payload)
	if err != nil {
		panic(fmt.Sprintf("signing a token: %v", err))
	}
	return text
}

// Sign returns a token with the payload.
func (k IssuerKey) Sign(payload []byte) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: k.Algorithm, Key: k.Key},
		(&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", k.ID))
	if err != nil {
		return "", err
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return jws.CompactSerialize()
}
