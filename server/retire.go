package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"pagevault/internal/clock"
)

// changeTick is how often the reply to POST /members/retire says how far it is.
const changeTick = time.Second

// retireEvent is a line of the answer to POST /members/retire: how far an account is, what came of it, or, as the last line,
// what came of all.
type retireEvent struct {
	Account         string        `json:"account,omitempty"`
	UnderReplicated int64         `json:"underReplicatedBytes,omitempty"` // that lack a copy or a shard
	Done            bool          `json:"done,omitempty"`                 // the account is
	Error           string        `json:"error,omitempty"`                // of the account; with account "", of the whole
	Change          *memberChange `json:"change,omitempty"`               // the member is gone from all accounts that were asked for
}

// retireMember answers POST /members/retire?member=N&account=NAME: it takes the member out of the log of the account, or of
// all one after the other. What it alone holds is moved to the others first, which ends when the client goes.
//
// The answer is lines of JSON, from about a second after the beginning, when the status is 200; the last has change or error.
// What fails before is a text, 400 or 409 if it makes no sense and 503 if it may later.
func (s *Server) retireMember(w http.ResponseWriter, r *http.Request) {
	number, ok := memberNumber(w, r)
	if !ok {
		return
	}
	accounts, ok := s.beginChange(w, r)
	if !ok {
		return
	}
	defer s.changing.Unlock()
	home, _, err := memberHome(accounts, number, "")
	if err == nil && home == "" {
		err = fmt.Errorf("there is no member %d", number)
	}
	if err != nil {
		http.Error(w, oneLine(err), http.StatusConflict)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	reply := &retireReply{w: w, control: http.NewResponseController(w), cancel: cancel}
	var out outcome
	for _, a := range accounts {
		err := s.retire(ctx, a, number, reply)
		out.add(a, err)
		e := retireEvent{Account: a.Name(), Done: err == nil}
		if err != nil {
			e.Error = oneLine(err)
		}
		reply.later(e)
	}
	s.moved(home, "")
	switch {
	case len(out.failed) > 0 && !reply.begun:
		out.fail(w)
	case len(out.failed) > 0:
		reply.write(retireEvent{Error: out.text()})
	default:
		s.o.Log.Info("a member was retired", "member", number, "from", home, "accounts", strings.Join(out.changed, " "))
		reply.write(retireEvent{Change: &memberChange{Member: number, From: home, Accounts: out.changed, Replicas: s.replicas()}})
	}
}

// retire takes a member out of one account and says meanwhile how far that is.
func (s *Server) retire(ctx context.Context, a memberChanger, number int, reply *retireReply) error {
	done := make(chan error, 1)
	go func() { done <- a.RetireMember(ctx, number) }()
	tick := s.o.Clock.NewTimer(changeTick)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C():
			h := a.Health()
			reply.write(retireEvent{Account: a.Name(), UnderReplicated: h.UnderReplicated})
			tick.Reset(changeTick)
		}
	}
}

// retireReply writes lines. After the first that could not be written none is, and what is being done is given up.
type retireReply struct {
	w       http.ResponseWriter
	control *http.ResponseController
	cancel  func()
	waiting []retireEvent // for the next that is written
	begun   bool          // a line was written, and with it the status
	failed  error
}

// later has a line written before the next.
func (o *retireReply) later(e retireEvent) { o.waiting = append(o.waiting, e) }

func (o *retireReply) write(e retireEvent) {
	if o.failed != nil {
		return
	}
	if !o.begun {
		o.w.Header().Set("Content-Type", "application/x-ndjson")
		o.begun = true
	}
	lines := json.NewEncoder(o.w)
	o.failed = o.control.SetWriteDeadline(clock.System.Now().Add(checkWriteMax))
	for _, e := range append(o.waiting, e) {
		if o.failed == nil {
			o.failed = lines.Encode(e)
		}
	}
	o.waiting = o.waiting[:0]
	if o.failed == nil {
		o.failed = o.control.Flush()
	}
	if o.failed != nil {
		o.cancel()
	}
}
