package xmlbody

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/pageblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
)

// answering is a transport that gives every request the same body, and keeps what the request carried.
type answering struct {
	status int
	body   []byte
	sent   []byte
}

func (a *answering) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		var err error
		if a.sent, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	return &http.Response{StatusCode: a.status, Request: r, Header: http.Header{"Content-Type": {ContentType}},
		Body: io.NopCloser(bytes.NewReader(a.body)), ContentLength: int64(len(a.body))}, nil
}

func (a *answering) options() azcore.ClientOptions {
	return azcore.ClientOptions{Transport: a, Retry: policy.RetryOptions{MaxRetries: -1}}
}

// reader names what an SDK read, for comparison.
type reader struct {
	t   *testing.T
	got []string
}

func (r *reader) add(parts ...any) {
	var b strings.Builder
	for _, p := range parts {
		switch v := p.(type) {
		case string:
			b.WriteString(v)
		case *string:
			if v == nil {
				b.WriteString("-")
			} else {
				b.WriteString(*v)
			}
		default:
			r.t.Fatalf("%T", p)
		}
		b.WriteString(" ")
	}
	r.got = append(r.got, strings.TrimSpace(b.String()))
}

func (r *reader) check(want ...string) {
	r.t.Helper()
	if strings.Join(r.got, "\n") != strings.Join(want, "\n") {
		r.t.Errorf("got\n%s\nwant\n%s", strings.Join(r.got, "\n"), strings.Join(want, "\n"))
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// TestSDKReadsContainers has Azure's Go SDK read what we write. It turns the names of metadata into lower case.
func TestSDKReadsContainers(t *testing.T) {
	tr := &answering{status: 200, body: containers()}
	c := must[*service.Client](t)(service.NewClientWithNoCredential(endpoint, &service.ClientOptions{ClientOptions: tr.options()}))
	page := must[service.ListContainersResponse](t)(c.NewListContainersPager(nil).NextPage(context.Background()))
	r := &reader{t: t}
	for _, i := range page.ContainerItems {
		p := i.Properties
		if !p.LastModified.Equal(modified.Truncate(1e9)) || *p.HasLegalHold || *p.HasImmutabilityPolicy {
			t.Errorf("%s: %+v", *i.Name, p)
		}
		duration := "-"
		if p.LeaseDuration != nil {
			duration = string(*p.LeaseDuration)
		}
		r.add(i.Name, string(*p.ETag), string(*p.LeaseStatus), string(*p.LeaseState), duration, i.Metadata["key"])
	}
	r.add(page.Prefix, page.Marker, page.NextMarker)
	r.check(
		`a "0x8DA7BB39042D13F" unlocked available - -`,
		`b "0x8DA7BB39042D13F" locked leased infinite <value>`,
		`c "0x8DA7BB39042D13F" unlocked broken - -`,
		"a&b m AWQ")
}

func blobContainer(t *testing.T, tr *answering) *container.Client {
	return must[*container.Client](t)(container.NewClientWithNoCredential(endpoint+"disks", &container.ClientOptions{ClientOptions: tr.options()}))
}

// TestSDKReadsMarks has the SDK read tiers, policies and holds.
func TestSDKReadsMarks(t *testing.T) {
	c := blobContainer(t, &answering{status: 200, body: marked()})
	page := must[container.ListBlobsFlatResponse](t)(c.NewListBlobsFlatPager(nil).NextPage(context.Background()))
	given, inferred, held := page.Segment.BlobItems[0].Properties, page.Segment.BlobItems[1].Properties, page.Segment.BlobItems[2].Properties
	if *given.AccessTier != "P10" || given.AccessTierInferred != nil || !given.AccessTierChangeTime.Equal(modified.Truncate(1e9)) ||
		*given.ImmutabilityPolicyMode != "locked" || !given.ImmutabilityPolicyExpiresOn.Equal(modified.Truncate(1e9)) || given.LegalHold != nil {
		t.Errorf("got %+v", given)
	}
	if *inferred.AccessTier != "P60" || !*inferred.AccessTierInferred || inferred.AccessTierChangeTime != nil || inferred.ImmutabilityPolicyMode != nil {
		t.Errorf("got %+v", inferred)
	}
	if !*held.LegalHold || held.AccessTier != nil || *held.TagCount != 1 {
		t.Errorf("got %+v", held)
	}
}

func TestSDKReadsBlobs(t *testing.T) {
	c := blobContainer(t, &answering{status: 200, body: flat()})
	page := must[container.ListBlobsFlatResponse](t)(c.NewListBlobsFlatPager(nil).NextPage(context.Background()))
	r := &reader{t: t}
	for _, i := range page.Segment.BlobItems {
		p := i.Properties
		lease := "-"
		if p.LeaseStatus != nil {
			lease = string(*p.LeaseStatus) + "/" + string(*p.LeaseState)
		}
		r.add(i.Name, i.Snapshot, string(*p.ETag), string(*p.BlobType), p.ContentType, lease, i.Metadata["key"])
	}
	r.add(page.NextMarker)
	r.check(
		"disks/vm 1.vhd 2022-08-11T15:07:17.6006975Z 0x8DA7BB39042D13F PageBlob application/octet-stream - value",
		"disks/vm 1.vhd - 0x8DA7BB39042D13F PageBlob application/octet-stream locked/leased -",
		"nul\x00 +%/é\uFFFF - 0x1 PageBlob  unlocked/expired -",
		"<&>\r\n\"é😀 - 0x1 BlockBlob text/plain locked/breaking -",
		"")
	p := page.Segment.BlobItems[1].Properties
	if *p.ContentLength != 8<<40 || *p.BlobSequenceNumber != 7 || !p.CreationTime.Equal(created.Truncate(1e9)) || !p.LastModified.Equal(modified.Truncate(1e9)) ||
		!bytes.Equal(p.ContentMD5, bytes.Repeat([]byte{0xA5}, 16)) || *p.ContentDisposition != `attachment; filename="a&b"` || !*p.ServerEncrypted {
		t.Errorf("got %+v", p)
	}
}

func TestSDKReadsPrefixes(t *testing.T) {
	c := blobContainer(t, &answering{status: 200, body: tree()})
	page := must[container.ListBlobsHierarchyResponse](t)(c.NewListBlobsHierarchyPager("/", nil).NextPage(context.Background()))
	r := &reader{t: t}
	for _, p := range page.Segment.BlobPrefixes {
		r.add("prefix", p.Name)
	}
	for _, i := range page.Segment.BlobItems {
		r.add("blob", i.Name)
	}
	r.add(page.NextMarker)
	r.check("prefix a/", "prefix c\x02/", "blob b", EncodeMarker("c\x02/\xff"))
}

func TestSDKReadsPages(t *testing.T) {
	tr := &answering{status: 200, body: ranges()}
	c := must[*pageblob.Client](t)(pageblob.NewClientWithNoCredential(endpoint+"disks/a.vhd", &pageblob.ClientOptions{ClientOptions: tr.options()}))
	page := must[pageblob.GetPageRangesResponse](t)(c.NewGetPageRangesPager(nil).NextPage(context.Background()))
	if r := page.PageRange; len(r) != 2 || *r[0].Start != 0 || *r[0].End != 1023 || *r[1].Start != 8<<40-512 || *r[1].End != 8<<40-1 || *page.NextMarker != EncodeMarker("1099511627776") {
		t.Errorf("got %+v", page.PageList)
	}
	tr.body = diff()
	d := must[pageblob.GetPageRangesDiffResponse](t)(c.NewGetPageRangesDiffPager(&pageblob.GetPageRangesDiffOptions{PrevSnapshot: to.Ptr("s")}).NextPage(context.Background()))
	if len(d.PageRange) != 1 || *d.PageRange[0].Start != 512 || len(d.ClearRange) != 2 || *d.ClearRange[1].End != 4095 {
		t.Errorf("got %+v", d.PageList)
	}
}

func TestSDKReadsAndWritesProperties(t *testing.T) {
	tr := &answering{status: 200, body: AppendServiceProperties(nil, fullProperties())}
	c := must[*service.Client](t)(service.NewClientWithNoCredential(endpoint, &service.ClientOptions{ClientOptions: tr.options()}))
	p := must[service.GetPropertiesResponse](t)(c.GetProperties(context.Background(), nil))
	if *p.Logging.RetentionPolicy.Days != 365 || len(p.CORS) != 2 || *p.CORS[0].AllowedHeaders != "x-ms-meta-*,<&>" || *p.DefaultServiceVersion != "2021-12-02" ||
		!*p.DeleteRetentionPolicy.AllowPermanentDelete || *p.StaticWebsite.ErrorDocument404Path != "404.html" || !*p.HourMetrics.IncludeAPIs {
		t.Errorf("got %+v", p.StorageServiceProperties)
	}

	tr.status, tr.body = 202, nil
	_, err := c.SetProperties(context.Background(), &service.SetPropertiesOptions{
		CORS: p.CORS, DefaultServiceVersion: p.DefaultServiceVersion, DeleteRetentionPolicy: p.DeleteRetentionPolicy,
		HourMetrics: p.HourMetrics, Logging: p.Logging, MinuteMetrics: p.MinuteMetrics, StaticWebsite: p.StaticWebsite})
	if err != nil {
		t.Fatal(err)
	}
	u, err := ParseServiceProperties(tr.sent)
	if err != nil {
		t.Fatalf("%v in\n%s", err, tr.sent)
	}
	got := DefaultServiceProperties()
	u.Apply(&got)
	if a, b := AppendServiceProperties(nil, &got), AppendServiceProperties(nil, fullProperties()); !bytes.Equal(a, b) {
		t.Errorf("the SDK sent\n%s\nwhich was read as\n%s\nnot\n%s", tr.sent, a, b)
	}
}
