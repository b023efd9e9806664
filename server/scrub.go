package server

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"pagevault/blobstore"
	"pagevault/internal/clock"
)

// scrubList is the body of GET /scrub.
type scrubList struct {
	Accounts []scrubReading `json:"accounts"`
}

// scrubReading is how far the reading of everything is in an account.
type scrubReading struct {
	Account    string `json:"account"`
	Healing    int    `json:"healingSegments"`    // that wait to be compared and healed
	Unhealable int    `json:"unhealableSegments"` // of which something can be had from no member that is there
	blobstore.ScrubState
}

// scrubState answers GET /scrub, ?account=NAME for one account.
func (s *Server) scrubState(w http.ResponseWriter, r *http.Request) {
	chosen, leave, ok := s.chosen(w, r)
	if !ok {
		return
	}
	defer leave()
	list := scrubList{Accounts: []scrubReading{}}
	for _, a := range chosen {
		h := a.Health()
		list.Accounts = append(list.Accounts, scrubReading{a.Name(), h.Healing, h.Unhealable, h.Scrub})
	}
	answerJSON(w, list)
}

// scrub answers POST /scrub?account=NAME&rate=BYTES: it reads everything that the members of the account hold, or of all one
// after the other, compares it and heals what is not as it should be, while requests go on. The answer is lines of JSON, each
// a blobstore.ScrubEvent. It ends when its client goes, and when the server stops.
func (s *Server) scrub(w http.ResponseWriter, r *http.Request) {
	rate := int64(0)
	if text := r.URL.Query().Get("rate"); text != "" {
		var err error
		if rate, err = strconv.ParseInt(text, 10, 64); err != nil || rate < 0 {
			http.Error(w, "rate: want bytes in a second", http.StatusBadRequest)
			return
		}
	}
	accounts, leave, ok := s.chosen(w, r)
	if !ok {
		return
	}
	defer leave()
	if !s.scrubbing.TryLock() {
		http.Error(w, "a scrub that was asked for is running already", http.StatusConflict)
		return
	}
	defer s.scrubbing.Unlock()
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := &scrubReply{w: w, control: http.NewResponseController(w)}
	// As for a check: the listener's timeouts are for short replies, and the client is to know that it is being answered.
	if out.failed = out.control.SetReadDeadline(time.Time{}); out.failed != nil {
		return
	}
	if out.failed = out.control.Flush(); out.failed != nil {
		return
	}
	for _, a := range accounts {
		summary, err := a.Scrub(r.Context(), blobstore.ScrubOptions{
			Rate:     rate,
			Found:    func(p *blobstore.ScrubProblem) { out.write(blobstore.ScrubEvent{Problem: p}) },
			Progress: out.progress,
		})
		out.write(blobstore.ScrubEvent{Summary: &summary})
		if err != nil && r.Context().Err() != nil {
			return // without the end: whoever still listens sees that it was cut off
		}
	}
	out.write(blobstore.ScrubEvent{End: true})
}

// scrubReply writes the lines of a reply. After the first that could not be written, none is: the request's context ends the
// scrub.
type scrubReply struct {
	w       http.ResponseWriter
	control *http.ResponseController
	told    time.Time
	failed  error
}

func (o *scrubReply) write(e blobstore.ScrubEvent) {
	if o.failed != nil {
		return
	}
	if o.failed = o.control.SetWriteDeadline(clock.System.Now().Add(checkWriteMax)); o.failed != nil {
		return
	}
	if o.failed = json.NewEncoder(o.w).Encode(e); o.failed == nil {
		o.failed = o.control.Flush()
	}
}

// progress tells how far it is, as rarely as a check does.
func (o *scrubReply) progress(p *blobstore.ScrubProgress) {
	if now := clock.System.Now(); now.Sub(o.told) >= checkProgress {
		o.told = now
		o.write(blobstore.ScrubEvent{Progress: p})
	}
}
