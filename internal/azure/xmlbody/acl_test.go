package xmlbody

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/sas"
)

// allPolicies is a body with what policies can have.
var allPolicies = []sas.Policy{
	{ID: "all & <sundry>", Start: "2026-01-01T00:00:00.0000000Z", Expiry: "2030-01-01T12:30:15.1234567Z", Permissions: "racwdl"},
	{ID: "expiry only", Expiry: "2030-01-01T00:00:00.0000000Z"},
	{ID: "bare"},
}

func TestSignedIdentifiersGolden(t *testing.T) {
	golden(t, "acl", AppendSignedIdentifiers(nil, allPolicies))
	golden(t, "acl-empty", AppendSignedIdentifiers(nil, nil))
}

func TestParseSignedIdentifiers(t *testing.T) {
	f := func(body string, want error, policies ...sas.Policy) {
		t.Helper()
		got, err := ParseSignedIdentifiers([]byte(body))
		if !errors.Is(err, want) || !reflect.DeepEqual(got, policies) {
			t.Errorf("%.300s: got %+v, %v, want %+v, %v", body, got, err, policies, want)
		}
	}
	list := func(inner string) string { return "<SignedIdentifiers>" + inner + "</SignedIdentifiers>" }
	one := func(id, policy string) string {
		return "<SignedIdentifier><Id>" + id + "</Id><AccessPolicy>" + policy + "</AccessPolicy></SignedIdentifier>"
	}
	f("", nil)
	f("<SignedIdentifiers/>", nil)
	f("\xef\xbb\xbf<?xml version=\"1.0\"?>\n<SignedIdentifiers> </SignedIdentifiers>\n", nil)
	f(list("<SignedIdentifier><Id>a</Id></SignedIdentifier>"), nil, sas.Policy{ID: "a"})
	f(list(one("a", "")+one("b", "<Permission/><Start></Start>")), nil, sas.Policy{ID: "a"}, sas.Policy{ID: "b"})
	for given, kept := range map[string]string{
		"2030-01-02":                   "2030-01-02T00:00:00.0000000Z",
		"2030-01-02T03:04Z":            "2030-01-02T03:04:00.0000000Z",
		"2030-01-02T03:04:05Z":         "2030-01-02T03:04:05.0000000Z",
		"2030-01-02T03:04:05.1234567Z": "2030-01-02T03:04:05.1234567Z",
	} {
		f(list(one("a", "<Expiry>"+given+"</Expiry>")), nil, sas.Policy{ID: "a", Expiry: kept})
	}
	for _, bad := range []string{"2030", "2030-01-02T03:04:05.1Z", "2030-01-02T03:04:05.123456Z", "2030-01-02T03:04:05+01:00", "2030-02-30", "soon"} {
		f(list(one("a", "<Start>"+bad+"</Start>")), azerr.InvalidXmlDocument)
		f(list(one("a", "<Expiry>"+bad+"</Expiry>")), azerr.InvalidXmlDocument)
	}
	var five string
	var fivePolicies []sas.Policy
	for i := range 5 {
		five += one(fmt.Sprint(i), "<Permission>r</Permission>")
		fivePolicies = append(fivePolicies, sas.Policy{ID: fmt.Sprint(i), Permissions: "r"})
	}
	f(list(five), nil, fivePolicies...)
	f(list(five+one("6", "")), azerr.InvalidXmlDocument)
	f(list(one(strings.Repeat("ä", 64), "")), nil, sas.Policy{ID: strings.Repeat("ä", 64)})
	f(list(one(strings.Repeat("a", 65), "")), azerr.InvalidXmlDocument)
	f(list(one("", "")), azerr.InvalidXmlDocument)
	f(list("<SignedIdentifier><AccessPolicy/></SignedIdentifier>"), azerr.InvalidXmlDocument)
	f(list(one("a", "")+one("a", "")), azerr.InvalidXmlDocument)
	f(list(one("a&#10;b", "")), azerr.InvalidXmlDocument)
	f(list(one("a", "<Permission>rz</Permission>")), azerr.InvalidXmlNodeValue)
	f(list(one("a", "<Permission>"+strings.Repeat("r", 100)+"</Permission>")), azerr.InvalidXmlNodeValue)
	f(list(one("a", "<Permission>r</Permission><Permission>w</Permission>")), azerr.InvalidXmlDocument)
	f(list(one("a", "<Public/>")), azerr.UnsupportedXmlNode)
	f(list("<Other/>"), azerr.UnsupportedXmlNode)
	f("<Other/>", azerr.InvalidXmlDocument)
	f("<SignedIdentifiers>", azerr.InvalidXmlDocument)
	f("nonsense", azerr.InvalidXmlDocument)
	f("<!DOCTYPE a []>"+list(""), azerr.InvalidXmlDocument)
	f(list(strings.Repeat(" ", maxBody)), azerr.RequestBodyTooLarge)
}

// FuzzSignedIdentifiers: any body is refused with an error of the protocol, or read as policies within the limits, which
// are the same after they were written and read again.
func FuzzSignedIdentifiers(f *testing.F) {
	f.Add(AppendSignedIdentifiers(nil, allPolicies))
	f.Add([]byte("<SignedIdentifiers><SignedIdentifier><Id>a</Id><AccessPolicy><Start>2026-01-01</Start></AccessPolicy></SignedIdentifier></SignedIdentifiers>"))
	f.Fuzz(func(t *testing.T, body []byte) {
		policies, err := ParseSignedIdentifiers(body)
		if err != nil {
			if c := azerr.From(err).Code; c == azerr.InternalError || c.Status() < 400 || c.Status() > 413 {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		if len(policies) > maxPolicies {
			t.Fatalf("%d policies", len(policies))
		}
		again, err := ParseSignedIdentifiers(AppendSignedIdentifiers(nil, policies))
		if err != nil || !reflect.DeepEqual(again, policies) {
			t.Fatalf("%q: %+v, then %+v, %v", body, policies, again, err)
		}
	})
}
