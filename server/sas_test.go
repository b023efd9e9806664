package server

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"pagevault/internal/azure/sas"
)

// blobToken returns a service SAS for blob b of container disks with those permissions, as a query, and its signature.
func blobToken(t testing.TB, key []byte, permissions string) (query, signature string) {
	t.Helper()
	expiry := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	m := hmac.New(sha256.New, key)
	fmt.Fprintf(m, "%s\n\n%s\n/blob/%s/disks/b\n\n\n\n2021-12-02\nb\n\n\n\n\n\n\n", permissions, expiry, testAccount)
	signature = base64.StdEncoding.EncodeToString(m.Sum(nil))
	return url.Values{"sv": {"2021-12-02"}, "sr": {"b"}, "sp": {permissions}, "se": {expiry}, "sig": {signature}}.Encode(), signature
}

// TestTokensAreNotTold: signatures are in no log and no reply, whatever becomes of the request.
func TestTokensAreNotTold(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 4096)
	query, signature := blobToken(t, mustKey(t), "r")
	escaped := url.QueryEscape(signature)
	secrets := []string{signature, escaped, url.QueryEscape(escaped)}
	check := func(what, text string) {
		t.Helper()
		for _, s := range secrets {
			if strings.Contains(text, s) {
				t.Errorf("%s: the signature is told:\n%s", what, text)
			}
		}
	}
	source := "x-ms-copy-source: https://127.0.0.1:1/other/disks/b?" + query
	for _, c := range []call{
		{method: "GET", path: "disks/b?" + query, unsigned: true},
		{method: "DELETE", path: "disks/b?" + query, unsigned: true},
		{method: "GET", path: "disks/c?" + query, unsigned: true},
		{method: "GET", path: "disks/b?" + query + "&sig=" + escaped, unsigned: true},
		{method: "GET", path: "disks/b?restype=service&comp=" + url.QueryEscape("a?sig="+signature) + "&" + query, unsigned: true},
		{method: "GET", path: "disks/b?" + query},
		{method: "GET", path: "disks/b?" + query, header: []string{"Authorization: SharedKey " + testAccount + ":AAAA"}},
		{method: "GET", path: "disks/b", header: []string{source, "Authorization: SharedKey " + testAccount + ":AAAA"}},
		{method: "PUT", path: "disks/d", header: []string{source}},
		{method: "PUT", path: "disks?restype=container&comp=metadata", header: []string{source}},
		{method: "GET", path: "disks/b?comp=pagelist", header: []string{"x-ms-previous-snapshot-url: https://other/disks/b?" + query}},
		{method: "GET", path: "disks/b?x=%zz&" + query, unsigned: true},
	} {
		a := ts.do(t, c)
		check(c.method+" "+strings.ReplaceAll(c.path, escaped, "…"), a.raw+string(a.body))
	}
	log := ts.log.String()
	check("the log", log)
	if n := strings.Count(log, "msg=request "); n < 12 {
		t.Errorf("%d requests in the log", n)
	}
}

// TestDelegationToken: a token that is signed with a key made for a user is good for as long as the key.
func TestDelegationToken(t *testing.T) {
	ts := start(t, func(o *Options) { o.Bearer = unsignedTokens(t) })
	ts.makeBlob(t, 4096)
	f := func(status int, code string, change func(k *sas.KeyFields)) {
		t.Helper()
		now := time.Now().UTC()
		k := sas.KeyFields{ObjectID: "user", TenantID: "tenant", Start: now.Add(-time.Hour).Format(time.RFC3339), Expiry: now.Add(time.Hour).Format(time.RFC3339),
			Service: "b", Version: "2021-12-02"}
		key := sas.DelegationKey(mustKey(t), &k)
		if change != nil {
			change(&k)
		}
		expiry := now.Add(time.Hour).Format(time.RFC3339)
		text := strings.Join([]string{"r", "", expiry, "/blob/" + testAccount + "/disks/b", k.ObjectID, k.TenantID, k.Start, k.Expiry, k.Service, k.Version,
			"", "", "", "", "", "2021-12-02", "b", "", "", "", "", "", "", ""}, "\n")
		m := hmac.New(sha256.New, key)
		m.Write([]byte(text))
		q := url.Values{"sv": {"2021-12-02"}, "sr": {"b"}, "sp": {"r"}, "se": {expiry}, "skoid": {k.ObjectID}, "sktid": {k.TenantID}, "skt": {k.Start},
			"ske": {k.Expiry}, "sks": {k.Service}, "skv": {k.Version}, "sig": {base64.StdEncoding.EncodeToString(m.Sum(nil))}}
		ts.do(t, call{method: "GET", path: "disks/b?" + q.Encode(), unsigned: true}).want(t, status, code)
		ts.do(t, call{method: "DELETE", path: "disks/b?" + q.Encode(), unsigned: true}).want(t, 403, map[int]string{200: "AuthorizationPermissionMismatch", 403: code}[status])
	}
	f(200, "", nil)
	f(403, "AuthenticationFailed", func(k *sas.KeyFields) { k.ObjectID = "other" })
	f(403, "AuthenticationFailed", func(k *sas.KeyFields) { k.TenantID = "other" })
	f(403, "AuthenticationFailed", func(k *sas.KeyFields) { k.Expiry = time.Now().Add(2 * time.Hour).UTC().Format(time.RFC3339) })
	f(403, "AuthenticationFailed", func(k *sas.KeyFields) { k.Start = time.Now().UTC().Format("2006-01-02") + "T00:00:00Z" })
}

// TestTokenProtocol: a token for https alone is taken over TLS.
func TestTokenProtocol(t *testing.T) {
	ts := start(t, func(o *Options) { o.TLS = borrowedTLS(t) })
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // see TestTLS
	defer client.CloseIdleConnections()
	expiry := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	m := hmac.New(sha256.New, mustKey(t))
	fmt.Fprintf(m, "%s\nl\nb\ns\n\n%s\n\nhttps\n2021-12-02\n\n", testAccount, expiry)
	q := url.Values{"comp": {"list"}, "sv": {"2021-12-02"}, "ss": {"b"}, "srt": {"s"}, "sp": {"l"}, "se": {expiry}, "spr": {"https"},
		"sig": {base64.StdEncoding.EncodeToString(m.Sum(nil))}}
	resp, err := client.Get("https://" + ts.addr + "/" + testAccount + "?" + q.Encode())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("status %d", resp.StatusCode)
	}
}
