package op

import (
	"strings"
	"testing"
)

// TestActions: every operation needs some action, but the one that browsers ask before they have a token, and Rename
// Container, which only hierarchical accounts have.
func TestActions(t *testing.T) {
	for i := range Table {
		r := &Table[i]
		if got := actionsOf[r.ID]; (got == 0) != (r.ID == CORSPreflight || r.ID == RenameContainer) {
			t.Errorf("%s: actions %b", r.Name, got)
		}
	}
	for id := int(idEnd); id < len(actionsOf); id++ {
		if actionsOf[id] != 0 {
			t.Errorf("actions for no operation: %d", id)
		}
	}
}

// TestRoles says in words what each role may do, of everything there is, and that its grants for tokens agree: what a
// reader may do never takes more than the letters of reading.
func TestRoles(t *testing.T) {
	can := func(role Role, r *Row) bool { return role.Allowed&actionsOf[r.ID] != 0 }
	for _, role := range Roles {
		for i := range Table {
			r := &Table[i]
			reads := r.Methods[0] == "GET" || r.Methods[0] == "HEAD" || r.ID == QueryBlobContents
			batch := r.ID == ServiceBatch || r.ID == ContainerBatch
			want := false
			switch role.Name {
			case "owner":
				want = actionsOf[r.ID]&^(ReadService|WriteService) != 0
			case "contributor":
				want = actionsOf[r.ID]&(ReadService|WriteService|ReadACL|WriteACL|ReadTags|WriteTags|FilterBlobs|Immutability) == 0 && actionsOf[r.ID] != 0 || batch
			case "reader":
				want = reads && !strings.Contains(r.Name, "Tags") && !strings.Contains(r.Name, "ACL") && r.Restype != "service" || r.ID == GetUserDelegationKey || batch
			case "delegator":
				want = r.ID == GetUserDelegationKey || batch
			}
			if can(role, r) != want {
				t.Errorf("%s of a %s: %v", r.Name, role.Name, !want)
			}
		}
	}
}

// TestActionsOfRequests: what depends on the request.
func TestActionsOfRequests(t *testing.T) {
	f := func(level Level, line string, want [4]Action, headers ...string) {
		t.Helper()
		method, q, h := request(t, line, headers...)
		r, err := Match(level, method, q, h)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Actions(q, h); got != want {
			t.Errorf("%s %q: got %b, want %b", line, headers, got, want)
		}
	}
	f(Blob, "PUT", [4]Action{WriteBlobs, 0, 0, Immutability}, "x-ms-blob-type: PageBlob", "x-ms-legal-hold: true")
	f(Blob, "GET", [4]Action{ReadBlobs})
	f(Blob, "GET", [4]Action{ReadBlobs, 0, ReadTags}, "x-ms-if-tags: a")
	f(Blob, "PUT", [4]Action{WriteBlobs, WriteTags}, "x-ms-blob-type: PageBlob", "x-ms-tags: a=b")
	f(Blob, "PUT", [4]Action{WriteBlobs, WriteTags, ReadTags}, "x-ms-blob-type: PageBlob", "x-ms-tags: a=b", "x-ms-if-tags: a")
	f(Blob, "DELETE ?snapshot=s", [4]Action{DeleteBlobs})
	f(Blob, "DELETE ?versionid=v", [4]Action{DeleteVersions})
	f(Blob, "DELETE ?versionid=v&deletetype=permanent", [4]Action{DeletePermanently})
	f(Container, "GET ?restype=container&comp=list&include=tags", [4]Action{ReadBlobs, 0, ReadTags})
	f(Service, "POST ?restype=service&comp=userdelegationkey", [4]Action{DelegateKey})
}
