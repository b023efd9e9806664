package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/pageblob"

	"pagevault/internal/testkit"
	"pagevault/internal/testkit/faultproxy"
)

const (
	faultClients = 4
	faultPercent = 45 // of requests: of four tries all fail often enough that clients see it
)

// faultTest is a server, and a proxy before it that hurts requests.
type faultTest struct {
	ts    *testServer
	proxy *faultproxy.Proxy
	seed  uint64
}

// startFaults starts a server with a container named disks and a proxy.
func startFaults(t *testing.T) *faultTest {
	t.Helper()
	f := &faultTest{ts: start(t, nil), seed: testkit.Seed(t)}
	f.ts.do(t, call{method: "PUT", path: "disks?restype=container"}).want(t, 201, "")
	anything := faultproxy.Some(faultPercent, faultproxy.All()...)
	early := faultproxy.Some(70, faultproxy.ResetBefore, faultproxy.CutRequest, faultproxy.Busy)
	f.proxy = faultproxy.Start(t, faultproxy.Options{Target: f.ts.addr, Seed: f.seed, DelayMax: 5 * time.Millisecond,
		Choose: func(dice *rand.Rand, r faultproxy.Request) faultproxy.Fault {
			if path, _, _ := strings.Cut(r.Target, "?"); strings.HasSuffix(path, "/b0") { // so that one client is given up on before its work is done
				return early(dice, r)
			}
			return anything(dice, r)
		}})
	return f
}

// client returns a client of the container with the SDK's own retries, but for how long it waits between them, on
// connections of its own.
func (f *faultTest) client(t *testing.T, addr string) *container.Client {
	t.Helper()
	cred, err := container.NewSharedKeyCredential(testAccount, testKey)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{ExpectContinueTimeout: time.Second} // as the default one: the SDK asks before it sends a body
	t.Cleanup(tr.CloseIdleConnections)
	c, err := container.NewClientWithSharedKeyCredential("http://"+addr+"/"+testAccount+"/disks", cred, &container.ClientOptions{ClientOptions: azcore.ClientOptions{
		Retry:     policy.RetryOptions{RetryDelay: time.Millisecond, MaxRetryDelay: 3 * time.Millisecond},
		Transport: &http.Client{Transport: tr}}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// together runs work of several clients, each with dice of its own and two ways to the container: through the proxy and past it.
func (f *faultTest) together(t *testing.T, work func(dice *rand.Rand, name string, hurt, sound *container.Client)) {
	t.Helper()
	var all sync.WaitGroup
	for i := range faultClients {
		hurt, sound := f.client(t, f.proxy.Addr()), f.client(t, f.ts.addr)
		all.Go(func() { work(rand.New(rand.NewPCG(f.seed, uint64(i))), fmt.Sprintf("b%d", i), hurt, sound) })
	}
	all.Wait()
	counts := f.proxy.Counts()
	t.Logf("faults: %v", counts)
	for _, fault := range faultproxy.All() {
		if counts[fault] == 0 {
			t.Errorf("nothing has met %q", fault)
		}
	}
}

// gaveUp reports whether a client's error is one of the proxy's making, after all its retries, and not an answer of the
// server.
func gaveUp(err error) bool {
	var answer *azcore.ResponseError
	return !errors.As(err, &answer) || answer.StatusCode == http.StatusServiceUnavailable
}

// TestFaultsPages has clients write, clear and read page blobs through the proxy, each its own. What a client is told has
// succeeded is there, a read that succeeds is right, a write on condition happens once at most, and what fails, after all
// retries, has happened as a whole or not at all.
func TestFaultsPages(t *testing.T) {
	f := startFaults(t)
	var mu sync.Mutex
	total := faultOutcomes{}
	f.together(t, func(dice *rand.Rand, name string, hurt, sound *container.Client) {
		d := &faultDisk{t: t, dice: dice, hurt: hurt.NewPageBlobClient(name), sound: sound.NewPageBlobClient(name), want: make([]byte, faultDiskBytes), outcomes: faultOutcomes{}}
		d.run()
		total.merge(&mu, d.outcomes)
	})
	total.want(t, "write", "clear", "write if", "write if: done before", "read", "read parts", "read again", "gave up: done", "gave up: not done", "read cut")
}

// faultOutcomes counts what operations have come to.
type faultOutcomes map[string]int

// merge adds up what several clients have counted.
func (o faultOutcomes) merge(mu *sync.Mutex, other faultOutcomes) {
	mu.Lock()
	defer mu.Unlock()
	for k, n := range other {
		o[k] += n
	}
}

// want fails a test in which one of the outcomes has not been.
func (o faultOutcomes) want(t *testing.T, kinds ...string) {
	t.Helper()
	t.Logf("%v", o)
	for _, k := range kinds {
		if o[k] == 0 {
			t.Errorf("no %q: this shows little", k)
		}
	}
}

// randomContent returns n bytes.
func randomContent(dice *rand.Rand, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(dice.Uint32())
	}
	return p
}

const (
	faultDiskBytes = 1 << 20
	faultSteps     = 200
)

// faultDisk is a page blob with one client, and what it must hold.
type faultDisk struct {
	t           *testing.T
	dice        *rand.Rand
	hurt, sound *pageblob.Client // the same blob through the proxy, and past it
	want        []byte
	outcomes    faultOutcomes
}

func (d *faultDisk) run() {
	if _, err := d.sound.Create(d.t.Context(), faultDiskBytes, nil); err != nil {
		d.t.Error(err)
		return
	}
	for range faultSteps {
		pages := 1 + d.dice.IntN(16)
		if d.dice.IntN(5) == 0 {
			pages = 1 + d.dice.IntN(faultDiskBytes/512)
		}
		start := d.dice.IntN(faultDiskBytes/512-pages+1) * 512
		rg := blob.HTTPRange{Offset: int64(start), Count: int64(pages) * 512}
		switch k := d.dice.IntN(12); {
		case k < 3:
			p := randomContent(d.dice, int(rg.Count))
			_, err := d.hurt.UploadPages(d.t.Context(), body(p), rg, nil)
			d.wrote("write", rg, p, err)
		case k < 4:
			_, err := d.hurt.ClearPages(d.t.Context(), rg, nil)
			d.wrote("clear", rg, make([]byte, rg.Count), err)
		case k < 6:
			d.writeIf(rg)
		case k < 9:
			d.readCut(rg)
		case k < 10:
			d.readAgain(rg)
		default:
			d.readParts()
		}
	}
	got := make([]byte, faultDiskBytes)
	if _, err := d.sound.DownloadBuffer(d.t.Context(), got, nil); err != nil || !bytes.Equal(got, d.want) {
		d.t.Errorf("at the end: error %v, or not what was written", err)
	}
}

// wrote notes what a write has come to.
func (d *faultDisk) wrote(what string, rg blob.HTTPRange, p []byte, err error) {
	switch {
	case err == nil:
		copy(d.want[rg.Offset:], p)
		d.outcomes[what]++
	case gaveUp(err):
		d.settle(what, rg, p)
	default:
		d.t.Errorf("%s of %v: %v", what, rg, err)
	}
}

// settle finds out what a write of which the client knows nothing has come to: all of it, or nothing. No request of it is
// under way any more: the proxy ends those that it does not let through, and waits for the replies to others.
func (d *faultDisk) settle(what string, rg blob.HTTPRange, p []byte) (done bool) {
	got := make([]byte, rg.Count)
	if _, err := d.sound.DownloadBuffer(d.t.Context(), got, &blob.DownloadBufferOptions{Range: rg}); err != nil {
		d.t.Error(err)
	}
	switch old := d.want[rg.Offset:][:rg.Count]; {
	case bytes.Equal(got, p):
		copy(old, p)
		d.outcomes["gave up: done"]++
		return true
	case bytes.Equal(got, old):
		d.outcomes["gave up: not done"]++
	default:
		d.t.Errorf("%s of %v that failed is there in part", what, rg)
	}
	return false
}

// writeIf writes on condition that nobody has written since, as a client would that shares the blob. When the reply is lost,
// the retry is refused, because of the client's own write: then it looks.
func (d *faultDisk) writeIf(rg blob.HTTPRange) {
	now, err := d.sound.GetProperties(d.t.Context(), nil)
	if err != nil {
		d.t.Error(err)
		return
	}
	p := randomContent(d.dice, int(rg.Count))
	_, err = d.hurt.UploadPages(d.t.Context(), body(p), rg, &pageblob.UploadPagesOptions{
		AccessConditions: &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: now.ETag}}})
	if bloberror.HasCode(err, bloberror.ConditionNotMet) {
		if !d.settle("write if", rg, p) {
			d.t.Errorf("a write of %v was refused, and nobody else has written", rg)
		}
		d.outcomes["write if: done before"]++
		return
	}
	d.wrote("write if", rg, p, err)
}

