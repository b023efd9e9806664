package conform

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/blobstore"
	"pagevault/internal/azure/bearer"
	"pagevault/internal/clock"
	"pagevault/internal/testkit"
	"pagevault/pagestore"
	"pagevault/replication"
	"pagevault/server"
)

// testT makes a T of a *testing.T.
type testT struct{ *testing.T }

func (t testT) Run(name string, f func(T)) bool {
	t.Helper()
	return t.T.Run(name, func(t *testing.T) { f(testT{t}) })
}

// TestConform runs the list against a server in the process, on loopback, with three members on memory file systems and
// a clock that the tests move. When the whole list has run, every code of Codes must have been provoked.
func TestConform(t *testing.T) {
	env := startServer(t)
	ran := 0
	for _, test := range Tests {
		t.Run(test.Name, func(t *testing.T) {
			ran++
			test.Run(testT{t}, env)
		})
	}
	if missing := env.Missing(); ran == len(Tests) && len(missing) > 0 {
		t.Errorf("codes that no test has provoked:\n%s", strings.Join(missing, "\n"))
	}
}

// TestLeftOut: what needs a container with immutable storage is noted where there is none, also of the account with
// versioning.
func TestLeftOut(t *testing.T) {
	env := startServer(t)
	env.Immutable = ""
	blobVersions(testT{t}, env)
	if out := env.LeftOut(); len(out) != 1 || out[0] != "versions that are protected" {
		t.Errorf("left out: %q", out)
	}
}

// What the server of these tests has besides an account.
const (
	testImmutable = "conform-immutable"
	testPremium   = "conformpremium"
	testVersioned = "conformversioned"
)

// containerDays is for how many days the server of these tests keeps deleted containers.
const containerDays = 5

// startServer starts a server for one account and returns its Env.
func startServer(t *testing.T) *Env {
	t.Helper()
	c := clock.NewManual(time.Now())
	key := func(s string) []byte {
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	blobs, err := blobstore.Open(blobstore.Options{
		Clock: c,

		ContainerDays: containerDays,

		Accounts: []blobstore.AccountOptions{
			{Name: testAccount, Keys: [][]byte{key(testKey), key(testSecondKey)}, Immutable: blobstore.ImmutableStorage{Containers: []string{testImmutable}}},
			{Name: testPremium, Keys: [][]byte{key(testKey), key(testSecondKey)}, Premium: true},
			{Name: testVersioned, Keys: [][]byte{key(testKey), key(testSecondKey)}, Premium: true, Versioning: true, Immutable: blobstore.ImmutableStorage{Containers: []string{testImmutable}}}},
		Store: func(string) (pagestore.Options, error) {
			fs := vfs.NewMem()
			return pagestore.Options{FS: fs, Dir: "index", MasterKey: pagestore.MasterKey{1}, Members: []replication.Member{
				{FS: fs, Dir: "replica-1"}, {FS: fs, Dir: "replica-2"}, {FS: fs, Dir: "replica-3"}}}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	log := &serverLog{t: t}
	t.Cleanup(func() {
		if err := blobs.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
		log.end()
	})
	// Two servers for the same account: containers may be made public through the second only.
	issuer, authority := testkit.StartIssuer(t), (*bearer.Authority)(nil)
	serve := func(public bool, config *tls.Config) string {
		s, err := server.New(server.Options{Service: blobs, Clock: c, AllowPublicAccess: public, TLS: config, Bearer: authority,
			Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))})
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- s.Serve(ln) }()
		t.Cleanup(func() {
			if err := s.Shutdown(context.Background()); err != nil {
				t.Errorf("shutting down: %v", err)
			}
			if err := <-served; err != nil {
				t.Errorf("serving: %v", err)
			}
		})
		if config != nil {
			return "https://" + ln.Addr().String()
		}
		return "http://" + ln.Addr().String()
	}
	roles, err := bearer.ParseRoles([]byte(Roles(testAccount)))
	if err != nil {
		t.Fatal(err)
	}
	if authority, err = bearer.New(bearer.Options{Issuer: issuer.URL, Roles: roles, Client: issuer.Client(), Clock: c}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(authority.Close)
	lender := httptest.NewTLSServer(nil) // of the certificate that net/http has for tests
	defer lender.Close()
	pool := x509.NewCertPool()
	pool.AddCert(lender.Certificate())
	env := &Env{URL: serve(false, nil), PublicURL: serve(true, nil), Account: testAccount, Immutable: testImmutable, Premium: testPremium, Versioned: testVersioned, Key: testKey, SecondKey: testSecondKey, Clock: c,
		Advance: func(d time.Duration) { c.Advance(d) }, ContainerDays: containerDays, Seed: testkit.Seed(t),
		TokenURL: serve(false, &tls.Config{Certificates: lender.TLS.Certificates, MinVersion: tls.VersionTLS12}), TokenTLS: &tls.Config{RootCAs: pool},
		Token: issuer.Token}
	t.Cleanup(env.Close)
	return env
}

// serverLog shows what the server warns of while the test lives.
type serverLog struct {
	mu sync.Mutex
	t  *testing.T
}

func (l *serverLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.t != nil {
		l.t.Logf("server: %s", strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

func (l *serverLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.t = nil
}
