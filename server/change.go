package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"pagevault/blobstore"
)

// memberChanger is an account whose log's members are changed: a blobstore.Account, or that of a test.
type memberChanger interface {
	Name() string
	Health() blobstore.Health
	MemberNeeded(number int) error
	ReplaceMember(ctx context.Context, number int, dir string, wipe bool) error
	RetireMember(ctx context.Context, number int) error
	SetRedundancy(ctx context.Context, r blobstore.Redundancy) error
}

// memberChange is the body of the answer to POST /members/replace, and the last line of that to POST /members/retire.
type memberChange struct {
	Member   int      `json:"member"`         // from 1
	From     string   `json:"from,omitempty"` // the directory it had; "": there was no such member
	Dir      string   `json:"dir,omitempty"`  // the directory it has; "": it is gone
	Accounts []string `json:"accounts"`       // in which that was changed
	Replicas []string `json:"replicas"`       // directories of all members of all accounts, with which the server is to be started
}

// redundancyChange is the body of the answer to POST /redundancy.
type redundancyChange struct {
	Redundancy string   `json:"redundancy"`
	Accounts   []string `json:"accounts"`
}

// replaceMember answers POST /members/replace?member=N&dir=DIR&wipe=true&account=NAME: DIR, which is the directory above those
// of the accounts, or else the one that the member has, takes the place of member N of the account, or of all; N one higher
// than there are adds a member. The directory must be empty or not be there; with wipe what is in it of the accounts goes.
//
// 200 and a memberChange once it belongs to the log of each of them; the log brings it up in the background. 400 or 409 if it
// cannot be, as a whole or, after all the others were tried, for the accounts that the text names; 503 if it may be later.
func (s *Server) replaceMember(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	dir, wipe, err := replaceQuery(query)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	number, ok := memberNumber(w, r)
	if !ok {
		return
	}
	accounts, ok := s.beginChange(w, r)
	if !ok {
		return
	}
	defer s.changing.Unlock()
	all, from, err := s.planReplace(accounts, number, dir)
	if err != nil {
		http.Error(w, oneLine(err), http.StatusConflict)
		return
	}
	var out outcome
	for _, p := range all { // before any is changed: trying again would begin with those anew
		if p.done && !wipe {
			continue
		}
		if err := p.account.MemberNeeded(number); err != nil {
			out.add(p.account, err)
		}
	}
	if out.fail(w) {
		return
	}
	for _, p := range all {
		if p.done && !wipe {
			out.add(p.account, nil)
			continue
		}
		out.add(p.account, p.account.ReplaceMember(r.Context(), number, p.folder, wipe))
	}
	to := all[0].dir
	s.moved(from, to)
	if out.fail(w) {
		return
	}
	s.o.Log.Info("a member was given a directory", "member", number, "from", from, "dir", to, "wipe", wipe, "accounts", strings.Join(out.changed, " "))
	answerJSON(w, memberChange{Member: number, From: from, Dir: to, Accounts: out.changed, Replicas: s.replicas()})
}

// replaceQuery reads what is particular to a replacement.
func replaceQuery(query url.Values) (dir string, wipe bool, err error) {
	if text := query.Get("wipe"); text != "" {
		if wipe, err = strconv.ParseBool(text); err != nil {
			return "", false, errors.New("wipe: want true or false")
		}
	}
	if dir = query.Get("dir"); dir == "" {
		return "", wipe, nil
	}
	if !filepath.IsAbs(dir) {
		return "", false, errors.New("dir: want a path from the root")
	}
	return filepath.Clean(dir), wipe, nil
}

// memberNumber reads which member is meant. Without ok it has answered.
func memberNumber(w http.ResponseWriter, r *http.Request) (number int, ok bool) {
	number, err := strconv.Atoi(r.URL.Query().Get("member"))
	if err != nil || number < 1 {
		http.Error(w, "member: want the number of a member, from 1", http.StatusBadRequest)
		return 0, false
	}
	return number, true
}

