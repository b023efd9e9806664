package sas

import (
	"bytes"
	"strings"

	"pagevault/internal/azure/header"
)

// field is a parameter of a token, or something else that is signed.
type field uint8

// The parameters, then what is signed and is none.
const (
	sv field = iota + 1
	ss
	srt
	sp
	st
	se
	sip
	spr
	sig
	ses
	sr
	si
	rscc
	rscd
	rsce
	rscl
	rsct
	sdd
	skoid
	sktid
	skt
	ske
	sks
	skv
	saoid
	suoid
	scid
	skdutid
	sduoid
	srh
	srq
	snapshot
	versionid
	fieldEnd

	account = fieldEnd + iota // the account's name
	canon                     // the path of the resource
	moment                    // snapshot or version, for sr=bs and sr=bv only
	headers                   // those of srh, with their values
	queries                   // those of srq, with their values
	newline                   // nothing: the text ends with a line feed
)

// names are the parameters as they are in a query, in lower case like all of ours.
var names = [fieldEnd]string{"", "sv", "ss", "srt", "sp", "st", "se", "sip", "spr", "sig", "ses", "sr", "si", "rscc", "rscd",
	"rsce", "rscl", "rsct", "sdd", "skoid", "sktid", "skt", "ske", "sks", "skv", "saoid", "suoid", "scid", "skdutid", "sduoid",
	"srh", "srq", "snapshot", "versionid"}

// fieldOf returns the parameter of a name in lower case, 0 for one that is no part of a token.
func fieldOf(name []byte) field {
	for f := sv; f < fieldEnd; f++ {
		if names[f] == string(name) {
			return f
		}
	}
	return 0
}

// layout is what tokens from a version on have signed, in order.
type layout struct {
	since  string
	fields []field
}

// The layouts of each kind, the newest last. Later versions than the last that changed anything are like it.
var layouts = map[Kind][]layout{
	Account: {
		{firstAccount, []field{account, sp, ss, srt, st, se, sip, spr, sv, newline}},
		{"2020-12-06", []field{account, sp, ss, srt, st, se, sip, spr, sv, ses, newline}},
	},
	Service: {
		{"", []field{sp, st, se, canon, si}},
		{firstVersion, []field{sp, st, se, canon, si, sv}},
		{"2013-08-15", []field{sp, st, se, canon, si, sv, rscc, rscd, rsce, rscl, rsct}},
		{"2015-04-05", []field{sp, st, se, canon, si, sip, spr, sv, rscc, rscd, rsce, rscl, rsct}},
		{"2018-11-09", []field{sp, st, se, canon, si, sip, spr, sv, sr, moment, rscc, rscd, rsce, rscl, rsct}},
		{"2020-12-06", []field{sp, st, se, canon, si, sip, spr, sv, sr, moment, ses, rscc, rscd, rsce, rscl, rsct}},
	},
	Delegation: {
		{firstDelegation, []field{sp, st, se, canon, skoid, sktid, skt, ske, sks, skv,
			sip, spr, sv, sr, moment, rscc, rscd, rsce, rscl, rsct}},
		{"2020-02-10", []field{sp, st, se, canon, skoid, sktid, skt, ske, sks, skv, saoid, suoid, scid,
			sip, spr, sv, sr, moment, rscc, rscd, rsce, rscl, rsct}},
		{"2020-12-06", []field{sp, st, se, canon, skoid, sktid, skt, ske, sks, skv, saoid, suoid, scid,
			sip, spr, sv, sr, moment, ses, rscc, rscd, rsce, rscl, rsct}},
		{"2025-07-05", []field{sp, st, se, canon, skoid, sktid, skt, ske, sks, skv, saoid, suoid, scid, skdutid, sduoid,
			sip, spr, sv, sr, moment, ses, rscc, rscd, rsce, rscl, rsct}},
		{"2026-04-06", []field{sp, st, se, canon, skoid, sktid, skt, ske, sks, skv, saoid, suoid, scid, skdutid, sduoid,
			sip, spr, sv, sr, moment, ses, headers, queries, rscc, rscd, rsce, rscl, rsct}},
	},
}

// layout returns what a token of this kind and version has signed.
func (t *Token) layout() []field {
	all := layouts[t.Kind]
	for i := len(all) - 1; i >= 0; i-- {
		if t.values[sv] >= all[i].since {
			return all[i].fields
		}
	}
	return nil
}

