package op

import (
	"errors"
	"strings"
	"testing"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
)

func TestCheckSupported(t *testing.T) {
	f := func(want azerr.Code, part string, level Level, line string, headers ...string) {
		t.Helper()
		method, q, h := request(t, line, headers...)
		r, err := Match(level, method, q, h)
		if err != nil {
			t.Errorf("%s %q: %v", line, headers, err)
			return
		}
		err = CheckSupported(r, h, q)
		if want == 0 && err != nil || want != 0 && (!errors.Is(err, want) || !strings.Contains(err.Error(), part)) {
			t.Errorf("%s %q: got %v, want %v %s", line, headers, err, want, part)
		}
	}
	const pageBlob, pageWrite = "x-ms-blob-type: PageBlob", "x-ms-page-write: update"
	// What clients send and we do.
	f(0, "", Blob, "PUT", pageBlob, "If-None-Match: *", "x-ms-meta-a: b", "x-ms-lease-id: x", "x-ms-unknown: 1", "x-ms-client-request-id: x")
	f(0, "", Blob, "PUT ?comp=page&timeout=30&sig=x", pageWrite, "If-Match: x", "x-ms-if-sequence-number-le: 1")
	f(0, "", Blob, "GET ?snapshot=s", "If-Modified-Since: x", "x-ms-range-get-content-md5: true")
	f(0, "", Container, "DELETE ?restype=container", "If-Unmodified-Since: x")
	f(0, "", Container, "GET ?restype=container&comp=list&include=snapshots&snapshot=s")
	// Refused operations say which they are.
	f(azerr.APINotImplemented, "Operation=Query Blob Contents", Blob, "POST ?comp=query")
	f(0, "", Service, "GET ?restype=service&comp=stats")
	f(0, "", Blob, "OPTIONS")
	// Conditions an operation does not take.
	f(azerr.ConditionHeadersNotSupported, "HeaderName=If-Match", Container, "DELETE ?restype=container", "If-Match: x")
	f(azerr.ConditionHeadersNotSupported, "HeaderName=If-Unmodified-Since", Container, "PUT ?restype=container&comp=metadata", "If-Unmodified-Since: x")
	f(azerr.ConditionHeadersNotSupported, "HeaderName=If-None-Match", Service, "GET ?comp=list", "If-None-Match: x")
	f(azerr.ConditionHeadersNotSupported, "HeaderName=x-ms-if-sequence-number-eq", Blob, "PUT ?comp=metadata", "x-ms-if-sequence-number-eq: 1")
	// Protection, of blobs that are made and nowhere else by the way.
	f(0, "", Blob, "PUT", pageBlob, "x-ms-immutability-policy-until-date: x", "x-ms-immutability-policy-mode: x", "x-ms-legal-hold: true")
	f(azerr.UnsupportedHeader, "HeaderName=x-ms-legal-hold HeaderValue=true", Blob, "PUT ?comp=page", pageWrite, "x-ms-legal-hold: true")
	f(azerr.UnsupportedHeader, "HeaderName=x-ms-legal-hold", Blob, "PUT ?comp=immutabilityPolicies", "x-ms-legal-hold: true")
	f(azerr.UnsupportedHeader, "HeaderName=x-ms-immutability-policy-mode", Blob, "PUT ?comp=legalhold", "x-ms-immutability-policy-mode: locked")
	f(0, "", Blob, "PUT ?comp=legalhold&snapshot=s", "x-ms-legal-hold: true")
	// Who may read.
	f(0, "", Container, "PUT ?restype=container", "x-ms-blob-public-access: blob")
	f(0, "", Container, "PUT ?restype=container&comp=acl", "x-ms-blob-public-access: blob")
	f(azerr.UnsupportedHeader, "HeaderValue=blob", Container, "PUT ?restype=container&comp=metadata", "x-ms-blob-public-access: blob")
	// What asks for what we do anyway.
	f(0, "", Container, "PUT ?restype=container", "x-ms-default-encryption-scope: $account-encryption-key", "x-ms-deny-encryption-scope-override: False")
	f(azerr.UnsupportedHeader, "HeaderName=x-ms-default-encryption-scope HeaderValue=mine", Container, "PUT ?restype=container", "x-ms-default-encryption-scope: mine")
	// Parameters.
	f(0, "", Blob, "GET ?VersionId=v")
	for _, line := range []string{"GET ?comp=pagelist&versionid=v", "DELETE ?versionid=v", "PUT ?comp=tags&versionid=v", "PUT ?comp=tier&versionid=v",
		"PUT ?comp=legalhold&versionid=v", "HEAD ?versionid=v", "GET ?comp=metadata&versionid=v"} {
		f(0, "", Blob, line)
	}
	for _, line := range []string{"PUT ?comp=metadata&versionid=v", "PUT ?comp=lease&versionid=v", "PUT ?comp=snapshot&versionid=v", "PUT ?comp=undelete&versionid=v"} {
		f(azerr.UnsupportedQueryParameter, "QueryParameterName=versionid QueryParameterValue=v", Blob, line)
	}
	f(azerr.UnsupportedQueryParameter, "QueryParameterName=versionid", Blob, "PUT ?comp=page&versionid=v", pageWrite)
	f(azerr.UnsupportedQueryParameter, "QueryParameterName=versionid", Container, "GET ?restype=container&comp=list&versionid=v")
	f(0, "", Blob, "DELETE ?deletetype=permanent")
	f(azerr.UnsupportedQueryParameter, "QueryParameterName=deletetype", Blob, "GET ?deletetype=permanent")
	f(0, "", Container, "GET ?restype=container&comp=list&startFrom=b")
	// Snapshots are not written to.
	for _, line := range []string{"PUT ?comp=metadata&snapshot=s", "PUT ?comp=lease&snapshot=s", "PUT ?comp=snapshot&snapshot=s", "PUT ?comp=properties&snapshot=s"} {
		f(azerr.InvalidQueryParameterValue, "QueryParameterName=snapshot QueryParameterValue=s", Blob, line)
	}
	f(azerr.InvalidQueryParameterValue, "QueryParameterName=snapshot", Blob, "PUT ?comp=page&snapshot=s", pageWrite)
	f(azerr.InvalidQueryParameterValue, "QueryParameterName=snapshot", Blob, "PUT ?snapshot=s", pageBlob)
}