// beginChange finds the accounts that are to be changed, and has the caller be the only one that changes any. With ok the
// caller unlocks s.changing; otherwise it has answered.
func (s *Server) beginChange(w http.ResponseWriter, r *http.Request) (accounts []memberChanger, ok bool) {
	chosen, leave, ok := s.chosen(w, r)
	if !ok {
		return nil, false
	}
	defer leave() // s.changing keeps them there
	// The listener's timeouts are for short replies.
	control := http.NewResponseController(w)
	if err := errors.Join(control.SetReadDeadline(time.Time{}), control.SetWriteDeadline(time.Time{})); err != nil {
		http.Error(w, oneLine(err), http.StatusInternalServerError)
		return nil, false
	}
	if !s.changing.TryLock() {
		http.Error(w, busyChanging, http.StatusConflict)
		return nil, false
	}
	for _, a := range chosen {
		accounts = append(accounts, s.changer(a))
	}
	return accounts, true
}

// replacement is what is to be done in one account.
type replacement struct {
	account memberChanger
	dir     string // above those of the accounts
	folder  string // of this one
	done    bool   // it is there already
}

// planReplace finds out what a replacement is in each account, and the directory that the member has now. It changes nothing.
func (s *Server) planReplace(accounts []memberChanger, number int, dir string) (all []replacement, from string, err error) {
	from, known, err := memberHome(accounts, number, dir)
	switch {
	case err != nil:
		return nil, "", err
	case dir == "" && from == "":
		return nil, "", fmt.Errorf("there is no member %d: a new one needs a directory", number)
	case s.o.MemberDir == nil:
		return nil, "", errors.New("members stay where they are here")
	}
	to := dir
	if to == "" {
		to = from
	}
	for _, a := range accounts {
		h := a.Health()
		here, state := homeOf(&h, number)
		if most := highest(&h); here == "" && number > most+1 {
			return nil, "", fmt.Errorf("account %s: there is no member %d, and a new one is member %d", a.Name(), number, most+1)
		}
		for i := range h.Members {
			if m := &h.Members[i]; m.Number != number && filepath.Dir(m.Dir) == to {
				return nil, "", fmt.Errorf("account %s: %s is member %d", a.Name(), to, m.Number)
			}
		}
		folder, err := s.o.MemberDir(a.Name(), here, to)
		if err != nil {
			return nil, "", err
		}
		// Where others still have another directory this is another try of what failed for them.
		done := known && here == to && from != to && (state == blobstore.MemberCurrent || state == blobstore.MemberJoining)
		all = append(all, replacement{a, to, folder, done})
	}
	return all, from, nil
}

// memberHome returns the directory, above those of the accounts, that a member has in all accounts, but in those in which it
// has dir already. "": there is no such member. known says that some have dir.
func memberHome(accounts []memberChanger, number int, dir string) (home string, known bool, err error) {
	var who string
	for _, a := range accounts {
		h := a.Health()
		here, _ := homeOf(&h, number)
		switch {
		case dir != "" && here == dir:
			known = true
		case who == "":
			home, who = here, a.Name()
		case here != home:
			return "", false, fmt.Errorf("member %d is %s in account %s and %s in account %s: say which account is meant", number,
				shownHome(home), who, shownHome(here), a.Name())
		}
	}
	if who == "" { // all have dir
		home = dir
	}
	return home, known, nil
}

func shownHome(dir string) string {
	if dir == "" {
		return "not there"
	}
	return dir
}

// homeOf returns the directory above that of a member, from 1, and its state. "": there is no such member.
func homeOf(h *blobstore.Health, number int) (dir string, state blobstore.MemberState) {
	for i := range h.Members {
		if m := &h.Members[i]; m.Number == number {
			return filepath.Dir(m.Dir), m.State
		}
	}
	return "", ""
}

