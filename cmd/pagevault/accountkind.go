package main

import (
	"fmt"
	"slices"
	"strings"

	"pagevault/blobstore"
)

// setKinds makes accounts what the flags say: which are of premium storage, which have versioning, and where blobs can be
// protected by policies and legal holds, ACCOUNT[/CONTAINER] each.
func setKinds(accounts []blobstore.AccountOptions, premium, versioning, immutable []string) error {
	find := func(flag, text, name string) (*blobstore.AccountOptions, error) {
		for i := range accounts {
			if accounts[i].Name == name {
				return &accounts[i], nil
			}
		}
		return nil, usagef("--%s: %q: there is no account %q", flag, text, name)
	}
	for _, name := range premium {
		a, err := find("premium", name, name)
		if err != nil {
			return err
		}
		a.Premium = true
	}
	for _, name := range versioning {
		a, err := find("versioning", name, name)
		if err != nil {
			return err
		}
		a.Versioning = true
	}
	for _, text := range immutable {
		name, container, one := strings.Cut(text, "/")
		a, err := find("immutable-storage", text, name)
		switch {
		case err != nil:
			return err
		case !one:
			a.Immutable.All = true
		case !blobstore.ValidContainerName(container):
			return usagef("--immutable-storage: %q: %s", text, fmt.Sprintf("%q is not the name of a container", container))
		case !slices.Contains(a.Immutable.Containers, container):
			a.Immutable.Containers = append(a.Immutable.Containers, container)
		}
	}
	return nil
}
