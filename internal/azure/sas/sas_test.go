package sas

import (
	"encoding/base64"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/query"
)

const testAccount = "devstoreaccount1"

// testKey is the key that every emulator has.
var testKey = mustDecode("Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==")

func mustDecode(s string) []byte {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func parseQuery(t testing.TB, raw string) *query.Set {
	t.Helper()
	q := new(query.Set)
	if err := q.Parse([]byte(raw)); err != nil {
		t.Fatal(err)
	}
	return q
}

// noSignature has the form of a signature and is none.
const noSignature = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

// signFor returns the query with a right signature added: the server's own text is signed, so this shows what is bound,
// not that the text is right.
func signFor(t testing.TB, raw string, r Resource, key []byte) string {
	t.Helper()
	q := parseQuery(t, raw+"&sig="+noSignature)
	token, err := Parse(q)
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	r.Query = q
	if r.Headers == nil {
		r.Headers = new(header.Set)
	}
	text, err := token.stringToSign(&r)
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return raw + "&sig=" + strings.NewReplacer("+", "%2B", "/", "%2F", "=", "%3D").Replace(signText(text, key))
}

// verify parses and verifies a query for a resource.
func verify(t testing.TB, raw string, r Resource, keys ...[]byte) (*Token, error) {
	t.Helper()
	r.Query = parseQuery(t, raw)
	if r.Headers == nil {
		r.Headers = new(header.Set)
	}
	token, err := Parse(r.Query)
	if err != nil {
		return nil, err
	}
	return token, token.Verify(&r, keys)
}

var disk = Resource{Account: testAccount, Container: "disks", Blob: "vm 1.vhd"}

// TestVectors checks signatures that were computed elsewhere, from the rules.
func TestVectors(t *testing.T) {
	f := func(raw string, r Resource) {
		t.Helper()
		if _, err := verify(t, raw, r, testKey); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
	}
	f("sp=rwdlac&ss=b&srt=sco&se=2030-01-01T00:00:00Z&spr=https,http&sv=2021-12-02&sig=4mMDMjXw1nrTXTY%2BYEl/5ciy8IHK6o6mpYizNIOC8Bo%3D",
		Resource{Account: testAccount})
	// A client that does not escape the plus.
	f("sp=rwdlac&ss=b&srt=sco&se=2030-01-01T00:00:00Z&spr=https,http&sv=2021-12-02&sig=4mMDMjXw1nrTXTY+YEl/5ciy8IHK6o6mpYizNIOC8Bo=",
		Resource{Account: testAccount})
	f("sp=r&se=2030-01-01T00:00:00Z&sv=2021-12-02&sr=b&sig=8D5yTZbHuzC4wudBkGt/9nKgeGotdj/2isi3IYGws3g=", disk)
}

// TestStringToSign has the text of every layout, field by field, each field with a value of its own.
func TestStringToSign(t *testing.T) {
	const (
		common  = "sp=SP&st=2020-01-01&se=2030-01-01"
		replies = "&rscc=CC&rscd=CD&rsce=CE&rscl=CL&rsct=CT"
		net     = "&sip=1.2.3.4&spr=https"
		key     = "&skoid=OID&sktid=TID&skt=2020-01-01&ske=2020-01-02&sks=b&skv=2018-11-09"
		more    = "&saoid=AOID&scid=CID"
	)
	h := new(header.Set)
	if err := h.Add([]byte("X-Ms-Meta-A"), []byte("1")); err != nil {
		t.Fatal(err)
	}
	r := disk
	r.Headers = h
	f := func(raw, want string) {
		t.Helper()
		q := parseQuery(t, raw+"&sig="+noSignature)
		token, err := Parse(q)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			return
		}
		r := r
		r.Query = q
		got, err := token.stringToSign(&r)
		if want = strings.ReplaceAll(want, "|", "\n"); err != nil || got != want {
			t.Errorf("%s:\ngot  %q, %v\nwant %q", raw, got, err, want)
		}
	}
	const path = "/devstoreaccount1/disks/vm 1.vhd"
	f(common+"&sr=b&si=ID", "SP|2020-01-01|2030-01-01|"+path+"|ID")
	f(common+"&sr=b&si=ID&sv=2011-08-18", "SP|2020-01-01|2030-01-01|"+path+"|ID")
	f(common+"&sr=b&si=ID&sv=2012-02-12", "SP|2020-01-01|2030-01-01|"+path+"|ID|2012-02-12")
	for _, v := range []string{"2013-08-15", "2014-02-14"} {
		f(common+"&sr=b&si=ID&sv="+v+replies, "SP|2020-01-01|2030-01-01|"+path+"|ID|"+v+"|CC|CD|CE|CL|CT")
	}
	f(common+"&sr=b&si=ID&sv=2015-02-21"+replies, "SP|2020-01-01|2030-01-01|/blob"+path+"|ID|2015-02-21|CC|CD|CE|CL|CT")
	f(common+"&sr=c&si=ID&sv=2015-02-21"+replies, "SP|2020-01-01|2030-01-01|/blob/devstoreaccount1/disks|ID|2015-02-21|CC|CD|CE|CL|CT")
	for _, v := range []string{"2015-04-05", "2018-03-28"} {
		f(common+"&sr=b&si=ID&sv="+v+replies+net, "SP|2020-01-01|2030-01-01|/blob"+path+"|ID|1.2.3.4|https|"+v+"|CC|CD|CE|CL|CT")
	}
	for _, v := range []string{"2018-11-09", "2020-10-02"} {
		f(common+"&sr=b&snapshot=S&si=ID&sv="+v+replies+net, "SP|2020-01-01|2030-01-01|/blob"+path+"|ID|1.2.3.4|https|"+v+"|b||CC|CD|CE|CL|CT")
		f(common+"&sr=bs&snapshot=S&si=ID&sv="+v+replies+net, "SP|2020-01-01|2030-01-01|/blob"+path+"|ID|1.2.3.4|https|"+v+"|bs|S|CC|CD|CE|CL|CT")
	}
	for _, v := range []string{"2020-12-06", "2026-04-06", "2026-12-06", "2031-01-01"} {
		f(common+"&sr=bv&versionid=V&si=ID&ses=ES&sv="+v+replies+net,
			"SP|2020-01-01|2030-01-01|/blob"+path+"|ID|1.2.3.4|https|"+v+"|bv|V|ES|CC|CD|CE|CL|CT")
	}

	account := common + "&ss=bq&srt=co" + net
	for _, v := range []string{"2015-04-05", "2020-10-02"} {
		f(account+"&sv="+v, "devstoreaccount1|SP|bq|co|2020-01-01|2030-01-01|1.2.3.4|https|"+v+"|")
	}
	for _, v := range []string{"2020-12-06", "2026-12-06"} {
		f(account+"&ses=ES&sv="+v, "devstoreaccount1|SP|bq|co|2020-01-01|2030-01-01|1.2.3.4|https|"+v+"|ES|")
	}

	d := common + key + net + replies + "&sr=bs&snapshot=S&sv="
	head := "SP|2020-01-01|2030-01-01|/blob" + path + "|OID|TID|2020-01-01|2020-01-02|b|2018-11-09|"
	for _, v := range []string{"2018-11-09", "2019-12-12"} {
		f(d+v, head+"1.2.3.4|https|"+v+"|bs|S|CC|CD|CE|CL|CT")
	}
	for _, v := range []string{"2020-02-10", "2020-10-02"} {
		f(d+v+more, head+"AOID||CID|1.2.3.4|https|"+v+"|bs|S|CC|CD|CE|CL|CT")
	}
	for _, v := range []string{"2020-12-06", "2025-05-05"} {
		f(d+v+more+"&ses=ES", head+"AOID||CID|1.2.3.4|https|"+v+"|bs|S|ES|CC|CD|CE|CL|CT")
	}
	for _, v := range []string{"2025-07-05", "2026-02-06"} {
		f(d+v+more+"&ses=ES&skdutid=DU", head+"AOID||CID|DU||1.2.3.4|https|"+v+"|bs|S|ES|CC|CD|CE|CL|CT")
	}
	for _, v := range []string{"2026-04-06", "2026-12-06"} {
		f(d+v+more+"&ses=ES&skdutid=DU", head+"AOID||CID|DU||1.2.3.4|https|"+v+"|bs|S|ES|||CC|CD|CE|CL|CT")
		f(d+v+more+"&ses=ES&skdutid=DU&srh=x-ms-meta-a&srq=comp,Timeout&comp=page&timeout=5",
			head+"AOID||CID|DU||1.2.3.4|https|"+v+"|bs|S|ES|x-ms-meta-a:1||\ncomp:page\nTimeout:5|CC|CD|CE|CL|CT")
	}
}

