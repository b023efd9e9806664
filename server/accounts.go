package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"pagevault/blobstore"
	"pagevault/internal/azure/azerr"
)

// AccountKeeper changes which accounts there are and what holds for them, at once and for every start to come. Errors are
// those of blobstore: ErrRefused for what cannot be, ErrNotNow for what may be later. It tells nobody a key but the one
// that it has made, once.
type AccountKeeper interface {
	Add(ctx context.Context, c *AccountChange) (*AccountChanged, error)
	// Rotate puts another key in the place of the first or second.
	Rotate(ctx context.Context, c *AccountChange) (*AccountChanged, error)
	// Limit sets the limits, the rate, or both.
	Limit(ctx context.Context, c *AccountChange) (*AccountChanged, error)
	// Remove removes an account with everything it has on the disks.
	Remove(ctx context.Context, c *AccountChange) (*AccountChanged, error)
	// Describe says where an account comes from: "flag", "environment", "default" or "file".
	Describe(name string) string
}

// AccountChange is what is to be done with an account, as JSON the body of POST /accounts/add, rotate, limit and remove.
type AccountChange struct {
	Name       string         `json:"name"`
	Keys       [][]byte       `json:"keys,omitempty"`       // add: one or two, rotate: one; without, they are made
	Key        int            `json:"key,omitempty"`        // rotate: which, 1 or 2
	Limits     *AccountLimits `json:"limits,omitempty"`     // add, limit
	Rate       *Rate          `json:"rate,omitempty"`       // add, limit
	DeleteData bool           `json:"deleteData,omitempty"` // remove: also if there are containers
	Again      string         `json:"again,omitempty"`      // remove: with deleteData, the name once more
}

// AccountLimits are the limits of an account; see blobstore.Limits. All of them zero: none.
type AccountLimits struct {
	TotalBytes    int64 `json:"totalBytes"`
	DataBytes     int64 `json:"dataBytes"`
	MetadataBytes int64 `json:"metadataBytes"`
}

// AccountChanged is the answer to a change.
type AccountChanged struct {
	Name   string         `json:"name"`
	Keys   int            `json:"keys,omitempty"`   // how many there are now
	Made   [][]byte       `json:"made,omitempty"`   // the keys that were made
	Key    int            `json:"key,omitempty"`    // which of them the first one made, or the one that was given, is
	Limits *AccountLimits `json:"limits,omitempty"` // nil: as they are for accounts that are not named
	Rate   *Rate          `json:"rate,omitempty"`   // nil: as it is for accounts that are not named

	SetRate bool `json:"-"` // the rate has changed
}

// accountChanges are the changes by what their paths end with.
var accountChanges = map[string]accountChange{
	"add": AccountKeeper.Add, "rotate": AccountKeeper.Rotate, "limit": AccountKeeper.Limit, removeAccount: AccountKeeper.Remove,
}

type accountChange func(AccountKeeper, context.Context, *AccountChange) (*AccountChanged, error)

const removeAccount = "remove"

// accountChangeMax bounds the body of a change: two keys and some numbers.
const accountChangeMax = 16 << 10

// changeAccount answers POST /accounts/add, rotate, limit and remove, whose body is an AccountChange in JSON. 200 and an
// AccountChanged when it is done and noted for the next start; 400 or 409 if it cannot be, 503 if it may be later.
func (s *Server) changeAccount(w http.ResponseWriter, r *http.Request, what string) {
	c, err := readAccountChange(r)
	if err != nil {
		http.Error(w, oneLine(err), http.StatusBadRequest)
		return
	}
	if s.o.Accounts == nil {
		http.Error(w, "accounts stay as they are here", http.StatusConflict)
		return
	}
	// The listener's timeouts are for short replies: opening and closing a store may take longer, and requests have to end.
	control := http.NewResponseController(w)
	if err := errors.Join(control.SetReadDeadline(time.Time{}), control.SetWriteDeadline(time.Time{})); err != nil {
		http.Error(w, oneLine(err), http.StatusInternalServerError)
		return
	}
	if !s.changing.TryLock() {
		http.Error(w, busyChanging, http.StatusConflict)
		return
	}
	defer s.changing.Unlock()
	if what == removeAccount { // which waits for everybody, and requests are refused meanwhile
		if !s.checking.TryLock() {
			http.Error(w, "a check is running: wait for its end, or stop it", http.StatusConflict)
			return
		}
		defer s.checking.Unlock()
		if !s.scrubbing.TryLock() {
			http.Error(w, "a scrub that was asked for is running: wait for its end, or stop it", http.StatusConflict)
			return
		}
		defer s.scrubbing.Unlock()
	}
	done, err := accountChanges[what](s.o.Accounts, r.Context(), c)
	if err != nil {
		http.Error(w, oneLine(err), changeStatus(err))
		return
	}
	if done.SetRate {
		s.meters.Set(done.Name, done.Rate)
	}
	w.Header().Set("Cache-Control", "no-store") // there may be keys in it
	answerJSON(w, done)
}

// busyChanging is told to those who want to change something while others do.
const busyChanging = "members or accounts are being changed already: wait for the end of that, or stop it"

// readAccountChange reads the body. Its errors do not repeat it.
func readAccountChange(r *http.Request) (*AccountChange, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, errors.New("want a body in JSON, and Content-Type: application/json")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, accountChangeMax+1))
	switch {
	case err != nil:
		return nil, err
	case len(body) > accountChangeMax:
		return nil, fmt.Errorf("the body is longer than %d bytes", accountChangeMax)
	}
	c := new(AccountChange)
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(c); err != nil || d.More() {
		return nil, errors.New("the body is not the JSON of an account change")
	}
	return c, nil
}

// fromHere refuses to change anything for a page that a browser shows: that of another site, by the headers that browsers
// send with it, and that of a site which calls itself by a name that leads here, by the name.
func (s *Server) fromHere(h http.Handler) http.Handler {
	sites := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			if err := sites.Check(r); err != nil {
				http.Error(w, "refused to a page of another site: "+err.Error(), http.StatusForbidden)
				return
			}
			if !s.adminName(r.Host) {
				http.Error(w, fmt.Sprintf("refused under the name %q: use an address, localhost, or a name that serve --admin-name is given", r.Host), http.StatusForbidden)
				return
			}
		}
		h.ServeHTTP(w, r)
	})
}

// adminName reports whether the admin listener is meant by that Host header. An address cannot be made to lead elsewhere.
func (s *Server) adminName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host == "localhost" || slices.Contains(s.o.AdminNames, host)
}

// enterAccount has the account of the request stay there until the request has ended. One that is being removed takes no
// more requests, and may be there again if it is not removed after all.
func (r *request) enterAccount() error {
	if !r.account.Enter() {
		return azerr.ServerBusy
	}
	r.entered = true
	return nil
}

// leaveAccount undoes enterAccount.
func (r *request) leaveAccount() {
	if r.entered {
		r.entered = false
		r.account.Leave()
	}
	if r.source != nil {
		r.source.Leave()
		r.source = nil
	}
}

// limitsOf returns limits as they are told, nil for none.
func limitsOf(l blobstore.Limits) *AccountLimits {
	if l == (blobstore.Limits{}) {
		return nil
	}
	return &AccountLimits{l.TotalBytes, l.DataBytes, l.MetadataBytes}
}