func highest(h *blobstore.Health) (most int) {
	for i := range h.Members {
		most = max(most, h.Members[i].Number)
	}
	return most
}

// moved tells MemberMoved that a member is in another directory, once that is so in all accounts. "": there was, or is, none.
// s.changing is held.
func (s *Server) moved(from, to string) {
	if from == to || s.o.MemberMoved == nil {
		return
	}
	for a := range s.o.Service.Each() {
		h := s.changer(a).Health()
		if from != "" && uses(&h, from) || to != "" && !uses(&h, to) {
			return
		}
	}
	s.o.MemberMoved(from, to)
}

// uses reports whether a member has its directory of the account in dir.
func uses(h *blobstore.Health, dir string) bool {
	return slices.ContainsFunc(h.Members, func(m blobstore.MemberHealth) bool { return filepath.Dir(m.Dir) == dir })
}

// replicas returns the directories of all members of all accounts, by the number of the first account that has them.
func (s *Server) replicas() (dirs []string) {
	for a := range s.o.Service.Each() {
		for _, m := range s.changer(a).Health().Members {
			if dir := filepath.Dir(m.Dir); !slices.Contains(dirs, dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	return dirs
}

// outcome is what came of a change in each account.
type outcome struct {
	changed []string // accounts
	failed  []string // accounts and why
	status  int      // of the worst
}

func (o *outcome) add(a memberChanger, err error) {
	if err == nil {
		o.changed = append(o.changed, a.Name())
		return
	}
	o.failed = append(o.failed, fmt.Sprintf("account %s: %s", a.Name(), oneLine(err)))
	o.status = max(o.status, changeStatus(err))
}

// changeStatus returns the status that tells of an error of a change.
func changeStatus(err error) int {
	switch {
	case errors.Is(err, blobstore.ErrRefused):
		return http.StatusConflict
	case errors.Is(err, blobstore.ErrNotNow):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// text says what failed, and in which accounts it did not. "": nothing failed.
func (o *outcome) text() string {
	if len(o.failed) > 0 && len(o.changed) > 0 {
		return strings.Join(o.failed, "; ") + "; done for: " + strings.Join(o.changed, ", ")
	}
	return strings.Join(o.failed, "; ")
}

// fail answers if the change failed in an account.
func (o *outcome) fail(w http.ResponseWriter) bool {
	if len(o.failed) == 0 {
		return false
	}
	http.Error(w, o.text(), o.status)
	return true
}

// oneLine returns the text of an error in one line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func answerJSON(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(body)
}

// setRedundancy answers POST /redundancy?policy=3|rs:K+M&account=NAME: sealed segments of the account, or of all, are kept in
// that way from now on. 200 and a redundancyChange when the members know; what is sealed already is converted in the
// background. Errors are those of replaceMember.
func (s *Server) setRedundancy(w http.ResponseWriter, r *http.Request) {
	// In a query + is a space, and nobody thinks of that.
	policy, err := blobstore.ParseRedundancy(strings.ReplaceAll(r.URL.Query().Get("policy"), " ", "+"))
	if err != nil {
		http.Error(w, "policy: "+err.Error(), http.StatusBadRequest)
		return
	}
	accounts, ok := s.beginChange(w, r)
	if !ok {
		return
	}
	defer s.changing.Unlock()
	for _, a := range accounts {
		if n := len(a.Health().Members); policy.K+policy.M > n {
			http.Error(w, fmt.Sprintf("account %s: %s takes %d members, and there are %d", a.Name(), policy, policy.K+policy.M, n), http.StatusConflict)
			return
		}
	}
	var out outcome
	for _, a := range accounts {
		out.add(a, a.SetRedundancy(r.Context(), policy))
	}
	if out.fail(w) {
		return
	}
	s.o.Log.Info("the redundancy was changed", "redundancy", policy.String(), "accounts", strings.Join(out.changed, " "))
	answerJSON(w, redundancyChange{policy.String(), out.changed})
}
