package main

import (
	"reflect"
	"testing"

	"pagevault/blobstore"
)

func TestSetKinds(t *testing.T) {
	f := func(premium, immutable []string, want ...blobstore.AccountOptions) {
		t.Helper()
		accounts := []blobstore.AccountOptions{{Name: "a"}, {Name: "b"}}
		err := setKinds(accounts, premium, nil, immutable)
		if (err == nil) != (want != nil) {
			t.Errorf("%q %q: %v", premium, immutable, err)
		}
		if want != nil && !reflect.DeepEqual(accounts, want) {
			t.Errorf("%q %q: got %+v, want %+v", premium, immutable, accounts, want)
		}
	}
	all, some := blobstore.ImmutableStorage{All: true}, blobstore.ImmutableStorage{Containers: []string{"xyz", "$root"}}
	f(nil, nil, blobstore.AccountOptions{Name: "a"}, blobstore.AccountOptions{Name: "b"})
	f([]string{"b"}, nil, blobstore.AccountOptions{Name: "a"}, blobstore.AccountOptions{Name: "b", Premium: true})
	f(nil, []string{"a", "b/xyz", "b/$root", "b/xyz"}, blobstore.AccountOptions{Name: "a", Immutable: all}, blobstore.AccountOptions{Name: "b", Immutable: some})
	versioned := []blobstore.AccountOptions{{Name: "a"}, {Name: "b"}}
	if err := setKinds(versioned, nil, []string{"b"}, nil); err != nil || versioned[0].Versioning || !versioned[1].Versioning {
		t.Errorf("%+v, %v", versioned, err)
	}
	if setKinds(versioned, nil, []string{"c"}, nil) == nil {
		t.Error("versioning of an account that is not there")
	}
	// Accounts and containers that cannot be.
	f([]string{"c"}, nil)
	f([]string{""}, nil)
	f(nil, []string{"c"})
	f(nil, []string{"c/xyz"})
	for _, container := range []string{"", "x", "UPPER", "a/b", "a--b"} {
		f(nil, []string{"a/" + container})
	}
}
