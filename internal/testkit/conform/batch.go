package conform

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
)

// batchOf is the body of a batch of these requests, each signed, without a version of its own as Azure wants it.
func batchOf(boundary string, calls ...*call) []byte {
	var b bytes.Buffer
	for i, c := range calls {
		m := c.leave("x-ms-version").message()
		fmt.Fprintf(&b, "--%s\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\nContent-ID: %d\r\n\r\n%s %s HTTP/1.1\r\n",
			boundary, i, m.method, m.target)
		for _, f := range m.fields {
			fmt.Fprintf(&b, "%s: %s\r\n", f.name, f.value)
		}
		b.WriteString("\r\n\r\n")
	}
	fmt.Fprintf(&b, "--%s--\r\n", boundary)
	return b.Bytes()
}

// batch sends requests as a batch to the service, or to a container.
func (w *wire) batch(r ref, calls ...*call) *call {
	return w.batchBody(r, batchOf("batch_1", calls...))
}

func (w *wire) batchBody(r ref, body []byte) *call {
	query := "comp=batch"
	if r.container() != "" {
		query = "restype=container&comp=batch"
	}
	return w.do("POST", r, query).h("Content-Type", "multipart/mixed; boundary=batch_1").b(body)
}

// parts reads the answer to a batch: "id status code" of each part, joined by ", ".
func (w *wire) parts(c *call) string {
	w.Helper()
	r := c.ok(202)
	kind, params, err := mime.ParseMediaType(r.get("Content-Type"))
	if err != nil || kind != "multipart/mixed" {
		w.Fatalf("%v:\n%v", err, r)
	}
	m := multipart.NewReader(bytes.NewReader(r.body), params["boundary"])
	var all []string
	for {
		p, err := m.NextPart()
		if err == io.EOF {
			return strings.Join(all, ", ")
		}
		w.must(err)
		text, err := io.ReadAll(p)
		w.must(err)
		w.equal("Content-Type of a part", p.Header.Get("Content-Type"), "application/http")
		head, _, _ := strings.Cut(string(text), "\r\n\r\n")
		line, fields, _ := strings.Cut(head, "\r\n")
		part := p.Header.Get("Content-ID") + " " + strings.TrimPrefix(line, "HTTP/1.1 ")
		for f := range strings.SplitSeq(fields, "\r\n") {
			name, value, _ := strings.Cut(f, ": ")
			switch name {
			case "x-ms-error-code":
				part += " " + value
			case "x-ms-version":
				w.equal("x-ms-version of a part", value, version)
			}
		}
		if !strings.Contains(fields, "x-ms-request-id: ") {
			w.Errorf("a part without a request id: %q", text)
		}
		all = append(all, part)
	}
}

