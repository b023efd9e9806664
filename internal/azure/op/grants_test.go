package op

import (
	"slices"
	"strings"
	"testing"
)

// onlyKeys are the operations that no token can do.
var onlyKeys = []ID{GetUserDelegationKey, ServiceBatch, ContainerBatch, CORSPreflight, GetContainerACL, SetContainerACL, RestoreContainer, RenameContainer, SetBlobExpiry}

// TestGrants: every operation has a grant or is known to have none, and each grant fits the level of its operation.
func TestGrants(t *testing.T) {
	types := map[Level]string{Service: "s", Container: "c", Blob: "o", AnyLevel: "sco"}
	for i := range Table {
		r := &Table[i]
		g := r.Grant()
		if (g.Letters == "") != slices.Contains(onlyKeys, r.ID) {
			t.Errorf("%s: grant %+v", r.Name, *g)
		}
		if g.Letters == "" {
			if *g != (Grant{}) {
				t.Errorf("%s: no letters, and %+v", r.Name, *g)
			}
			continue
		}
		if g.Type != types[r.Level] && r.ID != FindBlobsByTags || strings.Trim(g.Letters, anyLetter) != "" {
			t.Errorf("%s: grant %+v", r.Name, *g)
		}
		reads := r.Methods[0] == "GET" || r.Methods[0] == "HEAD"
		if g.Public != Nobody && (!reads || r.Level != Blob && g.Public == ReadersOfBlobs) {
			t.Errorf("%s is public: %+v", r.Name, *g)
		}
		if reads && r.ID != GetAccountInformation && strings.ContainsAny(g.Letters, "acwdx") || !reads && strings.Contains(g.Letters, "r") && r.ID != QueryBlobContents {
			t.Errorf("%s %v: letters %s", r.Name, r.Methods, g.Letters)
		}
		if g.Creates && g.Letters != "cw" {
			t.Errorf("%s creates with %s", r.Name, g.Letters)
		}
	}
	for id := int(idEnd); id < len(Grants); id++ {
		if Grants[id] != (Grant{}) {
			t.Errorf("a grant for no operation: %d", id)
		}
	}
}

func TestNeeds(t *testing.T) {
	level := Blob
	f := func(want string, line string, headers ...string) {
		t.Helper()
		method, q, h := request(t, line, headers...)
		r, err := Match(level, method, q, h)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(r.Needs(q, h), " "); got != want {
			t.Errorf("%s %q: got %q, want %q", line, headers, got, want)
		}
	}
	f("r", "GET")
	f("r t", "GET", "x-ms-if-tags: a")
	f("cw", "PUT", "x-ms-blob-type: PageBlob")
	f("cw t", "PUT", "x-ms-blob-type: PageBlob", "x-ms-tags: a=b")
	f("d", "DELETE")
	f("d", "DELETE ?snapshot=s")
	f("x", "DELETE ?versionid=v")
	f("y", "DELETE ?versionid=v&deletetype=permanent")
	f("w", "PUT ?comp=lease", "x-ms-lease-action: acquire")
	f("wd", "PUT ?comp=lease", "x-ms-lease-action: Break")
	f("w", "PUT ?comp=lease")
	f("t", "PUT ?comp=tags")
	level = Container
	f("l", "GET ?restype=container&comp=list&include=metadata")
	f("l t", "GET ?restype=container&comp=list&include=metadata&include=copy,%20TAGS")
}

func TestAudience(t *testing.T) {
	f := func(want Audience, level Level, line string, headers ...string) {
		t.Helper()
		method, q, h := request(t, line, headers...)
		r, err := Match(level, method, q, h)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Audience(q, h); got != want {
			t.Errorf("%s: got %v, want %v", line, got, want)
		}
	}
	f(ReadersOfBlobs, Blob, "GET")
	f(ReadersOfBlobs, Blob, "GET ?comp=blocklist")
	f(ReadersOfBlobs, Blob, "GET ?comp=blocklist&blocklisttype=Committed")
	f(Nobody, Blob, "GET ?comp=blocklist&blocklisttype=all")
	f(Nobody, Blob, "GET ?comp=tags")
	f(Nobody, Blob, "DELETE")
	f(ReadersOfContainer, Container, "GET ?restype=container&comp=list")
	f(Nobody, Container, "GET ?restype=container&comp=acl")
	f(Nobody, Container, "GET ?restype=container&comp=list&include=metadata,Tags")
	f(Nobody, Blob, "GET", "x-ms-if-tags: a='b'")
	f(Nobody, Service, "GET ?comp=list")
}