// check compares what a read has brought, if it says that it was all. An answer that says no is wrong.
func (d *faultDisk) check(what string, rg blob.HTTPRange, got []byte, err error) {
	switch {
	case err != nil && !gaveUp(err):
		d.t.Errorf("%s of %v: %v", what, rg, err)
	case err != nil:
		d.outcomes[what+": gave up"]++
	case !bytes.Equal(got, d.want[rg.Offset:][:rg.Count]):
		d.t.Errorf("%s of %v: %d bytes that are not what was written", what, rg, len(got))
	default:
		d.outcomes[what]++
	}
}

// readCut reads once: a body that ends early must be an error.
func (d *faultDisk) readCut(rg blob.HTTPRange) {
	resp, err := d.hurt.DownloadStream(d.t.Context(), &blob.DownloadStreamOptions{Range: rg})
	if err != nil {
		d.check("read", rg, nil, err)
		return
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		d.outcomes["read cut"]++
		if !bytes.HasPrefix(d.want[rg.Offset:], got) {
			d.t.Errorf("read of %v: %d bytes before it was cut that are not what was written", rg, len(got))
		}
		return
	}
	d.check("read", rg, got, nil)
}

// readAgain has the SDK go on reading where it was cut.
func (d *faultDisk) readAgain(rg blob.HTTPRange) {
	resp, err := d.hurt.DownloadStream(d.t.Context(), &blob.DownloadStreamOptions{Range: rg})
	if err != nil {
		d.check("read again", rg, nil, err)
		return
	}
	r := resp.NewRetryReader(context.WithoutCancel(d.t.Context()), nil)
	defer r.Close()
	got, err := io.ReadAll(r)
	d.check("read again", rg, got, err)
}

// readParts reads everything in parts at once.
func (d *faultDisk) readParts() {
	rg := blob.HTTPRange{Offset: 0, Count: faultDiskBytes}
	got := make([]byte, faultDiskBytes)
	_, err := d.hurt.DownloadBuffer(d.t.Context(), got, &blob.DownloadBufferOptions{BlockSize: 256 << 10, Concurrency: 3})
	d.check("read parts", rg, got, err)
}
