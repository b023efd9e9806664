package server

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/blobstore"
	"pagevault/pagestore"
	"pagevault/replication"
)

// limited opens a service with the accounts of names, which all have the same limits.
func limited(t *testing.T, limits blobstore.Limits, names ...string) *blobstore.Service {
	t.Helper()
	o := blobstore.Options{Store: func(account string) (pagestore.Options, error) {
		fs := vfs.NewMem()
		return pagestore.Options{FS: fs, Dir: "index", Members: []replication.Member{{FS: fs, Dir: "replica-1"}}}, nil
	}}
	for _, name := range names {
		o.Accounts = append(o.Accounts, blobstore.AccountOptions{Name: name, Keys: [][]byte{mustKey(t)}, Limits: limits})
	}
	service, err := blobstore.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := service.Close(); err != nil && !errors.Is(err, pagestore.ErrClosed) { // a test may have closed a store
			t.Errorf("closing the service: %v", err)
		}
	})
	return service
}

// TestAccounts shows what is told of each account, and of its limits.
func TestAccounts(t *testing.T) {
	ts := start(t, func(o *Options) {
		o.Service = limited(t, blobstore.Limits{TotalBytes: 16 << 20, DataBytes: 12 << 20, MetadataBytes: 4 << 20}, testAccount, "other")
	})
	ts.makeBlob(t, 1<<20)
	ts.do(t, putPage(0, pages(64<<10, 'x'))).want(t, 201, "")
	status, body := ts.admin(t, "/accounts")
	var got accountList
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 || len(got.Accounts) != 2 {
		t.Fatalf("/accounts: %d %s %v", status, body, err)
	}
	a, b := got.Accounts[0], got.Accounts[1]
	if a.Name != testAccount || a.Containers != 1 || a.Blobs != 1 || a.Snapshots != 0 || a.ProvisionedBytes != 1<<20 || a.MetadataBytes == 0 ||
		a.Limits == nil || *a.Limits != (AccountLimits{16 << 20, 12 << 20, 4 << 20}) {
		t.Errorf("/accounts: %s", body)
	}
	if b.Name != "other" || b.Containers != 0 || b.ProvisionedBytes != 0 {
		t.Errorf("/accounts: %s", body)
	}
	if status, body := ts.admin(t, "/accounts?account=other"); status != 200 || strings.Contains(body, testAccount) || !strings.Contains(body, `"name":"other"`) {
		t.Errorf("one account: %d %s", status, body)
	}
	if status, body := ts.admin(t, "/accounts?account=none"); status != 404 || body != "there is no account none\n" {
		t.Errorf("no account: %d %q", status, body)
	}
	_, body = ts.admin(t, "/metrics")
	for _, line := range []string{
		`pagevault_account_limit_bytes{account="other",limit="total"} 1.6777216e+07`,
		`pagevault_account_limit_bytes{account="devstoreaccount1",limit="data"} 1.2582912e+07`,
		`pagevault_account_limit_bytes{account="devstoreaccount1",limit="metadata"} 4.194304e+06`,
	} {
		if !strings.Contains(body, line) {
			t.Errorf("no %s", line)
		}
	}
}

// TestAccountsClosed: a store that cannot be read is no account without contents.
func TestAccountsClosed(t *testing.T) {
	service := limited(t, blobstore.Limits{}, testAccount)
	ts := newServer(t, func(o *Options) { o.Service = service })
	if err := service.Accounts()[0].Store().Close(); err != nil {
		t.Fatal(err)
	}
	if status, body := ts.admin(t, "/accounts"); status != 503 || !strings.Contains(body, "account "+testAccount+": ") {
		t.Errorf("/accounts: %d %s", status, body)
	}
	if _, body := ts.admin(t, "/metrics"); strings.Contains(body, "pagevault_account_blobs{") {
		t.Error("figures of an account that cannot be read")
	}
}