// TestParse has what makes no token.
func TestParse(t *testing.T) {
	const (
		account = "sv=2021-12-02&ss=b&srt=sco&sp=r&se=2030-01-01"
		service = "sv=2021-12-02&sr=b&sp=r&se=2030-01-01"
		user    = service + "&skoid=O&sktid=T&skt=2030-01-01&ske=2030-01-02&sks=b&skv=2021-12-02"
		sig     = "&sig=" + noSignature
	)
	f := func(raw string, ok bool) {
		t.Helper()
		token, err := Parse(parseQuery(t, raw))
		if ok && err != nil || !ok && (!errors.Is(err, azerr.AuthenticationFailed) || token != nil && err == nil) {
			t.Errorf("%s: got %v, want a token: %v", raw, err, ok)
		}
		if err != nil && strings.Contains(err.Error(), noSignature) {
			t.Errorf("%s: the signature is in the error: %v", raw, err)
		}
	}
	for _, raw := range []string{account, service, user} {
		f(raw+sig, true)
		f(raw, false)
		f(raw+"&sig=", false)
		f(raw+"&sig=AAAA", false)
		f(raw+"&sig=no%20base64", false)
		f(raw+sig+sig, false)
		for p := range strings.SplitSeq(raw, "&") {
			f(raw+sig+"&"+p, false) // twice
			name, _, _ := strings.Cut(p, "=")
			f(raw+sig+"&"+strings.ToUpper(name)+"=", false) // also in another case
			f(strings.Replace(raw, p, name+"=a%0Ab", 1)+sig, false)
		}
		f(raw+sig+"&snapshot=a&snapshot=b", false)
		f(raw+sig+"&sip=1.2.3", false)
		f(raw+sig+"&sip=1.2.3.4-", false)
		f(raw+sig+"&sip=1.2.3.4-1.2.3.3", false)
		f(raw+sig+"&sip=1.2.3.4-::1", false)
		f(raw+sig+"&sip=fe80::1%25eth0", false)
		f(raw+sig+"&sip=1.2.3.4-1.2.3.9", true)
		f(raw+sig+"&sip=2001:db8::1", true)
		f(raw+sig+"&spr=http", false)
		f(raw+sig+"&spr=ftp", false)
		f(raw+sig+"&st=yesterday", false)
		f(raw+sig+"&st=2020-01-01T00:00Z", true)
		f(strings.Replace(raw, "se=2030-01-01", "se=2030-13-01", 1)+sig, false)
		f(strings.Replace(raw, "se=2030-01-01", "", 1)+sig, false)
		f(strings.Replace(raw, "&sp=r", "", 1)+sig, false)
		f(strings.Replace(raw, "sv=2021-12-02&", "sv=latest&", 1)+sig, false)
	}
	f(strings.Replace(account, "sv=2021-12-02", "sv=2014-02-14", 1)+sig, false)
	f(strings.Replace(account, "sv=2021-12-02&", "", 1)+sig, false)
	f(strings.Replace(service, "sv=2021-12-02&", "", 1)+sig, true) // the oldest have none
	f(strings.Replace(account, "ss=b", "ss=x", 1)+sig, false)
	f(strings.Replace(account, "ss=b", "ss=", 1)+sig, false)
	f(strings.Replace(account, "srt=sco", "srt=scob", 1)+sig, false)
	f(account+"&si=x"+sig, false)
	f(account+"&sr=b"+sig, false)
	f(account+"&skoid=x"+sig, false)
	f("sv=2021-12-02&sp=r&se=2030-01-01"+sig, false)
	f(service+"&ss=b"+sig, false)
	for sr, ok := range map[string]bool{"c": true, "bs": true, "bv": true, "d": false, "f": false, "B": false, "bb": false} {
		f(strings.Replace(service, "sr=b", "sr="+sr, 1)+sig, ok)
	}
	f("sv=2018-03-28&sr=bs&sp=r&se=2030-01-01"+sig, false)
	f("sv=2019-07-07&sr=bv&sp=r&se=2030-01-01"+sig, false)
	f(service+"&sdd=1"+sig, false)
	f("sv=2021-12-02&sr=b&si=x"+sig, true)
	f(user+"&si=x"+sig, false)
	f(user+"&sduoid=x"+sig, true) // of a version that does not sign it, which Verify says
	f(user+"&suoid=x"+sig, false)
	f(strings.Replace(user, "sv=2021-12-02", "sv=2018-03-28", 1)+sig, false)
	f(strings.Replace(user, "sks=b", "sks=q", 1)+sig, false)
	f(strings.Replace(user, "ske=2030-01-02", "ske=2030-01-09", 1)+sig, false)
	f(strings.Replace(user, "skv=2021-12-02", "skv=x", 1)+sig, false)
}

