package xmlbody

import (
	"encoding/base64"
	"time"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/sas"
	"pagevault/internal/azure/xmltext"
)

// KeyInfo is the body of Get User Delegation Key: when the key is good, in whole seconds.
type KeyInfo struct {
	Start, Expiry     time.Time
	DelegatedTenantID string // of the user that tokens may be made out to; "" for none
}

// tenantMax bounds the id of a tenant, which is a GUID.
const tenantMax = 64

// ParseKeyInfo reads the body. A start that is missing is now. The errors are InvalidXmlDocument, MissingRequiredXmlNode,
// InvalidXmlNodeValue for times that are none, UnsupportedXmlNode, and RequestBodyTooLarge.
func ParseKeyInfo(body []byte, now time.Time) (KeyInfo, error) {
	root, err := parseTree(body, "KeyInfo")
	if err != nil {
		return KeyInfo{}, err
	}
	f := fieldsOf(root)
	info := KeyInfo{Start: now.UTC().Truncate(time.Second)}
	if text, _ := f.leaf("Start"); text != "" {
		info.Start = f.time("Start", text)
	}
	info.Expiry = f.time("Expiry", f.need("Expiry"))
	info.DelegatedTenantID, _ = f.leaf("DelegatedUserTid")
	for _, c := range []byte(info.DelegatedTenantID) {
		if c <= 0x20 || c >= 0x7f || len(info.DelegatedTenantID) > tenantMax {
			f.fail(badNode(azerr.InvalidXmlNodeValue, "DelegatedUserTid", info.DelegatedTenantID))
			break
		}
	}
	if err := f.done(); err != nil {
		return KeyInfo{}, err
	}
	return info, nil
}

// time reads the time that an element holds.
func (f *fields) time(name, text string) time.Time {
	t, ok := sas.ParseTime(text)
	if !ok {
		f.fail(badNode(azerr.InvalidXmlNodeValue, name, text))
	}
	return t.UTC().Truncate(time.Second)
}

// AppendUserDelegationKey appends the body of the answer: what the key is made of, and the key.
func AppendUserDelegationKey(dst []byte, f *sas.KeyFields, value []byte) []byte {
	dst = append(dst, prolog+"<UserDelegationKey>"...)
	for _, e := range [...]struct{ name, value string }{{"SignedOid", f.ObjectID}, {"SignedTid", f.TenantID}, {"SignedStart", f.Start},
		{"SignedExpiry", f.Expiry}, {"SignedService", f.Service}, {"SignedVersion", f.Version}} {
		dst = xmltext.AppendElement(dst, e.name, e.value)
	}
	if f.DelegatedTenantID != "" {
		dst = xmltext.AppendElement(dst, "SignedDelegatedUserTid", f.DelegatedTenantID)
	}
	dst = xmltext.AppendElement(dst, "Value", base64.StdEncoding.EncodeToString(value))
	return appendEnd(dst, "UserDelegationKey")
}
