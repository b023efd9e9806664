package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"pagevault/blobstore"
	"pagevault/pagestore"
	"pagevault/replication"
)

func (ts *testServer) admin(t *testing.T, path string) (status int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	ts.Admin().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

// TestAdmin shows health, readiness and figures of a server that is well.
func TestAdmin(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 1<<20)
	ts.do(t, putPage(0, pages(64<<10, 'x'))).want(t, 201, "")
	ts.do(t, call{method: "GET", path: "disks/none"}).want(t, 404, "BlobNotFound")
	ts.do(t, call{method: "GET", path: "disks/b?comp=nonsense"}).want(t, 400, "InvalidQueryParameterValue")

	if status, body := ts.admin(t, "/healthz"); status != 200 || body != "ok\n" {
		t.Errorf("/healthz: %d %q", status, body)
	}
	if status, body := ts.admin(t, "/readyz"); status != 200 || !strings.Contains(body, `"ready":true`) || !strings.Contains(body, `"dir":"replica-1/`) && !strings.Contains(body, `"dir":"replica-1"`) {
		t.Errorf("/readyz: %d %s", status, body)
	}
	if status, body := ts.admin(t, "/"); status != 200 || !strings.HasPrefix(body, "/healthz\n/readyz\n/metrics\n/debug/pprof/\n/accounts\n/members\n/scrub\n/check (POST)\n") ||
		!strings.HasSuffix(body, "\n/members/replace (POST)\n/members/retire (POST)\n/redundancy (POST)\n/scrub (POST)\n/accounts/add (POST)\n/accounts/rotate (POST)\n/accounts/limit (POST)\n/accounts/remove (POST)\n") {
		t.Errorf("/: %d %q", status, body)
	}
	if status, _ := ts.admin(t, "/nothing"); status != 404 {
		t.Errorf("/nothing: %d", status)
	}
	if status, body := ts.admin(t, "/debug/pprof/goroutine?debug=1"); status != 200 || !strings.Contains(body, "TestAdmin") {
		t.Errorf("/debug/pprof/goroutine: %d %.200s", status, body)
	}
	if status, body := ts.admin(t, "/debug/pprof/cmdline"); status != 404 {
		t.Errorf("/debug/pprof/cmdline, where keys may be: %d %.200s", status, body)
	}
	status, body := ts.admin(t, "/metrics")
	if status != 200 {
		t.Fatalf("/metrics: %d", status)
	}
	for _, line := range []string{
		`pagevault_requests_total{operation="Put Page",status="201"} 1`,
		`pagevault_requests_total{operation="Get Blob",status="404"} 1`,
		`pagevault_requests_total{operation="none",status="400"} 1`,
		`pagevault_request_seconds_count{operation="Put Page"} 1`,
		`pagevault_written_bytes{account="devstoreaccount1"} 65536`,
		`pagevault_writable{account="devstoreaccount1"} 1`,
		`pagevault_members{account="devstoreaccount1"} 1`,
		`pagevault_members_failed{account="devstoreaccount1"} 0`,
		`pagevault_mismatch_record{account="devstoreaccount1"} 0`,
		`pagevault_damaged_copies_total{account="devstoreaccount1"} 0`,
		`pagevault_under_replicated_bytes{account="devstoreaccount1"} 0`,
		`pagevault_healing_segments{account="devstoreaccount1"} 0`,
		`pagevault_unhealable_segments{account="devstoreaccount1"} 0`,
		`pagevault_min_replicas{account="devstoreaccount1"} 1`,
		`pagevault_scrub_age_seconds{account="devstoreaccount1"} -1`,
		`pagevault_scrub_running{account="devstoreaccount1"} `, `pagevault_scrub_read_bytes{`, `pagevault_scrub_total_bytes{`,
		`pagevault_scrub_problems{account="devstoreaccount1"} 0`, `pagevault_scrub_healed{`, `pagevault_scrub_unhealable{`,
		`pagevault_member_lag_bytes{account="devstoreaccount1",`,
		`pagevault_account_containers{account="devstoreaccount1"} 1`,
		`pagevault_account_blobs{account="devstoreaccount1"} 1`,
		`pagevault_account_provisioned_bytes{account="devstoreaccount1"} 1.048576e+06`,
		`pagevault_account_snapshots{account="devstoreaccount1"} 0`,
		`pagevault_account_metadata_bytes{account="devstoreaccount1"} `,
		`pagevault_panics_total 0`, `pagevault_received_bytes_total`, `pagevault_sent_bytes_total`, `pagevault_connections `,
		`pagevault_duplicate_bytes{`, `pagevault_log_data_bytes{`, `pagevault_log_syncs_total{`,
	} {
		if !strings.Contains(body, line) {
			t.Errorf("no %s", line)
		}
	}
	if t.Failed() {
		t.Log(body)
	}
}