// TestUnsigned: what the version of a token does not sign must not be there.
func TestUnsigned(t *testing.T) {
	f := func(raw, extra string) {
		t.Helper()
		signed := signFor(t, raw, disk, testKey)
		if _, err := verify(t, signed, disk, testKey); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
		if _, err := verify(t, signed+extra, disk, testKey); !errors.Is(err, azerr.AuthenticationFailed) {
			t.Errorf("%s with %s: got %v", raw, extra, err)
		}
	}
	const old = "sp=r&se=2030-01-01&sr=b&sv="
	f(old+"2012-02-12", "&rscd=x")
	f(old+"2014-02-14", "&sip=1.2.3.4")
	f(old+"2014-02-14", "&spr=https")
	f(old+"2020-10-02", "&ses=x")
	f(old+"2021-12-02", "&srh=x-ms-meta-a")
	f(old+"2021-12-02", "&saoid=x")
	f("sp=r&se=2030-01-01&ss=b&srt=o&sv=2021-12-02", "&rscd=x")
}

// TestTampered changes, adds and takes away every parameter of tokens of each kind.
func TestTampered(t *testing.T) {
	user := "sv=2026-04-06&sr=b&sp=r&st=2020-01-01&se=2030-01-01&sip=1.2.3.4&spr=https&rscd=x&skoid=O&sktid=T&skt=2030-01-01&ske=2030-01-02&sks=b&skv=2021-12-02&srq=comp&comp=page"
	fields := KeyFields{ObjectID: "O", TenantID: "T", Start: "2030-01-01", Expiry: "2030-01-02", Service: "b", Version: "2021-12-02"}
	for raw, key := range map[string][]byte{
		"sv=2021-12-02&ss=b&srt=o&sp=r&st=2020-01-01&se=2030-01-01&sip=1.2.3.4&spr=https":              testKey,
		"sv=2021-12-02&sr=b&sp=r&st=2020-01-01&se=2030-01-01&sip=1.2.3.4&spr=https&si=x&rscd=x":        testKey,
		"sv=2021-12-02&sr=bs&snapshot=S&sp=r&st=2020-01-01&se=2030-01-01&sip=1.2.3.4&spr=https&rscd=x": testKey,
		"sv=2015-04-05&sr=c&sp=r&st=2020-01-01&se=2030-01-01&sip=1.2.3.4&spr=https&si=x&rscd=x":        testKey,
		"sp=r&st=2020-01-01&se=2030-01-01&si=x&sr=b":                                                   testKey,
		user: DelegationKey(testKey, &fields),
	} {
		signed := signFor(t, raw, disk, key)
		check := func(raw string, ok bool) {
			t.Helper()
			token, err := Parse(parseQuery(t, raw))
			if err == nil {
				keys := [][]byte{[]byte("another"), testKey}
				if token.Kind == Delegation {
					keys = token.DelegationKeys(keys)
				}
				_, err = verify(t, raw, disk, keys...)
			}
			if ok && err != nil || !ok && !errors.Is(err, azerr.AuthenticationFailed) {
				t.Errorf("%s: got %v, want it genuine: %v", raw, err, ok)
			}
		}
		check(signed, true)
		for p := range strings.SplitSeq(signed, "&") {
			name, value, _ := strings.Cut(p, "=")
			if name == "sr" && !strings.Contains(raw, "2021") && !strings.Contains(raw, "2026") {
				continue // old versions do not sign it, but the path it is for
			}
			check(strings.Replace(signed, p, "", 1), false)
			for _, other := range []string{"", value + "x", "2031-01-01", "rw", "o", "c", "sco", "2.3.4.5", "https,http"} {
				if other != value {
					check(strings.Replace(signed, p, name+"="+other, 1), false)
				}
			}
		}
		for _, r := range []Resource{{Account: "other", Container: "disks", Blob: disk.Blob}, {Account: testAccount, Container: "disk", Blob: disk.Blob}} {
			if _, err := verify(t, signed, r, key); !errors.Is(err, azerr.AuthenticationFailed) && (r.Account == "other" || !strings.Contains(raw, "ss=")) {
				t.Errorf("%s is good for %+v: %v", raw, r, err)
			}
		}
		if _, err := verify(t, signed, disk, []byte("another")); !errors.Is(err, azerr.AuthenticationFailed) {
			t.Errorf("%s is good under another key: %v", raw, err)
		}
	}
}

