package conform

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/pageblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"

	"pagevault/internal/clock"
)

// ctx is what the SDK's calls run under; the transport bounds them.
var ctx = context.Background()

// sdk returns the Go SDK's client of the account. It retries nothing, dates its requests by the server's clock, and every
// reply it receives passes checkReply.
func (w *wire) sdk() *service.Client {
	w.Helper()
	return w.sdkAt(w.env.URL + "/" + w.env.Account)
}

// sdkAt is sdk for another address of the account.
func (w *wire) sdkAt(url string) *service.Client {
	w.Helper()
	w.env.setUp()
	cred, err := service.NewSharedKeyCredential(w.env.Account, w.env.Key)
	w.must(err)
	options := &service.ClientOptions{ClientOptions: azcore.ClientOptions{
		Transport:       &checkedTransport{t: w, env: w.env},
		Retry:           policy.RetryOptions{MaxRetries: -1},
		PerCallPolicies: []policy.Policy{dated{w.env.Clock}},
	}}
	client, err := service.NewClientWithSharedKeyCredential(url, cred, options)
	w.must(err)
	return client
}

// sdkContainer returns the SDK's client of a container of a plain name.
func (w *wire) sdkContainer(c ref) *container.Client {
	w.Helper()
	return w.sdk().NewContainerClient(string(c.container()[1:]))
}

// sdkPageBlob returns the SDK's client of a blob, by its plain name.
func (w *wire) sdkPageBlob(c ref, name string) *pageblob.Client {
	w.Helper()
	return w.sdkContainer(c).NewPageBlobClient(name)
}

// val is what the SDK's pointer points to, the zero value where it has none.
func val[V any](p *V) V {
	if p == nil {
		return *new(V)
	}
	return *p
}

// must ends the test on an error of a call that has to succeed.
func (w *wire) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatalf("%v", err)
	}
}

// mustFail checks that an SDK call failed with the code, and enters it into the ledger.
func (w *wire) mustFail(err error, code string) {
	w.Helper()
	var re *azcore.ResponseError
	switch {
	case err == nil:
		w.Errorf("want %d %s, got a success", statusOf(code), wireName(code))
	case !errors.As(err, &re):
		w.Errorf("want %d %s, got %v", statusOf(code), wireName(code), err)
	case re.ErrorCode != wireName(code) || re.StatusCode != statusOf(code):
		w.Errorf("want %d %s, got %d %s", statusOf(code), wireName(code), re.StatusCode, re.ErrorCode)
	default:
		w.env.ledger.enter(re.ErrorCode, re.StatusCode)
	}
}

// dated gives requests the server's idea of the time. The SDK looks for a date under this spelling only, and sets its own
// where it finds none.
type dated struct{ clock clock.Clock }

func (d dated) Do(req *policy.Request) (*http.Response, error) {
	req.Raw().Header["x-ms-date"] = []string{d.clock.Now().UTC().Format(http.TimeFormat)}
	return req.Next()
}

// httpTransport is net/http as SDKs use it: kept connections, no compression.
var httpTransport = &http.Transport{DisableCompression: true, ResponseHeaderTimeout: replyTimeout}

// checkedTransport checks every reply and notes that something may have changed.
type checkedTransport struct {
	t   T
	env *Env
	via http.RoundTripper // nil: httpTransport
}

func (c *checkedTransport) Do(req *http.Request) (*http.Response, error) {
	c.t.Helper()
	via := c.via
	if via == nil {
		via = httpTransport
	}
	resp, err := via.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if req.Method != "GET" && req.Method != "HEAD" {
		c.env.album.forget()
	}
	r := &reply{method: req.Method, target: req.URL.RequestURI(), status: resp.StatusCode, reason: resp.Status, body: body}
	r.sent, r.fields = fieldsOf(req.Header), fieldsOf(resp.Header)
	if len(resp.TransferEncoding) > 0 {
		r.fields = append(r.fields, field{"Transfer-Encoding", resp.TransferEncoding[0]})
	}
	checkReply(c.t, r)
	c.env.checkVersions(c.t, r)
	return resp, nil
}

func fieldsOf(h http.Header) (fields []field) {
	for name, values := range h {
		for _, v := range values {
			fields = append(fields, field{name, v})
		}
	}
	return fields
}
