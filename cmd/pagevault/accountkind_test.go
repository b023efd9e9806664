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
		err := setKinds(accounts, premium, immutable)
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
	// Accounts and containers that cannot be.
	f([]string{"c"}, nil)
	f([]string{""}, nil)
	f(nil, []string{"c"})
	f(nil, []string{"c/xyz"})
	for _, container := range []string{"", "x", "UPPER", "a/b", "a--b"} {
		f(nil, []string{"a/" + container})
	}
}
