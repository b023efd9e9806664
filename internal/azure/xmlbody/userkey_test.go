package xmlbody

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/sas"
)

func TestUserDelegationKey(t *testing.T) {
	f := sas.KeyFields{ObjectID: "oid & co", TenantID: "tid", Start: "2026-11-30T12:00:00Z", Expiry: "2026-12-01T12:00:00Z", Service: "b", Version: "2026-12-06"}
	golden(t, "userkey", AppendUserDelegationKey(nil, &f, []byte("0123456789abcdef0123456789abcdef")))
	f.DelegatedTenantID = "other"
	golden(t, "userkey-delegated", AppendUserDelegationKey(nil, &f, []byte("0123456789abcdef0123456789abcdef")))
}

func TestParseKeyInfo(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 5, time.UTC)
	f := func(inside string, want KeyInfo, code error) {
		t.Helper()
		got, err := ParseKeyInfo([]byte("<KeyInfo>"+inside+"</KeyInfo>"), now)
		if got != want || !errors.Is(err, code) {
			t.Errorf("%s: got %+v, %v, want %+v, %v", inside, got, err, want, code)
		}
	}
	start, end := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC), time.Date(2026, 12, 2, 0, 0, 0, 0, time.UTC)
	f("<Expiry>2026-12-02</Expiry>", KeyInfo{Start: start, Expiry: end}, nil)
	f("<Start/><Expiry> 2026-12-02T00:00Z </Expiry>", KeyInfo{Start: start, Expiry: end}, nil)
	f("<Start>2026-11-30T12:00:00.9999999Z</Start><Expiry>2026-12-02T00:00:00.1Z</Expiry><DelegatedUserTid>t</DelegatedUserTid>",
		KeyInfo{Start: start, Expiry: end, DelegatedTenantID: "t"}, nil)
	f("<Start>2026-11-30</Start>", KeyInfo{}, azerr.MissingRequiredXmlNode)
	f("<Expiry/>", KeyInfo{}, azerr.InvalidXmlNodeValue)
	f("<Expiry>2026-12-02T00:00:00+01:00</Expiry>", KeyInfo{}, azerr.InvalidXmlNodeValue)
	f("<Start>now</Start><Expiry>2026-12-02</Expiry>", KeyInfo{}, azerr.InvalidXmlNodeValue)
	f("<Expiry>2026-12-02</Expiry><Expiry>2026-12-03</Expiry>", KeyInfo{}, azerr.InvalidXmlDocument)
	f("<Expiry>2026-12-02</Expiry><DelegatedUserTid>"+strings.Repeat("t", 65)+"</DelegatedUserTid>", KeyInfo{}, azerr.InvalidXmlNodeValue)
	f("<Expiry>2026-12-02</Expiry><DelegatedUserTid>a\x7f</DelegatedUserTid>", KeyInfo{}, azerr.InvalidXmlNodeValue)
	f("<Expiry>2026-12-02</Expiry><Else>1</Else>", KeyInfo{}, azerr.UnsupportedXmlNode)
}

// FuzzKeyInfo: what is read has an end, in whole seconds, and every error is one that clients know.
func FuzzKeyInfo(f *testing.F) {
	f.Add([]byte("<KeyInfo><Start>2026-11-30T12:00:00Z</Start><Expiry>2026-12-02</Expiry></KeyInfo>"))
	f.Add([]byte("<KeyInfo><Expiry>2026-12-02</Expiry><DelegatedUserTid>t</DelegatedUserTid></KeyInfo>"))
	f.Add([]byte("<KeyInfo/>"))
	f.Fuzz(func(t *testing.T, body []byte) {
		info, err := ParseKeyInfo(body, time.Unix(0, 0))
		if err != nil {
			if azerr.From(err).Code == azerr.InternalError {
				t.Errorf("%q: %v", body, err)
			}
			return
		}
		for _, at := range []time.Time{info.Start, info.Expiry} {
			if again, ok := sas.ParseTime(sas.FormatTime(at)); !ok || !again.Equal(at) {
				t.Errorf("%q: %v", body, at)
			}
		}
		if strings.ContainsAny(info.DelegatedTenantID, "\x00\n ") {
			t.Errorf("%q: tenant %q", body, info.DelegatedTenantID)
		}
	})
}