// TestTarget: a token for one kind of resource is for no other.
func TestTarget(t *testing.T) {
	f := func(raw string, signedFor, usedFor Resource, ok bool) {
		t.Helper()
		_, err := verify(t, signFor(t, raw, signedFor, testKey), usedFor, testKey)
		if ok && err != nil || !ok && !errors.Is(err, azerr.AuthenticationFailed) {
			t.Errorf("%s for %+v on %+v: got %v, want it to be for it: %v", raw, signedFor, usedFor, err, ok)
		}
	}
	all, cont, other := Resource{Account: testAccount}, Resource{Account: testAccount, Container: "disks"}, disk
	other.Blob = "vm 2.vhd"
	for _, v := range []string{"", "&sv=2012-02-12", "&sv=2018-03-28", "&sv=2021-12-02"} {
		f("sp=r&se=2030-01-01&sr=b"+v, disk, disk, true)
		f("sp=r&se=2030-01-01&sr=b"+v, disk, other, false)
		f("sp=r&se=2030-01-01&sr=b"+v, disk, cont, false)
		f("sp=r&se=2030-01-01&sr=b"+v, disk, all, false)
		f("sp=r&se=2030-01-01&sr=c"+v, cont, cont, true)
		f("sp=r&se=2030-01-01&sr=c"+v, cont, disk, true)
		f("sp=r&se=2030-01-01&sr=c"+v, cont, all, false)
	}
	// A name that goes on as the text does must not pass for another.
	q := "sp=r&se=2030-01-01&sr=b&sv=2021-12-02&sig=" + noSignature
	if _, err := verify(t, q, Resource{Account: testAccount, Container: "disks", Blob: "a\nb"}, testKey); !errors.Is(err, azerr.AuthenticationFailed) {
		t.Errorf("a name with a line feed: %v", err)
	}
	f("sp=r&se=2030-01-01&ss=b&srt=o&sv=2021-12-02", all, disk, true)
}

