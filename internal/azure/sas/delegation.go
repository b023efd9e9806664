package sas

import (
	"crypto/hmac"
	"crypto/sha256"
	"strings"
	"time"
)

// keyLifeMax is how long a user delegation key lives at most, by the protocol.
const keyLifeMax = 7 * 24 * time.Hour

// KeyFields are the fields of a user delegation key that its value depends on, as text, exactly as in its XML.
type KeyFields struct {
	ObjectID, TenantID string // of the user
	Start, Expiry      string
	Service, Version   string
	DelegatedTenantID  string // "" unless the key is for a user of another tenant
}

// DelegationKey returns the value of a user delegation key, which is an HMAC of its fields under a key of the account:
// so it can be recomputed when a token comes, and ends with the account's key.
func DelegationKey(accountKey []byte, f *KeyFields) []byte {
	m := hmac.New(sha256.New, accountKey)
	// No other text that is signed with an account's key has a NUL in it.
	m.Write([]byte("user delegation key\x00" + strings.Join([]string{f.ObjectID, f.TenantID, f.Start, f.Expiry, f.Service,
		f.Version, f.DelegatedTenantID}, "\x00")))
	return m.Sum(nil)
}

// KeyFields returns the fields of the key that a Delegation is signed with, as the token repeats them.
func (t *Token) KeyFields() KeyFields {
	v := &t.values
	return KeyFields{ObjectID: v[skoid], TenantID: v[sktid], Start: v[skt], Expiry: v[ske], Service: v[sks], Version: v[skv],
		DelegatedTenantID: v[skdutid]}
}

// DelegationKeys returns what a Delegation may be signed with: the value of its key under each key of the account.
func (t *Token) DelegationKeys(accountKeys [][]byte) [][]byte {
	f := t.KeyFields()
	keys := make([][]byte, len(accountKeys))
	for i, k := range accountKeys {
		keys[i] = DelegationKey(k, &f)
	}
	return keys
}

// User returns who alone may use the token, with a bearer token that proves it: the user of that object id, "" for any,
// of that tenant, "" for any.
func (t *Token) User() (objectID, tenantID string) { return t.values[sduoid], t.values[skdutid] }

// checkKey checks what a token says of the key it is signed with.
func (t *Token) checkKey() error {
	v := &t.values
	start, ok1 := ParseTime(v[skt])
	expiry, ok2 := ParseTime(v[ske])
	switch {
	case v[sv] < firstDelegation:
		return failed("There is no user delegation SAS of version " + v[sv] + ".")
	case v[si] != "":
		return failed("A user delegation SAS does not go with a stored access policy.")
	case v[skoid] == "" || v[sktid] == "" || !ok1 || !ok2 || v[sks] != "b" || !date(v[skv]):
		return failed("The user delegation key is not well formed.")
	case expiry.Sub(start) > keyLifeMax:
		return failed("The user delegation key is for more than seven days.")
	case v[suoid] != "":
		return failed("A token for a user whose rights are to be looked up (suoid) is for accounts with a hierarchical namespace.")
	}
	return nil
}
