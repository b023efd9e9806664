package conform

import (
	"net/http"
	"strings"
	"time"
)

func signatures(t T, env *Env) {
	w := env.wire(t)
	w.part("accepted", signaturesAccepted)
	w.part("addresses", signatureAddresses)
	w.part("dates", signatureDates)
	w.part("refused", signaturesRefused)
	w.part("secondary", signatureSecondary)
	w.part("account in the host name", signatureHostStyle)
}

// styles are the ways a request may rightly be signed.
func styles(env *Env) map[string]signature {
	all := map[string]signature{}
	for _, key := range []string{"first key", "second key"} {
		for _, scheme := range []string{"SharedKey", "SharedKeyLite"} {
			for _, order := range []string{"bytes", "culture"} {
				s := signature{account: env.Account, key: env.Key, lite: scheme == "SharedKeyLite", culture: order == "culture"}
				if key == "second key" {
					s.key = env.SecondKey
				}
				all[scheme+", "+key+", sorted by "+order] = s
			}
		}
	}
	return all
}

// signaturesAccepted: both schemes, both keys and both orders of headers, for requests in which they differ.
func signaturesAccepted(w *wire) {
	b := w.pageBlob(4 * page)
	for name, style := range byKey(styles(w.env)) {
		w.part(name, func(w *wire) {
			signed := func(c *call) *call {
				c.sign = style
				return c
			}
			signed(w.get("/", "comp=list")).ok(200)
			signed(w.get("/", "restype=service&comp=properties")).ok(200)
			signed(w.head(b, "")).ok(200)
			signed(w.update(b, 0, fill(100, page))).ok(201)
			// Names that the two orders sort differently [S], and an empty value, which is signed too.
			signed(w.put(b, "comp=metadata").hs("x-ms-meta-a1", "1", "x-ms-meta-a_b", "2", "x-ms-meta-A0", "", "x-ms-meta-_", "3",
				"x-ms-meta-zz", "4", "x-ms-meta-z_z", "5")).ok(200)
			signed(w.put(b, "comp=metadata").hs("x-ms-client-request-id", "x", "x-ms-meta-Inner", "two  spaces\tand a tab")).ok(200)
			signed(w.get(b, "").hs("x-ms-vendor", "b", "x-ms-vendor", "a", "X-MS-Other", "Case")).ok(200) // joined as sent
			// Standard headers are signed as they are.
			signed(w.update(b, page, fill(101, page)).hs("Content-Type", "application/octet-stream; charset=UTF-8", "Content-Encoding", "x",
				"Content-Language", "de-DE", "Content-MD5", md5Of(fill(101, page)))).ok(201)
			signed(w.get(b, "").hs("Range", "bytes=0-99", "If-Match", w.stamp(b).etag, "If-Unmodified-Since", w.stamp(b).modified)).ok(206)
			signed(w.get(b, "").hs("If-None-Match", otherETag, "If-Modified-Since", w.ago(time.Hour))).ok(200)
			// Names and values of the query are signed decoded, in lower case, sorted; twice means joined.
			signed(w.get(b.container(), "restype=container&comp=list&prefix=b%20l&delimiter=+&timeout=30")).ok(200)
			signed(w.get(b.container(), "Zeta=1&comp=list&alpha=2&RESTYPE=container&include=snapshots&include=metadata")).ok(200)
			signed(w.get(b.container(), "restype=container&comp=list&delimiter=%2f&prefix=%e2%82%ac%26%3d")).ok(200)
			// Old versions sign the length of nothing as it was sent.
			signed(w.put(b, "comp=metadata").hs("x-ms-version", "2014-02-14", "Content-Length", "0")).ok(200)
			signed(w.put(b, "comp=metadata").h("x-ms-version", "2015-02-21")).ok(200)
			signed(w.put(b, "comp=metadata").leave("Content-Length")).ok(200)
		})
	}
}