func serviceBatch(t T, env *Env) {
	w := env.wire(t)
	w.part("through the SDK", func(w *wire) {
		c := w.container()
		client := w.sdk()
		b, err := client.NewBatchBuilder()
		w.must(err)
		for i := range 3 {
			name := fmt.Sprintf("d/e f %d", i)
			if i != 1 {
				w.create(c.blob(name), page).ok(201)
			}
			w.must(b.Delete(string(c[1:]), name, nil))
		}
		got, err := client.SubmitBatch(ctx, b, &service.SubmitBatchOptions{})
		w.must(err)
		outcome := ""
		for _, r := range got.Responses {
			outcome += fmt.Sprintf("%d %v; ", val(r.ContentID), r.Error != nil) // the SDK takes names from the host style only
		}
		w.equal("outcome", outcome, "0 false; 1 true; 2 false; ")
		w.get(c.blob("d/e f 0"), "").fails("BlobNotFound")
	})
	w.part("each on its own", func(w *wire) {
		c, other := w.container(), w.container()
		w.create(c.blob("a"), page).ok(201)
		w.create(other.blob("b"), page).ok(201)
		w.create(c.blob("leased"), page).ok(201)
		w.acquire(c.blob("leased"), leaseA, -1).ok(201)
		w.create(c.blob("kept"), page).ok(201)
		at := w.snapshot(c.blob("kept"))
		forged := w.delete(c.blob("kept"), "")
		forged.sign.key = "QUFBQQ=="
		w.equal("parts", w.parts(w.batch("/", w.delete(c.blob("a"), ""), w.delete(other.blob("b"), ""), w.delete(c.blob("leased"), ""),
			w.delete(c.blob("kept"), "snapshot="+at), forged, w.delete(c.blob("kept"), "").leave("Authorization"),
			w.delete(c.blob("kept"), "").h("If-Match", otherETag), w.delete(c.blob("kept"), "comp=nonsense"),
			w.delete(c.blob("none"), ""), w.delete(c.blob("kept"), "").h("x-ms-encryption-scope", "s"))),
			"0 202 Accepted, 1 202 Accepted, 2 412 Precondition Failed LeaseIdMissing, 3 202 Accepted, 4 403 Forbidden AuthenticationFailed, "+
				"5 401 Unauthorized NoAuthenticationInformation, 6 412 Precondition Failed ConditionNotMet, "+
				"7 400 Bad Request InvalidQueryParameterValue, 8 404 Not Found BlobNotFound, 9 400 Bad Request UnsupportedHeader")
		w.get(c.blob("kept"), "").ok(200)
		w.get(c.blob("leased"), "").ok(200)
		w.get(other.blob("b"), "").fails("BlobNotFound")
	})
	w.part("as the JavaScript SDK addresses an account in the path", func(w *wire) {
		c := w.container()
		w.create(c.blob("a"), page).ok(201)
		batch := w.batch("/", w.delete(c.blob("a"), ""))
		batch.query = "comp=batch&restype=container"
		w.equal("parts", w.parts(batch), "0 202 Accepted")
		w.get(c.blob("a"), "").fails("BlobNotFound")
	})
	w.part("how many", func(w *wire) {
		c := w.container()
		var calls []*call
		for i := range 257 {
			calls = append(calls, w.delete(c.blob(fmt.Sprint(i)), ""))
		}
		w.create(c.blob("0"), page).ok(201)
		w.equal("257", w.parts(w.batch("/", calls...)), " 400 Bad Request InvalidInput")
		w.get(c.blob("0"), "").ok(200)
		if n := strings.Count(w.parts(w.batch("/", calls[:256]...)), "404 Not Found BlobNotFound"); n != 255 {
			w.Errorf("%d of 255 blobs are missing", n)
		}
		w.get(c.blob("0"), "").fails("BlobNotFound")
	})
	w.part("refused as a whole", func(w *wire) { batchErrors(w) })
}

func batchErrors(w *wire) {
	b := w.pageBlob(page)
	del := func() *call { return w.delete(b, "") }
	body := func(text string) *call { return w.batchBody("/", []byte(text)) }
	w.batch("/").fails("InvalidInput")
	body("").fails("InvalidInput")
	body("DELETE / HTTP/1.1\r\n\r\n").fails("InvalidInput")
	body(strings.TrimSuffix(string(batchOf("batch_1", del())), "--batch_1--\r\n")).fails("InvalidInput")
	body(strings.Replace(string(batchOf("batch_1", del())), "application/http", "text/plain", 1)).fails("InvalidInput")
	w.batch("/", del().b([]byte("x"))).ok(202) // says a length and brings nothing: that part alone is wrong
	w.batch("/", del(), w.get(b, "")).fails("InvalidInput")
	w.batch("/", w.delete(b.container(), "restype=container")).fails("InvalidInput")
	w.batch("/", w.put(b, "comp=metadata")).fails("InvalidInput")
	w.batch("/", del(), w.put(b, "comp=tier").h("x-ms-access-tier", "Hot")).fails("InvalidInput") // one kind only
	for _, kind := range []string{"multipart/mixed", "application/xml", "multipart/mixed; boundary="} {
		w.do("POST", "/", "comp=batch").h("Content-Type", kind).b(batchOf("batch_1", del())).
			fails("InvalidHeaderValue", "HeaderName", "Content-Type", "HeaderValue", kind)
	}
	body(strings.Repeat("x", 4<<20+1)).fails("RequestBodyTooLarge")
	w.get(b, "").ok(200)
}

func containerBatch(t T, env *Env) {
	w := env.wire(t)
	c, other := w.container(), w.container()
	w.create(c.blob("a"), page).ok(201)
	w.create(other.blob("b"), page).ok(201)
	client := w.sdkContainer(c)
	b, err := client.NewBatchBuilder()
	w.must(err)
	w.must(b.Delete("a", nil))
	got, err := client.SubmitBatch(ctx, b, &container.SubmitBatchOptions{})
	w.must(err)
	if len(got.Responses) != 1 || got.Responses[0].Error != nil || val(got.Responses[0].Version) != version {
		w.Errorf("the SDK reads %+v", got.Responses)
	}
	w.get(c.blob("a"), "").fails("BlobNotFound")
	w.equal("of another container", w.parts(w.batch(c, w.delete(other.blob("b"), ""))), "0 400 Bad Request InvalidInput")
	w.get(other.blob("b"), "").ok(200)
	w.batch(c).fails("InvalidInput")
}
