package op

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/query"
)

// request is a request line "METHOD ?query" and headers.
func request(t testing.TB, line string, headers ...string) (method []byte, q *query.Set, h *header.Set) {
	t.Helper()
	verb, raw, _ := strings.Cut(line, " ?")
	q, h = new(query.Set), new(header.Set)
	if err := q.Parse([]byte(raw)); err != nil {
		t.Fatal(err)
	}
	for _, l := range headers {
		name, value, _ := strings.Cut(l, ":")
		if err := h.Add([]byte(name), []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	return []byte(verb), q, h
}

func TestTable(t *testing.T) {
	names, tests := map[string]bool{}, map[string]bool{}
	version := regexp.MustCompile(`^20\d\d-\d\d-\d\d$`)
	if len(Table) != int(idEnd)-1 {
		t.Fatalf("%d rows for %d operations", len(Table), idEnd-1)
	}
	for i := range Table {
		r := &Table[i]
		if r.ID != ID(i+1) {
			t.Errorf("row %d is %d, %s", i, r.ID, r.Name)
		}
		if r.Name == "" || names[r.Name] || r.Level == 0 || len(r.Methods) == 0 || !version.MatchString(r.Since) || r.Since < oldest {
			t.Errorf("the row of %q is not full", r.Name)
		}
		names[r.Name] = true
		if strings.ToLower(r.Comp) != r.Comp || strings.ToLower(r.Restype) != r.Restype {
			t.Errorf("%s: comp and restype are matched in lower case", r.Name)
		}
		switch {
		case r.State == Done && (r.Refusal != 0 || len(r.Tests) == 0):
			t.Errorf("%s is done with a refusal, or without a test", r.Name)
		case r.State == Refused && (r.Refusal == 0 || len(r.Tests) != 0 || r.Refuse() == nil):
			t.Errorf("%s is refused without an error, or with a test", r.Name)
		}
		for _, name := range r.Tests {
			if tests[name] || !regexp.MustCompile(`^[A-Z][A-Za-z]+$`).MatchString(name) {
				t.Errorf("%s: test %q", r.Name, name)
			}
			tests[name] = true
		}
		if r.ID.String() != r.Name {
			t.Errorf("ID %d is called %s, not %s", r.ID, r.ID, r.Name)
		}
	}
	if ID(0).String() != "none" || idEnd.String() != "none" {
		t.Error("IDs that are none have a name")
	}
}

// TestMatch names every operation of the reference by a request.
func TestMatch(t *testing.T) {
	reached := map[ID]bool{}
	f := func(want ID, level Level, line string, headers ...string) {
		t.Helper()
		method, q, h := request(t, line, headers...)
		r, err := Match(level, method, q, h)
		if err != nil || r.ID != want {
			t.Errorf("%v %s %q: got %v, %v, want %v", level, line, headers, r, err, want)
			return
		}
		reached[want] = true
	}
	f(ListContainers, Service, "GET ?comp=list")
	f(ListContainers, Service, "GET ?COMP=List&prefix=a&sig=x")
	f(GetServiceProperties, Service, "GET ?restype=service&comp=properties")
	f(SetServiceProperties, Service, "PUT ?restype=service&comp=properties")
	f(GetServiceStats, Service, "GET ?restype=service&comp=stats")
	f(GetUserDelegationKey, Service, "POST ?restype=service&comp=userdelegationkey")
	f(ServiceBatch, Service, "POST ?comp=batch")
	f(FindBlobsByTags, Service, "GET ?comp=blobs&where=a")
	for _, l := range []Level{Service, Container, Blob} {
		f(GetAccountInformation, l, "GET ?restype=account&comp=properties")
		f(GetAccountInformation, l, "HEAD ?restype=account&comp=properties")
		f(CORSPreflight, l, "OPTIONS")
		f(CORSPreflight, l, "OPTIONS ?comp=anything&restype=anything")
	}

	f(CreateContainer, Container, "PUT ?restype=container")
	f(GetContainerProperties, Container, "GET ?restype=container")
	f(GetContainerProperties, Container, "HEAD ?restype=Container")
	f(GetContainerMetadata, Container, "GET ?restype=container&comp=metadata")
	f(GetContainerMetadata, Container, "HEAD ?restype=container&comp=metadata")
	f(SetContainerMetadata, Container, "PUT ?restype=container&comp=metadata")
	f(GetContainerACL, Container, "GET ?restype=container&comp=acl")
	f(GetContainerACL, Container, "HEAD ?restype=container&comp=acl")
	f(SetContainerACL, Container, "PUT ?restype=container&comp=acl")
	f(DeleteContainer, Container, "DELETE ?restype=container")
	f(LeaseContainer, Container, "PUT ?restype=container&comp=lease")
	f(RestoreContainer, Container, "PUT ?restype=container&comp=undelete")
	f(RenameContainer, Container, "PUT ?restype=container&comp=rename")
	f(ListBlobs, Container, "GET ?restype=container&comp=list&delimiter=/")
	f(FindBlobsByTagsInContainer, Container, "GET ?restype=container&comp=blobs")
	f(ContainerBatch, Container, "POST ?restype=container&comp=batch")

	f(PutPageBlob, Blob, "PUT", "x-ms-blob-type: PageBlob")
	f(PutPageBlob, Blob, "PUT ?comp=", "x-ms-blob-type: pageblob")
	f(PutBlockBlob, Blob, "PUT", "x-ms-blob-type: BlockBlob")
	f(PutAppendBlob, Blob, "PUT", "x-ms-blob-type: AppendBlob")
	f(PutBlobFromURL, Blob, "PUT", "x-ms-blob-type: BlockBlob", "x-ms-copy-source: u")
	f(CopyBlob, Blob, "PUT", "x-ms-copy-source: u")
	f(CopyBlob, Blob, "PUT", "x-ms-copy-source: u", "x-ms-requires-sync: false")
	f(CopyBlobFromURL, Blob, "PUT", "x-ms-copy-source: u", "x-ms-requires-sync: true")
	f(GetBlob, Blob, "GET")
	f(GetBlob, Blob, "GET ?snapshot=s&timeout=1&unknown=2")
	f(GetBlobProperties, Blob, "HEAD")
	f(DeleteBlob, Blob, "DELETE")
	f(SetBlobProperties, Blob, "PUT ?comp=properties")
	f(GetBlobMetadata, Blob, "GET ?comp=metadata")
	f(GetBlobMetadata, Blob, "HEAD ?comp=metadata")
	f(SetBlobMetadata, Blob, "PUT ?comp=metadata")
	f(LeaseBlob, Blob, "PUT ?comp=lease")
	f(SnapshotBlob, Blob, "PUT ?comp=snapshot")
	f(AbortCopyBlob, Blob, "PUT ?comp=copy&copyid=x")
	f(IncrementalCopyBlob, Blob, "PUT ?comp=incrementalcopy", "x-ms-copy-source: u")
	f(SetBlobTier, Blob, "PUT ?comp=tier")
	f(UndeleteBlob, Blob, "PUT ?comp=undelete")
	f(SetBlobExpiry, Blob, "PUT ?comp=expiry")
	f(GetBlobTags, Blob, "GET ?comp=tags")
	f(SetBlobTags, Blob, "PUT ?comp=tags")
	f(SetImmutabilityPolicy, Blob, "PUT ?comp=immutabilityPolicies")
	f(DeleteImmutabilityPolicy, Blob, "DELETE ?comp=immutabilityPolicies")
	f(SetLegalHold, Blob, "PUT ?comp=legalhold")

	f(PutPage, Blob, "PUT ?comp=page", "x-ms-page-write: update")
	f(PutPage, Blob, "PUT ?comp=page", "x-ms-page-write: Update", "x-ms-blob-type: BlockBlob")
	f(ClearPages, Blob, "PUT ?comp=page", "x-ms-page-write: CLEAR")
	f(PutPageFromURL, Blob, "PUT ?comp=page", "x-ms-page-write: update", "x-ms-copy-source: u")
	f(GetPageRanges, Blob, "GET ?comp=pagelist")
	f(GetPageRanges, Blob, "GET ?comp=pagelist&snapshot=s")
	f(GetPageRangesDiff, Blob, "GET ?comp=pagelist&prevsnapshot=s")
	f(GetPageRangesDiff, Blob, "GET ?comp=pagelist&PrevSnapshot=")
	f(GetPageRangesDiff, Blob, "GET ?comp=pagelist", "x-ms-previous-snapshot-url: u")

	f(PutBlock, Blob, "PUT ?comp=block&blockid=x")
	f(PutBlockFromURL, Blob, "PUT ?comp=block&blockid=x", "x-ms-copy-source: u")
	f(PutBlockList, Blob, "PUT ?comp=blocklist")
	f(GetBlockList, Blob, "GET ?comp=blocklist")
	f(AppendBlock, Blob, "PUT ?comp=appendblock")
	f(AppendBlockFromURL, Blob, "PUT ?comp=appendblock", "x-ms-copy-source: u")
	f(SealAppendBlob, Blob, "PUT ?comp=seal")
	f(QueryBlobContents, Blob, "POST ?comp=query")

	for i := range Table {
		if !reached[Table[i].ID] {
			t.Errorf("no request for %s", Table[i].Name)
		}
	}
}

func TestMatchRefuses(t *testing.T) {
	f := func(want azerr.Code, part string, level Level, line string, headers ...string) {
		t.Helper()
		method, q, h := request(t, line, headers...)
		r, err := Match(level, method, q, h)
		if r != nil || !errors.Is(err, want) || !strings.Contains(err.Error(), part) {
			t.Errorf("%v %s %q: got %v, %v, want %v %s", level, line, headers, r, err, want, part)
		}
	}
	const badQuery = azerr.InvalidQueryParameterValue
	// A comp nobody knows, or of another resource, never falls through to the resource itself.
	f(badQuery, "QueryParameterName=comp QueryParameterValue=nonsense", Blob, "GET ?comp=nonsense")
	f(badQuery, "QueryParameterName=comp QueryParameterValue=pagelists", Blob, "GET ?comp=pagelists")
	f(badQuery, "QueryParameterName=comp", Container, "GET ?restype=container&comp=page")
	f(badQuery, "QueryParameterName=comp", Container, "DELETE ?restype=container&comp=x")
	f(badQuery, "QueryParameterName=comp", Blob, "DELETE ?comp=acl")
	f(badQuery, "QueryParameterName=comp", Service, "GET ?comp=metadata")
	f(badQuery, "QueryParameterName=comp QueryParameterValue= ", Service, "GET")
	f(badQuery, "QueryParameterName=comp QueryParameterValue= ", Service, "GET ?restype=service")
	f(badQuery, "QueryParameterName=comp", Service, "GET ?restype=account")
	f(badQuery, "QueryParameterName=comp", Container, "GET ?comp=list")
	f(badQuery, "QueryParameterName=comp QueryParameterValue=page ", Blob, "PUT ?comp=page&comp=page", "x-ms-page-write: update")
	// So with restype.
	f(badQuery, "QueryParameterName=restype QueryParameterValue=file", Container, "PUT ?restype=file")
	f(badQuery, "QueryParameterName=restype", Service, "PUT ?restype=container")
	f(badQuery, "QueryParameterName=restype", Blob, "PUT ?restype=container")
	f(badQuery, "QueryParameterName=restype", Container, "GET ?restype=service&comp=properties")
	f(badQuery, "QueryParameterName=restype", Blob, "GET ?restype=x&comp=metadata")
	// Methods.
	f(azerr.UnsupportedHttpVerb, "", Service, "PUT ?comp=list")
	f(azerr.UnsupportedHttpVerb, "", Service, "HEAD ?comp=list")
	f(azerr.UnsupportedHttpVerb, "", Container, "POST ?restype=container")
	f(azerr.UnsupportedHttpVerb, "", Container, "DELETE ?restype=container&comp=lease")
	f(azerr.UnsupportedHttpVerb, "", Blob, "POST")
	f(azerr.UnsupportedHttpVerb, "", Blob, "PATCH")
	f(azerr.UnsupportedHttpVerb, "", Blob, "GET ?comp=page")
	f(azerr.UnsupportedHttpVerb, "", Blob, "HEAD ?comp=pagelist")
	f(azerr.InvalidHttpVerb, "", Blob, "BREW")
	f(azerr.InvalidHttpVerb, "", Blob, "get")
	f(azerr.InvalidHttpVerb, "", Blob, "")
	// Headers that select.
	f(azerr.MissingRequiredHeader, "HeaderName=x-ms-blob-type", Blob, "PUT")
	f(azerr.InvalidHeaderValue, "HeaderName=x-ms-blob-type HeaderValue=TapeBlob", Blob, "PUT", "x-ms-blob-type: TapeBlob")
	f(azerr.InvalidHeaderValue, "HeaderName=x-ms-blob-type HeaderValue=", Blob, "PUT", "x-ms-blob-type:")
	f(azerr.InvalidHeaderValue, "HeaderName=x-ms-blob-type HeaderValue=PageBlob", Blob, "PUT", "x-ms-blob-type: PageBlob", "x-ms-copy-source: u")
	f(azerr.InvalidHeaderValue, "HeaderName=x-ms-requires-sync", Blob, "PUT", "x-ms-copy-source: u", "x-ms-requires-sync: maybe")
	f(azerr.MissingRequiredHeader, "HeaderName=x-ms-page-write", Blob, "PUT ?comp=page")
	f(azerr.MissingRequiredHeader, "HeaderName=x-ms-page-write", Blob, "PUT ?comp=page", "x-ms-copy-source: u")
	f(azerr.InvalidHeaderValue, "HeaderName=x-ms-page-write HeaderValue=erase", Blob, "PUT ?comp=page", "x-ms-page-write: erase")
	f(azerr.InvalidHeaderValue, "HeaderName=x-ms-page-write", Blob, "PUT ?comp=page", "x-ms-page-write: clear", "x-ms-copy-source: u")
}

// TestMatchIsTotal asks for every pair of level and method with every restype and comp of the table: the answer is
// the table's row or an error, and a row only of that very restype and comp.
func TestMatchIsTotal(t *testing.T) {
	restypes, comps := []string{"", "x"}, []string{"", "x"}
	for i := range Table {
		restypes, comps = append(restypes, Table[i].Restype), append(comps, Table[i].Comp)
	}
	slices.Sort(restypes)
	slices.Sort(comps)
	rows := 0
	for _, restype := range slices.Compact(restypes) {
		for _, comp := range slices.Compact(comps) {
			for _, m := range methods {
				for level := Service; level < AnyLevel; level++ {
					method, q, h := request(t, fmt.Sprintf("%s ?restype=%s&comp=%s", m, restype, comp), "x-ms-blob-type: PageBlob", "x-ms-page-write: update")
					r, err := Match(level, method, q, h)
					if err != nil {
						if c := azerr.From(err).Code; c != azerr.UnsupportedHttpVerb && c != azerr.InvalidQueryParameterValue {
							t.Errorf("%v %s restype=%s comp=%s: %v", level, m, restype, comp, err)
						}
						continue
					}
					rows++
					if r.ID == ServiceBatch && restype == "container" {
						if level != Service || m != "POST" { // the JavaScript SDK asks so
							t.Errorf("%v %s restype=container comp=%s: got %s", level, m, comp, r.Name)
						}
						continue
					}
					if r.ID != CORSPreflight && (r.Restype != restype || r.Comp != comp || !slices.Contains(r.Methods, m) || r.Level != level && r.Level != AnyLevel) {
						t.Errorf("%v %s restype=%s comp=%s: got %s", level, m, restype, comp, r.Name)
					}
				}
			}
		}
	}
	if rows < len(Table)-10 {
		t.Errorf("only %d requests got through", rows)
	}
}

func BenchmarkMatchPutPage(b *testing.B) {
	method, q, h := request(b, "PUT ?comp=page", "x-ms-page-write: update", "x-ms-range: bytes=0-511", "x-ms-version: 2026-12-06",
		"x-ms-date: Fri, 26 Jun 2026 23:39:12 GMT", "x-ms-client-request-id: x", "Content-Length: 512", "Authorization: x")
	b.ReportAllocs()
	for b.Loop() {
		r, err := Match(Blob, method, q, h)
		if err != nil || CheckSupported(r, h, q) != nil {
			b.Fatal(err)
		}
	}
}
