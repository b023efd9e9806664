package conform

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/pageblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/blobstore"
	"pagevault/internal/testkit"
	"pagevault/pagestore"
	"pagevault/replication"
	"pagevault/server"
)

// vaultInSmall is the profile of a vault, about 1:60,000.
var vaultInSmall = blobstore.Limits{TotalBytes: 16 << 20, DataBytes: 12 << 20, MetadataBytes: 4 << 20}

// limitedServer is a server whose account has the limits of vaultInSmall.
type limitedServer struct {
	t       *testing.T
	account *blobstore.Account
	client  *service.Client
	sent    *countedTransport
}

// countedTransport counts requests, those that the SDK sends again included.
type countedTransport struct {
	mu sync.Mutex
	n  int
}

func (c *countedTransport) Do(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
	return http.DefaultClient.Do(r)
}

func startLimited(t *testing.T) *limitedServer {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(testKey)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(err)
	blobs, err := blobstore.Open(blobstore.Options{
		Accounts: []blobstore.AccountOptions{{Name: testAccount, Keys: [][]byte{key}, Limits: vaultInSmall}},
		Store: func(string) (pagestore.Options, error) {
			fs := vfs.NewMem()
			return pagestore.Options{FS: fs, Dir: "index", MasterKey: pagestore.MasterKey{1}, Members: []replication.Member{{FS: fs, Dir: "replica-1"}}}, nil
		},
	})
	check(err)
	srv, err := server.New(server.Options{Service: blobs, Log: slog.New(slog.DiscardHandler)})
	check(err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := errors.Join(srv.Shutdown(context.Background()), <-served, blobs.Close()); err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
	s := &limitedServer{t: t, account: blobs.Accounts()[0], sent: &countedTransport{}}
	s.client, err = service.NewClientFromConnectionString("DefaultEndpointsProtocol=http;AccountName="+testAccount+";AccountKey="+testKey+
		";BlobEndpoint=http://"+ln.Addr().String()+"/"+testAccount+";", &service.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: s.sent}})
	check(err)
	_, err = s.client.NewContainerClient("disks").Create(t.Context(), nil)
	check(err)
	return s
}

func (s *limitedServer) disk(name string) *pageblob.Client {
	s.t.Helper()
	disk := s.client.NewContainerClient("disks").NewPageBlobClient(name)
	if _, err := disk.Create(s.t.Context(), 64<<20, nil); err != nil {
		s.t.Fatal(err)
	}
	return disk
}

func (s *limitedServer) put(disk *pageblob.Client, off int64, p []byte) error {
	_, err := disk.UploadPages(s.t.Context(), streaming.NopCloser(bytes.NewReader(p)), blob.HTTPRange{Offset: off, Count: int64(len(p))}, nil)
	return err
}

// wantFull fails the test unless err is the answer of a full account.
func (s *limitedServer) wantFull(err error) {
	s.t.Helper()
	var re *azcore.ResponseError
	if !errors.As(err, &re) || re.StatusCode != 409 || re.ErrorCode != "AccountCapacityExceeded" ||
		!strings.Contains(err.Error(), "The account "+testAccount+" has reached its capacity limit for data: ") || !strings.Contains(err.Error(), " of 12582912 bytes are used") {
		s.t.Fatalf("got %v", err)
	}
}

func (s *limitedServer) live() uint64 {
	s.t.Helper()
	u, err := s.account.Usage()
	if err != nil {
		s.t.Fatal(err)
	}
	if u.LiveBytes > uint64(vaultInSmall.DataBytes) || u.LiveBytes+u.MetadataBytes > uint64(vaultInSmall.TotalBytes) {
		s.t.Fatalf("over the limits: %+v", u)
	}
	return u.LiveBytes
}

func (s *limitedServer) wantBytes(disk *pageblob.Client, off int64, want []byte) {
	s.t.Helper()
	r, err := disk.DownloadStream(s.t.Context(), &blob.DownloadStreamOptions{Range: blob.HTTPRange{Offset: off, Count: int64(len(want))}})
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Body.Close()
	if got, err := io.ReadAll(r.Body); err != nil || !bytes.Equal(got, want) {
		s.t.Fatalf("other bytes at %d, %v", off, err)
	}
}

func noise(rng *rand.Rand, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	return p
}

// TestLimits fills an account with limits. A write that has no room is refused once, without being sent again, and leaves
// the old bytes; reading, clearing and deleting go on, and make room at once.
func TestLimits(t *testing.T) {
	s := startLimited(t)
	rng := rand.New(rand.NewPCG(testkit.Seed(t), 1))
	const mib = 1 << 20
	disk := s.disk("disk")
	first := noise(rng, 4*mib)
	for off := int64(0); off < 8*mib; off += 4 * mib {
		if err := s.put(disk, off, first); err != nil { // the second is stored already
			t.Fatal(err)
		}
		if off == 0 {
			continue
		}
		if err := s.put(disk, 8*mib, noise(rng, 4*mib)); err != nil {
			t.Fatal(err)
		}
	}
	if live := s.live(); live < 8*mib || live > 9*mib {
		t.Fatalf("%d bytes of data", live)
	}
	sent := s.sent.n
	s.wantFull(s.put(disk, 0, noise(rng, 4*mib)))
	if s.sent.n != sent+1 {
		t.Errorf("the SDK sent the refused write %d times", s.sent.n-sent)
	}
	s.wantBytes(disk, 0, first)
	if err := s.put(disk, 12*mib, make([]byte, 4*mib)); err != nil { // zeros need no room
		t.Fatal(err)
	}
	if _, err := disk.ClearPages(t.Context(), blob.HTTPRange{Offset: 8 * mib, Count: 4 * mib}, nil); err != nil {
		t.Fatal(err)
	}
	fresh := noise(rng, 4*mib)
	if err := s.put(disk, 0, fresh); err != nil {
		t.Fatal(err)
	}
	s.wantBytes(disk, 0, fresh)
	s.wantBytes(disk, 4*mib, first)
	snap, err := disk.CreateSnapshot(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.wantFull(s.put(disk, 16*mib, noise(rng, 4*mib)))
	old, err := disk.WithSnapshot(*snap.Snapshot)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Delete(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := disk.Delete(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.account.Maintain(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if live := s.live(); live != 0 {
		t.Errorf("%d bytes of data after everything was deleted", live)
	}
	again := s.disk("again")
	for off := int64(0); off < 8*mib; off += 4 * mib {
		if err := s.put(again, off, noise(rng, 4*mib)); err != nil {
			t.Fatal(err)
		}
	}
	s.live()
}

// TestLimitsOfWriters: writers at once fill the account to its limit and never over it.
func TestLimitsOfWriters(t *testing.T) {
	s := startLimited(t)
	seed := testkit.Seed(t)
	var wg sync.WaitGroup
	for i := range 4 {
		disk := s.disk("disk-" + string(rune('a'+i)))
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			for off := int64(0); off < 64<<20; off += 256 << 10 {
				err := s.put(disk, off, noise(rng, 256<<10))
				var re *azcore.ResponseError
				if errors.As(err, &re) && re.ErrorCode == "AccountCapacityExceeded" {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
			t.Error("never full")
		})
	}
	wg.Wait()
	if live := s.live(); live < uint64(vaultInSmall.DataBytes)-300<<10 {
		t.Errorf("full with %d bytes", live)
	}
}
