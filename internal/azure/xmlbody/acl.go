package xmlbody

import (
	"strings"
	"unicode/utf16"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/sas"
	"pagevault/internal/azure/xmltext"
)

const (
	maxPolicies   = 5  // the service's limit on stored access policies of a container
	maxPolicyID   = 64 // the service's limit on the name of one, in characters
	policyLetters = "racwdxyltfmeopi"

	policyTime = "2006-01-02T15:04:05.0000000Z" // how the service writes times of policies
)

// AppendSignedIdentifiers appends the body of Get Container ACL.
func AppendSignedIdentifiers(dst []byte, policies []sas.Policy) []byte {
	dst = append(dst, prolog...)
	if len(policies) == 0 {
		return append(dst, "<SignedIdentifiers />"...)
	}
	dst = append(dst, "<SignedIdentifiers>"...)
	for i := range policies {
		p := &policies[i]
		dst = append(dst, "<SignedIdentifier>"...)
		dst = xmltext.AppendElement(dst, "Id", p.ID)
		dst = append(dst, "<AccessPolicy>"...)
		for _, e := range [...]struct{ name, value string }{{"Start", p.Start}, {"Expiry", p.Expiry}, {"Permission", p.Permissions}} {
			if e.value != "" {
				dst = xmltext.AppendElement(dst, e.name, e.value)
			}
		}
		dst = append(dst, "</AccessPolicy></SignedIdentifier>"...)
	}
	return append(dst, "</SignedIdentifiers>"...)
}

// ParseSignedIdentifiers reads the body of Set Container ACL; without one there are no policies. Times come back as the
// service writes them. Errors are InvalidXmlDocument, also for more than five policies, names that are no names or are
// given twice, and times that the service does not take; InvalidXmlNodeValue for letters that are no permissions;
// UnsupportedXmlNode; and RequestBodyTooLarge.
func ParseSignedIdentifiers(body []byte) ([]sas.Policy, error) {
	if len(body) == 0 {
		return nil, nil
	}
	root, err := parseTree(body, "SignedIdentifiers")
	if err != nil {
		return nil, err
	}
	f := fieldsOf(root)
	f.used["SignedIdentifier"] = true
	var policies []sas.Policy
	ids := map[string]bool{}
	for _, k := range root.kids {
		if k.name != "SignedIdentifier" {
			continue
		}
		if len(policies) == maxPolicies {
			f.fail(azerr.InvalidXmlDocument.With("XmlNodeName", k.name, "Reason", "at most five policies"))
			break
		}
		sub := fieldsOf(k)
		p := sub.policy()
		if ids[p.ID] {
			sub.fail(azerr.InvalidXmlDocument.With("XmlNodeName", "Id", "Reason", "given twice"))
		}
		ids[p.ID] = true
		if err := sub.done(); err != nil {
			f.fail(err)
		}
		policies = append(policies, p)
	}
	if err := f.done(); err != nil {
		return nil, err
	}
	return policies, nil
}

// policy reads a SignedIdentifier.
func (f *fields) policy() (p sas.Policy) {
	p.ID, _ = f.leaf("Id")
	if p.ID == "" || utf16Length(p.ID) > maxPolicyID || strings.IndexFunc(p.ID, func(c rune) bool { return c < 0x20 || c == 0x7f }) >= 0 {
		f.fail(badNode(azerr.InvalidXmlDocument, "Id", p.ID))
	}
	n := f.get("AccessPolicy")
	if n == nil {
		return p
	}
	sub := fieldsOf(n)
	p.Start, p.Expiry = sub.policyTime("Start"), sub.policyTime("Expiry")
	p.Permissions, _ = sub.leaf("Permission")
	if strings.Trim(p.Permissions, policyLetters) != "" || len(p.Permissions) > len(policyLetters) {
		sub.fail(badNode(azerr.InvalidXmlNodeValue, "Permission", p.Permissions))
	}
	if err := sub.done(); err != nil {
		f.fail(err)
	}
	return p
}

// utf16Length returns the length of s as the service counts characters.
func utf16Length(s string) int {
	n := 0
	for _, c := range s {
		n += max(utf16.RuneLen(c), 1)
	}
	return n
}

// policyTime reads a time that may be missing or empty. A fraction has seven digits, or there is none.
func (f *fields) policyTime(name string) string {
	text, _ := f.leaf(name)
	if text == "" {
		return ""
	}
	t, ok := sas.ParseTime(text)
	if n := len(text); !ok || n > len("2006-01-02T15:04:05Z") && n != len(policyTime) {
		f.fail(badNode(azerr.InvalidXmlDocument, name, text))
		return ""
	}
	return t.UTC().Format(policyTime)
}
