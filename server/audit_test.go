package server

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestAudit shows what the audit log says of requests.
func TestAudit(t *testing.T) {
	audit := &logBuffer{}
	began := time.Now()
	ts := start(t, func(o *Options) { o.Audit, o.AllowPublicAccess = audit, true })
	ts.makeBlob(t, 4096)
	f := func(c call, want auditLine) {
		t.Helper()
		before := len(audit.String())
		a := ts.do(t, c)
		text := audit.String()[before:]
		var got auditLine
		d := json.NewDecoder(strings.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&got); err != nil || strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "}\n") {
			t.Fatalf("not a line: %q, %v", text, err)
		}
		if got.Request != a.Header.Get("x-ms-request-id") || !strings.HasPrefix(got.Remote, "127.0.0.1:") || got.Time.Before(began.Add(-time.Second)) || got.Time.After(time.Now()) {
			t.Errorf("wrong id, address or time: %+v", got)
		}
		if got.Sent != int64(len(a.body)) {
			t.Errorf("sent %d, want %d", got.Sent, len(a.body))
		}
		got.Sent = 0
		got.Request, got.Remote, got.Time = "", "", time.Time{}
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	f(putPage(0, pages(512, 'x')), auditLine{Account: testAccount, Authorised: "SharedKey", Operation: "Put Page", Container: "disks", Blob: "b", Status: 201, Received: 512})
	f(call{method: "GET", path: "disks/b"}, auditLine{Account: testAccount, Authorised: "SharedKey", Operation: "Get Blob", Container: "disks", Blob: "b", Status: 200})
	f(call{method: "HEAD", path: "disks/b"}, auditLine{Account: testAccount, Authorised: "SharedKey", Operation: "Get Blob Properties", Container: "disks", Blob: "b", Status: 200})
	token, _ := blobToken(t, mustKey(t), "r")
	f(call{method: "GET", path: "disks/b?" + token, unsigned: true}, auditLine{Account: testAccount, Authorised: "SAS service", Operation: "Get Blob", Container: "disks", Blob: "b", Status: 200})
	f(call{method: "DELETE", path: "disks/b?" + token, unsigned: true}, auditLine{Account: testAccount, Authorised: "no", Operation: "Delete Blob", Container: "disks", Blob: "b",
		Status: 403, Code: "AuthorizationPermissionMismatch"})
	ts.do(t, call{method: "PUT", path: "disks?restype=container&comp=acl", header: []string{"x-ms-blob-public-access: blob"}}).want(t, 200, "")
	f(call{method: "GET", path: "disks/b", unsigned: true}, auditLine{Account: testAccount, Authorised: "public", Operation: "Get Blob", Container: "disks", Blob: "b", Status: 200})
	ts.do(t, call{method: "PUT", path: "disks?restype=container&comp=acl"}).want(t, 200, "")
	f(call{method: "GET", path: "disks/a%20%22%0Ab", unsigned: true}, auditLine{Account: testAccount, Authorised: "no", Operation: "Get Blob", Container: "disks", Blob: "a \"\nb",
		Status: 401, Code: "NoAuthenticationInformation"})
}