// signatureAddresses: the path is signed as it was sent, however it is written.
func signatureAddresses(w *wire) {
	c := w.container()
	for _, path := range []string{"/plain", "/vm%201.vhd", "/%76m%201.vhd", "/a%2Cb,c", "/paren(1)'quote'", "/a//b", "/a/./b", "/%2e/x", "/..%2Fx",
		"/%E2%82%AC", "/%e2%82%ac", "/semi;colon=1&amp", "/plus+plus%2B", "/tilde~%7E", "/star*!$@:", "/percent%25"} {
		for _, style := range []signature{{account: w.env.Account, key: w.env.Key}, {account: w.env.Account, key: w.env.Key, lite: true}} {
			k := w.create(c+ref(path), page)
			k.sign = style
			k.ok(201)
			k = w.get(c+ref(path), "")
			k.sign = style
			k.ok(200)
		}
	}
}

// signatureDates: x-ms-date or Date, within fifteen minutes of the server's clock.
func signatureDates(w *wire) {
	b := w.pageBlob(page)
	get := func(date time.Time) *call { return w.get(b, "").h("x-ms-date", date.UTC().Format(http.TimeFormat)) }
	now := w.env.Clock.Now()
	for _, off := range []time.Duration{0, 14 * time.Minute, -14 * time.Minute} {
		get(now.Add(off)).ok(200)
		w.get(b, "").leave("x-ms-date").h("Date", now.Add(off).UTC().Format(http.TimeFormat)).ok(200)
	}
	for _, off := range []time.Duration{16 * time.Minute, -16 * time.Minute, 24 * time.Hour, -24 * time.Hour} {
		get(now.Add(off)).fails("AuthenticationFailed", "AuthenticationErrorDetail", "*")
		w.get(b, "").leave("x-ms-date").h("Date", now.Add(off).UTC().Format(http.TimeFormat)).
			fails("AuthenticationFailed", "AuthenticationErrorDetail", "*")
	}
	w.get(b, "").leave("x-ms-date").fails("AuthenticationFailed")
	for _, bad := range []string{"", "now", "2026-01-01T00:00:00Z"} {
		w.get(b, "").h("x-ms-date", bad).fails("AuthenticationFailed")
	}
	// With both, the line of Date is empty or not; x-ms-date counts.
	both := func() *call { return w.get(b, "").h("Date", now.UTC().Format(http.TimeFormat)) }
	both().ok(200)
	k := both()
	k.sign.dateLine = true
	k.ok(200)
	w.get(b, "").h("Date", now.Add(time.Hour).UTC().Format(http.TimeFormat)).ok(200)
}