func TestCheck(t *testing.T) {
	now := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	home := netip.MustParseAddr("10.0.0.5")
	f := func(want error, more string, from netip.Addr, tls bool) {
		t.Helper()
		token, err := Parse(parseQuery(t, "sv=2021-12-02&sr=b&sp=r&sig="+noSignature+more))
		if err == nil {
			err = token.Check(now, from, tls)
		}
		if !errors.Is(err, want) {
			t.Errorf("%s from %v: got %v, want %v", more, from, err, want)
		}
	}
	f(nil, "&se=2026-05-06T07:08:10Z", home, false)
	f(nil, "&se=2026-05-06T07:09Z", home, false)
	f(nil, "&se=2026-05-07", home, false)
	f(nil, "&se=2026-05-06T07:08:09.0000001Z", home, false)
	f(azerr.AuthenticationFailed, "&se=2026-05-06T07:08:09Z", home, false)
	f(azerr.AuthenticationFailed, "&se=2026-05-06", home, false)
	f(azerr.AuthenticationFailed, "&se=2026-05-07&st=2026-05-06T07:08:10Z", home, false)
	f(nil, "&se=2026-05-07&st=2026-05-06T07:08:09Z", home, false)
	f(azerr.AuthenticationFailed, "&se=2020-05-07&st=2026-05-06", home, false)

	const se = "&se=2026-05-07"
	f(nil, se+"&sip=10.0.0.5", home, false)
	f(nil, se+"&sip=10.0.0.5", netip.MustParseAddr("::ffff:10.0.0.5"), false)
	f(nil, se+"&sip=10.0.0.1-10.0.0.5", home, false)
	f(nil, se+"&sip=10.0.0.5-10.0.0.9", home, false)
	f(azerr.AuthorizationSourceIPMismatch, se+"&sip=10.0.0.6", home, false)
	f(azerr.AuthorizationSourceIPMismatch, se+"&sip=10.0.0.6-10.0.0.9", home, false)
	f(azerr.AuthorizationSourceIPMismatch, se+"&sip=10.0.0.1-10.0.0.4", home, false)
	f(azerr.AuthorizationSourceIPMismatch, se+"&sip=::-ffff::", home, false)
	f(azerr.AuthorizationSourceIPMismatch, se+"&sip=10.0.0.5", netip.Addr{}, false)
	f(azerr.AuthorizationProtocolMismatch, se+"&spr=https", home, false)
	f(nil, se+"&spr=https", home, true)
	f(nil, se+"&spr=https,http", home, false)

	const key = se + "&skoid=O&sktid=T&sks=b&skv=2021-12-02"
	f(nil, key+"&skt=2026-05-06&ske=2026-05-07", home, false)
	f(azerr.AuthenticationFailed, key+"&skt=2026-05-05&ske=2026-05-06", home, false)
	f(azerr.AuthenticationFailed, key+"&skt=2026-05-07&ske=2026-05-08", home, false)
}