// TestMemberFails shows what clients, operators and the log are told when the disk of a member fails: writes are refused
// with an error that clients retry, reads go on, and the server is not ready.
func TestMemberFails(t *testing.T) {
	var bad atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if bad.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return errDisk
		}
		return nil
	}))
	service, err := blobstore.Open(blobstore.Options{
		Accounts: []blobstore.AccountOptions{{Name: testAccount, Keys: [][]byte{mustKey(t)}}},
		Store: func(string) (pagestore.Options, error) {
			return pagestore.Options{FS: vfs.NewMem(), Dir: "index", Members: []replication.Member{
				{FS: vfs.NewMem(), Dir: "replica-1"}, {FS: fs, Dir: "replica-2"}}}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() }) // the error of the member, once more
	ts := start(t, func(o *Options) { o.Service = service })
	ts.makeBlob(t, 4096)
	ts.do(t, putPage(0, pages(512, 'x'))).want(t, 201, "")

	bad.Store(true)
	for range 2 {
		a := ts.do(t, putPage(0, pages(512, 'y')))
		if a.StatusCode < 500 {
			t.Fatalf("a write that is on one member of two: %d\n%s", a.StatusCode, a.raw)
		}
		if strings.Contains(string(a.body), "by test") {
			t.Errorf("the reply tells of our disks:\n%s", a.body)
		}
	}
	a := ts.do(t, putPage(0, pages(512, 'y')))
	a.want(t, 503, "ServerBusy")
	if after := a.Header.Get("Retry-After"); after != retryAfter {
		t.Errorf("Retry-After: %q", after)
	}
	ts.do(t, call{method: "GET", path: "disks/b"}).want(t, 200, "")
	if status, body := ts.admin(t, "/readyz"); status != 503 || !strings.Contains(body, "by test") {
		t.Errorf("/readyz: %d %s", status, body)
	}
	if status, _ := ts.admin(t, "/healthz"); status != 200 {
		t.Errorf("/healthz: %d", status)
	}
	if _, body := ts.admin(t, "/metrics"); !strings.Contains(body, `pagevault_writable{account="devstoreaccount1"} 0`) {
		t.Errorf("pagevault_writable is not 0")
	}
	if !strings.Contains(ts.log.String(), "by test") {
		t.Error("the log does not tell why")
	}
}

// TestLogKeepsSecrets shows that neither keys nor signatures reach the log, at its most talkative.
func TestLogKeepsSecrets(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 4096)
	ts.do(t, call{method: "GET", path: "disks/b?sv=2026-12-06&sig=c2VjcmV0c2VjcmV0&sp=r", unsigned: true}).want(t, 403, "AuthenticationFailed")
	ts.do(t, call{method: "GET", path: "disks/b", header: []string{"Authorization: SharedKey devstoreaccount1:c2VjcmV0c2VjcmV0"}}).want(t, 403, "AuthenticationFailed")
	w := ts.dial(t)
	w.send([]byte("GET /devstoreaccount1/disks/b HTTP/1.1\r\nHost: x\r\nAuthorization: SharedKey devstoreaccount1:c2VjcmV0c2VjcmV0\r\nbroken line\r\n\r\n"))
	w.recv("GET").want(t, 400, "InvalidInput")
	log := ts.log.String()
	for _, secret := range []string{"c2VjcmV0c2VjcmV0", testKey, "SharedKey"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log has %q:\n%s", secret, log)
		}
	}
	if !strings.Contains(log, "path=/devstoreaccount1/disks/b") {
		t.Errorf("the log has no line for the request:\n%s", log)
	}
}
