package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"pagevault/blobstore"
)

// The account that there is if none is given: the same name and key in every storage emulator, so no secret.
const (
	wellKnownAccount = "devstoreaccount1"
	wellKnownKey     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// accountsVariable names accounts as Azurite has them: name:key1[:key2];name2:key1.
const accountsVariable = "AZURITE_ACCOUNTS"

// Where accounts come from, as GET /accounts says it.
const (
	sourceFlag        = "flag"
	sourceEnvironment = "environment"
	sourceDefault     = "default"
	sourceFile        = "file" // of accounts, in the data directory
)

// sourceOf returns where the accounts come from that parseAccounts returns.
func sourceOf(flags []string, environment string) string {
	switch {
	case len(flags) > 0:
		return sourceFlag
	case environment != "":
		return sourceEnvironment
	}
	return sourceDefault
}

// accountNameMax is the longest name of an account: it is a label of a host name.
const accountNameMax = 63

// parseAccounts returns the accounts of the command line, else those of the environment, else the well-known one.
func parseAccounts(flags []string, environment string) ([]blobstore.AccountOptions, error) {
	source, texts := "--account", flags
	if len(texts) == 0 {
		source = accountsVariable
		for text := range strings.SplitSeq(environment, ";") {
			if text = strings.TrimSpace(text); text != "" {
				texts = append(texts, text)
			}
		}
	}
	switch {
	case len(texts) == 0 && environment != "":
		return nil, fmt.Errorf("%s is set and names no account: want name:key1[:key2];name2:key1, or unset it", accountsVariable)
	case len(texts) == 0:
		texts = []string{wellKnownAccount + ":" + wellKnownKey}
	}
	var accounts []blobstore.AccountOptions
	seen := map[string]bool{}
	for _, text := range texts {
		a, err := parseAccount(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", source, err)
		}
		if seen[a.Name] {
			return nil, fmt.Errorf("%s: account %s is given twice", source, a.Name)
		}
		seen[a.Name] = true
		accounts = append(accounts, a)
	}
	return accounts, nil
}

// parseAccount reads NAME:KEY[:KEY2]. Its errors do not repeat keys.
func parseAccount(text string) (blobstore.AccountOptions, error) {
	name, rest, ok := strings.Cut(text, ":")
	if !validAccountName(name) {
		return blobstore.AccountOptions{}, fmt.Errorf("%q is not an account name: want 1 to %d of a-z, 0-9 and -, not ending in -secondary", name, accountNameMax)
	}
	if !ok {
		return blobstore.AccountOptions{}, fmt.Errorf("account %s has no key: want NAME:KEY or NAME:KEY:KEY2", name)
	}
	keys := strings.Split(rest, ":")
	if len(keys) > 2 {
		return blobstore.AccountOptions{}, fmt.Errorf("account %s has %d keys: want one or two", name, len(keys))
	}
	a := blobstore.AccountOptions{Name: name}
	for i, text := range keys {
		key, err := decodeKey(text)
		if err != nil {
			return blobstore.AccountOptions{}, fmt.Errorf("account %s, key %d: %w", name, i+1, err)
		}
		a.Keys = append(a.Keys, key)
	}
	return a, nil
}

func decodeKey(text string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(text)
	switch {
	case err != nil:
		return nil, errors.New("not base64")
	case len(key) == 0:
		return nil, errors.New("empty")
	}
	return key, nil
}

func validAccountName(name string) bool {
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return name != "" && len(name) <= accountNameMax && !strings.HasSuffix(name, "-secondary")
}

// usesWellKnownKey returns the first account that everybody has the key of, "" if there is none.
func usesWellKnownKey(accounts []blobstore.AccountOptions) string {
	public, err := base64.StdEncoding.DecodeString(wellKnownKey)
	if err != nil {
		panic(err)
	}
	for _, a := range accounts {
		for _, key := range a.Keys {
			if bytes.Equal(key, public) {
				return a.Name
			}
		}
	}
	return ""
}