func signaturesRefused(w *wire) {
	b := w.pageBlob(page)
	for name, style := range byKey(styles(w.env)) {
		k := w.update(b, 0, fill(102, page))
		k.sign = style
		k.sign.alteration = func(s string) string { return s + " " }
		r := k.fails("AuthenticationFailed", "AuthenticationErrorDetail", "*")
		detail := w.xml(r).value("AuthenticationErrorDetail")
		if !strings.Contains(detail, "comp") || !strings.Contains(detail, "x-ms-range:bytes=0-511") || strings.Contains(detail, w.env.Key) {
			w.Errorf("%s: the detail shows what was signed, and no key: %q", name, detail)
		}
	}
	raw := func(authorization string) *call {
		k := w.get(b, "")
		k.sign.raw = authorization
		return k
	}
	account := w.env.Account
	signed := func(change func(*signature)) *call {
		k := w.get(b, "")
		change(&k.sign)
		return k
	}
	signed(func(s *signature) { s.scheme = "sharedkey" }).ok(200)
	signed(func(s *signature) { s.key = "AAAA" }).fails("AuthenticationFailed")
	signed(func(s *signature) { s.resource = "/" + account + string(b) }).fails("AuthenticationFailed") // the account stands there twice
	signed(func(s *signature) { s.resource = "/" + account + "/" + account + string(b) + "/" }).fails("AuthenticationFailed")
	signed(func(s *signature) { s.account = "otheraccount" }).failsAny([]string{"AuthenticationFailed", "InvalidAuthenticationInfo"})
	for _, bad := range []string{"SharedKey", "SharedKey ", "SharedKey " + account, "Basic dTpw", "Digest x", "nonsense", ":",
		"SharedKeyHeavy " + account + ":AAAA"} {
		raw(bad).fails("InvalidAuthenticationInfo")
	}
	for _, bad := range []string{"SharedKey " + account + ":", "SharedKey " + account + ":not base64", "SharedKey " + account + ":AAAA",
		"SharedKeyLite " + account + ":AAAA", "Bearer eyJhbGciOiJub25lIn0.e30."} {
		raw(bad).failsAny([]string{"AuthenticationFailed", "InvalidAuthenticationInfo", "InvalidBearerToken"})
	}
	nobody := func(c *call) *call { return c.leave("Authorization") }
	for _, c := range []*call{w.get(b, ""), w.head(b, ""), w.update(b, 0, fill(103, page)), w.get("/", "comp=list"), w.get("/none-such/b", "")} {
		w.headers(nobody(c).fails("NoAuthenticationInformation"), "WWW-Authenticate", "*") // which clients look for
	}
	nobody(w.get(b, "")).h("x-ms-version", "2019-07-07").fails("ResourceNotFound") // before 2019-12-12 nothing was said
	nobody(w.get(b, "")).leave("x-ms-version").fails("ResourceNotFound")
	nobody(w.get(b, "sv=2021-12-02&sr=b&sp=r&se=2099-01-01&sig=AAAA")).fails("AuthenticationFailed", "AuthenticationErrorDetail", "*")
	// Who asks is looked at before what is there.
	none := w.get("/none-such/none", "")
	none.sign.key = "AAAA"
	none.fails("AuthenticationFailed")
	head := w.head(b, "")
	head.sign.key = "AAAA"
	head.fails("AuthenticationFailed")
	stranger := w.get(b, "")
	stranger.root = "/nosuchaccount"
	stranger.fails("ResourceNotFound") // [A]
}

// signatureSecondary: account-secondary is the same data, read-only. JS and .NET sign the path with the suffix, the
// reference without: both are right [A].
func signatureSecondary(w *wire) {
	b := w.pageBlob(page)
	data := fill(104, page)
	w.update(b, 0, data).ok(201)
	account := w.env.Account
	secondary := func(c *call) *call {
		c.root = "/" + account + "-secondary"
		return c
	}
	w.same("read", secondary(w.get(b, "")).ok(200).body, data)
	k := secondary(w.get(b, ""))
	k.sign.resource = "/" + account + "/" + account + string(b)
	w.same("read, signed without the suffix", k.ok(200).body, data)
	secondary(w.get(b.container(), "restype=container&comp=list")).ok(200)
	secondary(w.get("/", "comp=list")).ok(200)
	for _, write := range []*call{w.update(b, 0, data), w.create(b, page), w.delete(b, ""), w.put(b, "comp=snapshot"),
		w.put("/"+ref(w.env.unique()), "restype=container"), w.acquire(b, leaseA, 15), w.put(b, "comp=metadata")} {
		secondary(write).fails("InsufficientAccountPermissions")
	}
}

// signatureHostStyle: the account may stand in the host name and not in the path, as it does on Azure; it then stands once
// in what is signed.
func signatureHostStyle(w *wire) {
	b := w.pageBlob(page)
	data := fill(105, page)
	hosted := func(c *call, host string) *call {
		c.root = ""
		return c.h("Host", host)
	}
	for _, suffix := range []string{".blob.localhost", ".blob.core.windows.net:443", ".BLOB.example"} {
		hosted(w.update(b, 0, data), w.env.Account+suffix).ok(201)
		w.same("read", hosted(w.get(b, ""), w.env.Account+suffix).ok(200).body, data)
		hosted(w.get("/", "comp=list"), w.env.Account+suffix).ok(200)
		w.same("secondary", hosted(w.get(b, ""), w.env.Account+"-secondary"+suffix).ok(200).body, data)
		hosted(w.update(b, 0, data), w.env.Account+"-secondary"+suffix).fails("InsufficientAccountPermissions")
	}
}