// stringToSign returns the text that the token's signature must be of.
func (t *Token) stringToSign(r *Resource) (string, error) {
	fields := t.layout()
	if fields == nil {
		return "", failed("There is no such token of version " + t.values[sv] + ".")
	}
	if err := t.checkUnsigned(fields); err != nil {
		return "", err
	}
	if err := t.checkTarget(r); err != nil {
		return "", err
	}
	parts := make([]string, len(fields))
	for i, f := range fields {
		switch f {
		case account:
			parts[i] = r.Account
		case canon:
			parts[i] = t.canonical(r)
		case moment:
			parts[i] = t.moment()
		case newline:
		case headers, queries:
			part, err := t.bound(f, r)
			if err != nil {
				return "", err
			}
			parts[i] = part
		default:
			parts[i] = t.values[f]
		}
	}
	return strings.Join(parts, "\n"), nil
}

// checkUnsigned refuses parameters that restrict the token, or ask for something, and that its version does not sign:
// anybody could have put them there, or could take them away.
func (t *Token) checkUnsigned(fields []field) error {
	for _, f := range [...]field{sip, spr, ses, rscc, rscd, rsce, rscl, rsct, saoid, suoid, scid, skdutid, sduoid, srh, srq} {
		signs := f
		switch f {
		case srh:
			signs = headers
		case srq:
			signs = queries
		}
		if t.values[f] != "" && bytes.IndexByte(asBytes(fields), byte(signs)) < 0 {
			return failed("A token of this kind and version does not have the parameter " + names[f] + ".")
		}
	}
	return nil
}

func asBytes(fields []field) []byte {
	b := make([]byte, len(fields))
	for i, f := range fields {
		b[i] = byte(f)
	}
	return b
}

// checkTarget checks that the token can be for what the request is addressed to.
func (t *Token) checkTarget(r *Resource) error {
	v := &t.values
	fits := true
	switch v[sr] {
	case "b":
		fits = r.Blob != ""
	case "bs":
		fits = r.Blob != "" && v[snapshot] != "" && v[versionid] == ""
	case "bv":
		fits = r.Blob != "" && v[versionid] != "" && v[snapshot] == ""
	case "c":
		fits = r.Container != ""
	}
	if !fits || t.Kind != Account && !plain(r.Blob) {
		return failed("The token is not for a resource of this kind.")
	}
	return nil
}

// canonical returns the path of what the token is for: the account once, names decoded.
func (t *Token) canonical(r *Resource) string {
	path := "/" + r.Account + "/" + r.Container
	if t.values[sv] >= firstPrefix {
		path = "/blob" + path
	}
	if t.values[sr] != "c" {
		path += "/" + r.Blob
	}
	return path
}

// moment returns the snapshot or version that the token is for.
func (t *Token) moment() string {
	switch t.values[sr] {
	case "bs":
		return t.values[snapshot]
	case "bv":
		return t.values[versionid]
	}
	return ""
}

// bound returns the headers or parameters that the request must have, as it has them.
func (t *Token) bound(f field, r *Resource) (string, error) {
	list := t.values[srh]
	if f == queries {
		list = t.values[srq]
	}
	if list == "" {
		return "", nil
	}
	var b strings.Builder
	for name := range strings.SplitSeq(list, ",") {
		value, ok := headerOf(r.Headers, name)
		if f == queries {
			value, ok = r.Query.String(strings.ToLower(name)), r.Query.Has(strings.ToLower(name))
		}
		if !ok || !plain(value) {
			return "", failed("The token is for requests with " + name + ".")
		}
		if f == headers {
			b.WriteString(name + ":" + value + "\n")
		} else {
			b.WriteString("\n" + name + ":" + value)
		}
	}
	return b.String(), nil
}

// headerOf returns the one value of a header.
func headerOf(h *header.Set, name string) (value string, ok bool) {
	if id := header.Lookup([]byte(name)); id != 0 {
		return h.String(id), h.Has(id)
	}
	n := 0
	for k, v := range h.XMs {
		if strings.EqualFold(string(k), name) {
			value = string(v)
			n++
		}
	}
	return value, n == 1
}
