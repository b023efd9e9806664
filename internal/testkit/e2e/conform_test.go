//go:build e2e

package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pagevault/internal/testkit"
	"pagevault/internal/testkit/conform"
)

// conformWaitEnv makes TestConform wait for leases to expire, which takes some minutes, instead of leaving that out.
const conformWaitEnv = "PAGEVAULT_CONFORM_WAIT"

// secondKey of the account is no secret either.
const secondKey = "c2Vjb25kIGtleSBvZiB0aGUgY29uZm9ybWFuY2Ugc3VpdGUsIDY0IGJ5dGVzIGxvbmcgYXMgdGhlIGZpcnN0IG9uZSBpcw=="

// afterExpiry are the codes that are provoked only where leases and policies can be waited for.
var afterExpiry = []string{"409 ImmutabilityPolicyDeleteOnLockedPolicy", "412 LeaseLost"}

// What the server of TestConform has besides an account.
const (
	conformImmutable = "conform-immutable"
	conformPremium   = "conformpremium"
	conformVersioned = "conformversioned"
	conformDays      = 5
)

// TestConform runs the whole list of conformance tests against the real process, with three members on disk. Its clock
// is the machine's, so the parts that need a lease to expire are left out, unless conformWaitEnv says otherwise; the
// package conform runs them with a clock of its own.
func TestConform(t *testing.T) {
	issuer := testkit.StartIssuer(t)
	roles := filepath.Join(t.TempDir(), "roles")
	if err := os.WriteFile(roles, []byte(conform.Roles(testkit.Account)), 0o600); err != nil {
		t.Fatal(err)
	}
	server := testkit.StartServer(t, testkit.ServerOptions{
		Args: []string{"--account", testkit.Account + ":" + testkit.AccountKey + ":" + secondKey,
			"--account", conformPremium + ":" + testkit.AccountKey + ":" + secondKey, "--premium", conformPremium,
			"--account", conformVersioned + ":" + testkit.AccountKey + ":" + secondKey, "--premium", conformVersioned, "--versioning", conformVersioned,
			"--immutable-storage", conformVersioned + "/" + conformImmutable,
			"--immutable-storage", testkit.Account + "/" + conformImmutable, "--container-delete-retention", strconv.Itoa(conformDays),
			"--oidc-issuer", issuer.URL, "--roles", roles, "--oauth-over-http"},
		Env: []string{"SSL_CERT_FILE=" + issuer.CAFile(t)}})
	url := strings.TrimSuffix(server.URL(), "/"+testkit.Account)
	env := &conform.Env{URL: url, TokenURL: url, Token: issuer.Token, Account: testkit.Account, Key: testkit.AccountKey,
		Immutable: conformImmutable, Premium: conformPremium, Versioned: conformVersioned, ContainerDays: conformDays,
		SecondKey: secondKey, NoWait: os.Getenv(conformWaitEnv) == "", Seed: testkit.Seed(t)}
	start := time.Now()
	var said bytes.Buffer
	failed, ran := conform.Run(env, &said, nil)
	if len(failed) > 0 || ran != len(conform.Tests) {
		t.Errorf("%d of %d tests ran, failed: %v\n%s", ran, len(conform.Tests), failed, said.String())
	}
	left, want := env.LeftOut(), []string(nil)
	if env.NoWait {
		want = afterExpiry
	}
	if missing := env.Missing(); !slices.Equal(missing, want) {
		t.Errorf("codes that no test has provoked: %v, want %v", missing, want)
	}
	t.Logf("%d tests in %v; %d parts left out: %s", ran, time.Since(start).Round(time.Millisecond), len(left), strings.Join(left, "; "))
	server.Stop(t)
	compareMembers(t, server.Data())
}
