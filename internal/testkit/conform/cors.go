package conform

import (
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
)

// preflight asks as a browser does, without credentials.
func (w *wire) preflight(r ref, pairs ...string) *call {
	return w.do("OPTIONS", r, "").hs(pairs...).leave("Authorization", "x-ms-date", "x-ms-version")
}

func corsPreflight(t T, env *Env) {
	w := env.wire(t)
	b := w.pageBlob(page)
	const acrm, acrh = "Access-Control-Request-Method", "Access-Control-Request-Headers"
	w.preflight(b, "Origin", "http://a.example", acrm, "GET").fails("CorsPreflightFailure") // there are no rules
	_, err := w.sdk().SetProperties(ctx, &service.SetPropertiesOptions{CORS: []*service.CORSRule{
		{AllowedOrigins: to.Ptr("http://a.example,http://*.b.example"), AllowedMethods: to.Ptr("GET,PUT"), AllowedHeaders: to.Ptr("x-ms-meta-*,x-ms-date"),
			ExposedHeaders: to.Ptr("x-ms-request-id,ETag"), MaxAgeInSeconds: to.Ptr[int32](60)},
		{AllowedOrigins: to.Ptr("*"), AllowedMethods: to.Ptr("HEAD"), AllowedHeaders: to.Ptr(""), ExposedHeaders: to.Ptr(""), MaxAgeInSeconds: to.Ptr[int32](0)},
	}})
	w.must(err)
	w.Cleanup(func() { w.setProperties(propertiesOf("<Cors/>")).ok(202) })
	got, err := w.sdk().GetProperties(ctx, nil)
	w.must(err)
	if len(got.CORS) != 2 || val(got.CORS[0].MaxAgeInSeconds) != 60 {
		w.Errorf("the SDK reads %+v", got.CORS)
	}
	w.part("preflight", func(w *wire) {
		for _, r := range []ref{"/", b.container(), b, b.container().blob("none")} {
			w.headers(w.preflight(r, "Origin", "http://a.example", acrm, "PUT", acrh, "X-Ms-Meta-A,x-ms-date").ok(200),
				"Access-Control-Allow-Origin", "http://a.example", "Access-Control-Allow-Methods", "PUT",
				"Access-Control-Allow-Headers", "X-Ms-Meta-A,x-ms-date", "Access-Control-Max-Age", "60",
				"Access-Control-Allow-Credentials", "true", "Vary", "Origin")
		}
		w.headers(w.preflight(b, "Origin", "http://x.b.example", acrm, "GET").ok(200), "Access-Control-Allow-Origin", "http://x.b.example")
		w.headers(w.preflight(b, "Origin", "http://c.example", acrm, "HEAD").ok(200), "Access-Control-Allow-Origin", "*",
			"Access-Control-Allow-Credentials", "-", "Vary", "-")
		w.preflight(b, "Origin", "http://c.example", acrm, "GET").fails("CorsPreflightFailure")
		w.preflight(b, "Origin", "http://a.example", acrm, "DELETE").fails("CorsPreflightFailure")
		w.preflight(b, "Origin", "http://a.example", acrm, "GET", acrh, "x-other").fails("CorsPreflightFailure")
		w.preflight(b, acrm, "GET").fails("InvalidHeaderValue", "HeaderName", "Origin")
		w.preflight(b, "Origin", "http://a.example").fails("InvalidHeaderValue", "HeaderName", acrm)
	})
	w.part("requests", func(w *wire) {
		w.headers(w.get(b, "").h("Origin", "http://a.example").ok(200), "Access-Control-Allow-Origin", "http://a.example",
			"Access-Control-Expose-Headers", "x-ms-request-id,ETag", "Access-Control-Allow-Credentials", "true", "Vary", "Origin")
		w.headers(w.head(b, "").h("Origin", "http://c.example").ok(200), "Access-Control-Allow-Origin", "*", "Vary", "-")
		w.headers(w.get(b, "").h("Origin", "http://c.example").ok(200), "Access-Control-Allow-Origin", "-", "Vary", "Origin")
		w.headers(w.get(b, "").ok(200), "Access-Control-Allow-Origin", "-")
		w.headers(w.get(b.container().blob("none"), "").h("Origin", "http://a.example").fails("BlobNotFound"),
			"Access-Control-Allow-Origin", "http://a.example") // so that the page can read the error
	})
	w.part("a rule that is too large", func(w *wire) {
		long := strings.Replace(corsRule, "*", strings.TrimSuffix(strings.Repeat("http://"+strings.Repeat("a", 240)+",", 9), ","), 1)
		w.setProperties(propertiesOf("<Cors>" + long + "</Cors>")).fails("InvalidXmlDocument")
	})
	w.setProperties(propertiesOf("<Cors/>")).ok(202)
	w.preflight(b, "Origin", "http://a.example", acrm, "GET").fails("CorsPreflightFailure")
}