// TestAuditCopy shows what the audit log says of the source of a copy.
func TestAuditCopy(t *testing.T) {
	ts, issuer, audit := lending(t, "reader oid:R "+secondAccount+"/disks\n", func(o *Options) { o.CopySourceAllow = []string{"127.0.0.1"} })
	ts.makeBlob(t, 4096)
	fillDisk(t, ts.containerOf(t, secondAccount, "disks"), "a")
	later := time.Now().Add(time.Hour)
	other, own := "http://127.0.0.1/"+secondAccount+"/disks/a", "http://127.0.0.1/"+testAccount+"/disks/b"
	signed := strings.Replace(tokenFor(t, ts, secondAccount, "disks/a", "r", later), ts.addr, "127.0.0.1", 1)
	reader, nobody := "Bearer "+lentToken(issuer, "R", later), "Bearer "+lentToken(issuer, "N", later)
	f := func(c call, status int, source, lender string) {
		t.Helper()
		before := len(audit.String())
		a := ts.do(t, c)
		var got auditLine
		if err := json.Unmarshal([]byte(audit.String()[before:]), &got); err != nil {
			t.Fatal(err)
		}
		if a.StatusCode != status || got.Status != status || got.Source != source || got.Lender != lender || got.Account != testAccount || got.Principal != "" {
			t.Errorf("%s: %d %+v, want %d, a source in %q and a token of %q", c.header, a.StatusCode, got, status, source, lender)
		}
		ts.settled(t, "disks/copy")
	}
	for i, status := range []int{202, 201} {
		f(from(other, reader)[i], status, secondAccount, "R")
		f(from(other, nobody)[i], 403, secondAccount, "N")
		f(from(other, "Bearer "+lentToken(issuer, "R", later.Add(-2*time.Hour)))[i], 403, secondAccount, "")
		f(from(other, "")[i], 401, secondAccount, "")
		f(from(signed, "")[i], status, secondAccount, "")
		f(from("http://127.0.0.1/none/disks/a", reader)[i], 404, "", "")
		f(from("http://127.0.0.1:1/a/b/c", reader)[i], 404, "", "")
	}
	f(from(own, "")[0], 202, testAccount, "")
	f(call{method: "GET", path: "disks/copy"}, 200, "", "")
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left") }

// TestAuditFails shows that requests are answered although the audit log is full, and that the log says so, once.
func TestAuditFails(t *testing.T) {
	ts := start(t, func(o *Options) { o.Audit = fullDisk{} })
	ts.makeBlob(t, 4096)
	ts.do(t, putPage(0, pages(512, 'x'))).want(t, 201, "")
	if n := strings.Count(ts.log.String(), "the audit log cannot be written"); n != 1 {
		t.Errorf("told %d times, want once", n)
	}
}

// TestNoSecrets sends secrets in every place where clients have them, well-formed and not, and looks for them in all that
// is logged.
func TestNoSecrets(t *testing.T) {
	audit := &logBuffer{}
	ts := start(t, func(o *Options) { o.Audit = audit })
	ts.makeBlob(t, 4096)
	secrets := []string{testKey, "c2VjcmV0c2lnbmF0dXJl", "QmVhcmVydG9rZW4", "c2lnb2Zhc2Fz", "c29taG93Y29waWVk", "bG9uZ2hlYWRlcg"}
	send := func(p []byte) {
		t.Helper()
		w := ts.dial(t)
		w.send(p)
		w.recv("GET")
		w.Close()
	}
	signature := func(c call) []byte {
		t.Helper()
		p := c.bytes(t)
		_, rest, _ := strings.Cut(string(p), "Authorization: SharedKey "+testAccount+":")
		good, _, _ := strings.Cut(rest, "\r\n")
		if len(good) < 40 {
			t.Fatalf("no signature in %q", p)
		}
		secrets = append(secrets, good)
		return p
	}
	get := func(path string, lines ...string) call { return call{method: "GET", path: path, header: lines} }
	send(signature(get("disks/b")))
	send(signature(get("disks/none")))
	wrong := "Authorization: SharedKey " + testAccount + ":" + secrets[1]
	token := "Authorization: Bearer " + secrets[2]
	sas := "sv=2026-12-06&sr=b&sp=r&sig=" + secrets[3]
	source := "x-ms-copy-source: https://127.0.0.1:1/a/c/b?" + strings.Replace(sas, secrets[3], secrets[4], 1)
	send(get("disks/b", wrong).bytes(t))
	send(get("disks/b", token).bytes(t))
	send(call{method: "GET", path: "disks/b?" + sas, unsigned: true}.bytes(t))
	send(signature(get("disks/b?" + sas)))
	send(signature(call{method: "PUT", path: "disks/copy", header: []string{source}}))
	send(signature(call{method: "PUT", path: "disks/copy", header: []string{"x-ms-blob-type: PageBlob", source, "x-ms-copy-source-authorization: Bearer " + secrets[2]}}))
	send(signature(call{method: "PUT", path: "disks/b?comp=incrementalcopy", header: []string{source}}))

	// A token that is good, for the blob and for another, and where it does not belong.
	good, goodSignature := blobToken(t, mustKey(t), "rd")
	secrets = append(secrets, goodSignature, url.QueryEscape(goodSignature))
	goodSource := "x-ms-copy-source: http://127.0.0.1/" + testAccount + "/disks/b?" + good
	ts.do(t, call{method: "GET", path: "disks/b?" + good, unsigned: true}).want(t, 200, "")
	ts.do(t, call{method: "PUT", path: "disks/copy", header: []string{goodSource}}).want(t, 202, "")
	ts.do(t, call{method: "PUT", path: "disks/b?" + good, header: []string{goodSource}, unsigned: true}).want(t, 403, "AuthorizationPermissionMismatch")
	creates, creator := blobToken(t, mustKey(t), "cw")
	secrets = append(secrets, creator, url.QueryEscape(creator))
	ts.do(t, call{method: "PUT", path: "disks/b?" + creates, header: []string{goodSource}, unsigned: true}).want(t, 202, "")
	plainSource, _, _ := strings.Cut(goodSource, "?")
	ts.do(t, call{method: "PUT", path: "disks/b?" + creates, header: []string{plainSource}, unsigned: true}).want(t, 401, "CannotVerifyCopySource")
	ts.do(t, call{method: "PUT", path: "disks/copy", header: []string{"x-ms-copy-source: http://127.0.0.1:1/c/b?sig=" + secrets[4]}}).want(t, 403, "CannotVerifyCopySource")
	for _, path := range []string{"disks/none?" + good, "disks/b?comp=page&" + good, "disks/b?sig=x&" + good, "disks?comp=list&restype=container&" + good} {
		send(call{method: "GET", path: path, unsigned: true}.bytes(t))
		send(signature(get(path)))
	}

	// What no request is made of.
	for _, line := range []string{wrong, token, source} {
		name, value, _ := strings.Cut(line, ": ")
		for _, broken := range []string{name + " : " + value, name + " " + value, " " + line, line + "\x00", line + "\nX: y", name + ":\r\n " + value, line + "\r\n" + line} {
			send(get("disks/b", broken).bytes(t))
		}
	}
	send([]byte("GET /" + testAccount + "/disks/b?" + sas + "\x01 HTTP/1.1\r\nHost: x\r\n\r\n"))
	send([]byte("GET /" + testAccount + "/disks/b?" + sas + " HTTP/9.9\r\nHost: x\r\n\r\n"))
	send([]byte("GET /" + testAccount + "/disks/b?" + sas + "&%zz HTTP/1.1\r\nHost: x\r\n\r\n"))
	send([]byte("GET /%zz" + testAccount + "/disks/b?" + sas + " HTTP/1.1\r\nHost: x\r\n\r\n"))
	send([]byte("G ET /" + testAccount + "/disks/b?" + sas + " HTTP/1.1\r\nHost: x\r\n\r\n"))
	send([]byte("GET /" + testAccount + "/disks/b HTTP/1.1\r\nHost: x\r\n" + token + "\r\nX: " + strings.Repeat(secrets[5], headersMax) + "\r\n\r\n"))

	part := "--b\r\nContent-Type: application/http\r\n\r\nDELETE /" + testAccount + "/disks/b?" + good + " HTTP/1.1\r\n\r\n--b--\r\n"
	batch := ts.do(t, call{method: "POST", path: "?comp=batch", header: []string{"Content-Type: multipart/mixed; boundary=b"}, body: []byte(part)})
	if batch.StatusCode != 202 || !strings.Contains(string(batch.body), "HTTP/1.1 202") {
		t.Errorf("the batch: %d %s", batch.StatusCode, batch.body)
	}

	logged := ts.log.String() + audit.String()
	for _, want := range []string{"path=/" + testAccount + "/disks/b", `"operation":"Get Blob"`, "code=AuthenticationFailed", "msg=connection"} {
		if !strings.Contains(logged, want) {
			t.Errorf("%q is not logged: what is looked through is not all", want)
		}
	}
	for _, secret := range secrets {
		if i := strings.Index(logged, secret); i >= 0 {
			t.Errorf("logged: …%s…", logged[max(0, i-200):i+len(secret)])
		}
	}
}
