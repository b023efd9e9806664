package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"pagevault/blobstore"
	"pagevault/internal/clock"
)

// maintainEvent is a line of the answer to POST /maintain?progress=true: what is done for an account, at last that it is
// done, or the error that ended all of it.
type maintainEvent struct {
	Account string `json:"account"`
	Doing   string `json:"doing,omitempty"`
	Moved   int    `json:"moved"`   // frames
	Freed   int    `json:"freed"`   // frames
	Bytes   int64  `json:"bytes"`   // stored anew
	Dropped int    `json:"dropped"` // segments
	Done    bool   `json:"done,omitempty"`
	Error   string `json:"error,omitempty"`
}

// maintain answers POST /maintain?account=NAME&progress=true: it gives back the space of the account, or of all one after
// the other. Without progress the answer comes when nothing is left to give back, 200, or 503 with the reason why not;
// with it, lines of JSON from the start, the last of each account with done or error. It ends when the client goes.
func (s *Server) maintain(w http.ResponseWriter, r *http.Request) {
	accounts, leave, ok := s.chosen(w, r)
	if !ok {
		return
	}
	defer leave()
	out := &maintainReply{w: w, control: http.NewResponseController(w), lines: r.URL.Query().Get("progress") == "true"}
	if err := out.begin(); err != nil {
		return
	}
	for _, a := range accounts {
		last := maintainEvent{Account: a.Name()}
		err := a.Maintain(r.Context(), func(p blobstore.MaintainProgress) {
			last = maintainEvent{Account: a.Name(), Doing: p.Doing, Moved: p.Moved, Freed: p.Freed, Bytes: p.Bytes, Dropped: p.Dropped}
			out.write(&last)
		})
		if last.Doing, last.Done = "", err == nil; err != nil {
			last.Error = err.Error()
		}
		out.write(&last)
		if err != nil {
			out.fail(a.Name(), err)
			return
		}
	}
}

// maintainReply is the reply, as lines or at the end.
type maintainReply struct {
	w       http.ResponseWriter
	control *http.ResponseController
	lines   bool
	failed  error
}

// begin takes away the listener's timeouts, which are for short replies.
func (o *maintainReply) begin() error {
	if err := o.control.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	if err := o.control.SetWriteDeadline(time.Time{}); err != nil {
		return err
	}
	if !o.lines {
		return nil
	}
	o.w.Header().Set("Content-Type", "application/x-ndjson")
	return o.control.Flush()
}

// write sends a line. Who does not read it in time gets no more.
func (o *maintainReply) write(e *maintainEvent) {
	if !o.lines || o.failed != nil {
		return
	}
	if o.failed = o.control.SetWriteDeadline(clock.System.Now().Add(checkWriteMax)); o.failed != nil {
		return
	}
	if o.failed = json.NewEncoder(o.w).Encode(e); o.failed == nil {
		o.failed = o.control.Flush()
	}
}

// fail answers with an error where there are no lines to say it.
func (o *maintainReply) fail(account string, err error) {
	if !o.lines {
		http.Error(o.w, fmt.Sprintf("account %s: %v", account, err), http.StatusServiceUnavailable)
	}
}