// TestRefusals sends each header and parameter of the list with each operation that is done.
func TestRefusals(t *testing.T) {
	twice := map[string]bool{}
	for i := range Refusals {
		f := &Refusals[i]
		key := f.Header.String() + f.Query
		if (f.Header == 0) == (f.Query == "") || f.Code == 0 || f.Note == "" || twice[key] || f.Query != strings.ToLower(f.Query) {
			t.Errorf("%+v is not full, or there twice", f)
		}
		twice[key] = true
		line, headers := "GET", []string{f.Header.String() + ": some value"}
		if f.Query != "" {
			line, headers = "GET ?"+f.Query+"=some+value", nil
		}
		_, q, h := request(t, line, headers...)
		for i := range Table {
			r := &Table[i]
			if r.State == Refused {
				continue
			}
			err := CheckSupported(r, h, q)
			if f.applies(r.ID) != errors.Is(err, f.Code) || !f.applies(r.ID) && err != nil {
				t.Errorf("%s with %s%s: %v", r.Name, f.Header, f.Query, err)
			}
		}
		if f.Except != "" {
			_, q, h := request(t, "GET", f.Header.String()+": "+strings.ToUpper(f.Except))
			if err := CheckSupported(row(anyRow(f)), h, q); err != nil {
				t.Errorf("%s: %s: %v", f.Header, f.Except, err)
			}
		}
	}
}

// anyRow returns an operation the refusal is meant for.
func anyRow(f *Refusal) ID {
	if f.Rows == nil {
		return PutPageBlob
	}
	return f.Rows[0]
}

// TestRefusalsAreWhole lists the headers that change what is stored or who may read it, and that Put Blob must not
// ignore.
func TestRefusalsAreWhole(t *testing.T) {
	for _, id := range []header.ID{header.XMsEncryptionKey, header.XMsEncryptionKeySHA256,
		header.XMsEncryptionAlgorithm, header.XMsEncryptionScope, header.XMsStructuredBody, header.XMsBlobPublicAccess,
		header.XMsExpiryOption, header.XMsExpiryTime} {
		_, q, h := request(t, "PUT", id.String()+": x")
		if err := CheckSupported(row(PutPageBlob), h, q); err == nil {
			t.Errorf("%v is ignored", id)
		}
	}
}

// TestKeysAreNotRepeated sends a key.
func TestKeysAreNotRepeated(t *testing.T) {
	_, q, h := request(t, "PUT", "x-ms-encryption-key: c2VjcmV0")
	if err := CheckSupported(row(PutPageBlob), h, q); err == nil || strings.Contains(err.Error(), "c2VjcmV0") {
		t.Errorf("got %v", err)
	}
}