func TestApply(t *testing.T) {
	f := func(more string, p Policy, want error) {
		t.Helper()
		token, err := Parse(parseQuery(t, "sv=2021-12-02&sr=b&si=x&sig="+noSignature+more))
		if err == nil {
			err = token.Apply(&p)
		}
		if !errors.Is(err, want) {
			t.Errorf("%s with %+v: got %v, want %v", more, p, err, want)
		}
	}
	const start, end = "2026-01-01T00:00:00.0000000Z", "2030-01-01T00:00:00.0000000Z"
	f("", Policy{ID: "x", Start: start, Expiry: end, Permissions: "r"}, nil)
	f("&sp=r", Policy{ID: "x", Expiry: end}, nil)
	f("&se=2030-01-01", Policy{ID: "x", Permissions: "r"}, nil)
	f("&st=2020-01-01", Policy{ID: "x", Expiry: end, Permissions: "r"}, nil)
	f("&se=2030-01-01&sp=r", Policy{ID: "x"}, nil)
	f("&sp=r", Policy{ID: "x", Expiry: end, Permissions: "r"}, azerr.InvalidQueryParameterValue)
	f("&se=2029-01-01", Policy{ID: "x", Expiry: end, Permissions: "r"}, azerr.InvalidQueryParameterValue)
	f("&st=2029-01-01", Policy{ID: "x", Start: start, Expiry: end, Permissions: "r"}, azerr.InvalidQueryParameterValue)
	f("", Policy{ID: "x", Expiry: end}, azerr.AuthenticationFailed)
	f("", Policy{ID: "x", Permissions: "r"}, azerr.AuthenticationFailed)
	f("", Policy{ID: "x"}, azerr.AuthenticationFailed)
}

func TestParseTime(t *testing.T) {
	f := func(s string, want string) {
		t.Helper()
		got, ok := ParseTime(s)
		if ok != (want != "") || ok && got.Format(time.RFC3339Nano) != want {
			t.Errorf("%q: got %v, %v, want %q", s, got, ok, want)
		}
	}
	f("2026-01-02", "2026-01-02T00:00:00Z")
	f("2026-01-02T03:04Z", "2026-01-02T03:04:00Z")
	f("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z")
	f("2026-01-02T03:04:05.1Z", "2026-01-02T03:04:05.1Z")
	f("2026-01-02T03:04:05.1234567Z", "2026-01-02T03:04:05.1234567Z")
	for _, s := range []string{"", "2026", "2026-1-2", "2026-01-02T03:04", "2026-01-02T03:04:05", "2026-01-02 03:04:05Z", "2026-01-02T03:04:05,1Z",
		"2026-01-02T03:04:05.12345678Z", "2026-01-02T03:04:05+00:00", "2026-02-30", "2026-01-02T25:00Z", "2026-01-02T03:04:05z", " 2026-01-02"} {
		f(s, "")
	}
}

func TestRedact(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := Redact(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	f("", "")
	f("https://a/b?sv=1&sr=b", "https://a/b?sv=1&sr=b")
	f("https://a/b?sv=1&sig=abc%2Bd%3D&sr=b", "https://a/b?sv=1&sig=...&sr=b")
	f("Get \"https://a/b?SIG=abc/d=\": no", "Get \"https://a/b?SIG=...\": no")
	f("?sig=a&x&sig=b", "?sig=...&x&sig=...")
	f("u=https%3A%2F%2Fa%3Fsig%3Dabc%252B%26sr%3Db", "u=https%3A%2F%2Fa%3Fsig%3D...%26sr%3Db")
	f("sig=", "sig=...")
}
