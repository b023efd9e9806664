package server

import (
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
)

// newestVersion is the newest service version whose behaviour we know. It is what a request without a version gets.
var newestVersion = []byte("2026-12-06")

const (
	oldestVersion    = "2009-09-19" // the first with page blobs and today's signatures
	challengeVersion = "2019-12-12" // the first that answers 401 to a request without credentials
)

// negotiate takes the version that the request asks for. Any date since the first version will do, known or not: SDKs
// move on every few months and refusing theirs is what users of other emulators complain about most. Behaviour is that
// of the newest version; the reply repeats what was asked for.
func (r *request) negotiate() error {
	name, v := header.XMsVersion.String(), r.headers.Get(header.XMsVersion)
	if !r.headers.Has(header.XMsVersion) {
		var err error
		if v, err = r.query.One("api-version"); err != nil || len(v) == 0 {
			return err
		}
		name = "api-version"
	}
	if !validVersion(v) || string(v) < oldestVersion {
		return azerr.BadHeader(name, string(v))
	}
	r.version = v
	return nil
}

// versioned reports whether the request said which version it wants. A part of a batch has that of the batch.
func (r *request) versioned() bool {
	return r.batch != nil || r.headers.Has(header.XMsVersion) || r.query.Has("api-version")
}

// validVersion reports whether v has the form of a date: yyyy-mm-dd.
func validVersion(v []byte) bool {
	if len(v) != len("yyyy-mm-dd") || v[4] != '-' || v[7] != '-' {
		return false
	}
	for i, c := range v {
		if i != 4 && i != 7 && (c < '0' || c > '9') {
			return false
		}
	}
	month, day := string(v[5:7]), string(v[8:10])
	return "01" <= month && month <= "12" && "01" <= day && day <= "31"
}
