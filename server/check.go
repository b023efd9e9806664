package server

import (
	"net/http"
	"strconv"
	"time"

	"pagevault/blobstore"
	"pagevault/internal/clock"
)

// checkProgress is how often the reply to a check says how far it is, at most.
const checkProgress = time.Second

// checkWriteMax bounds how long one line of the reply may take to be sent: who does not read holds up a check, and with
// it the space that is freed meanwhile.
const checkWriteMax = time.Minute

// checkAccounts answers POST /check?account=NAME&level=full|quick&rate=BYTES: it checks the account, or all of them one after
// the other if none is named, while requests go on, and streams what it finds as lines of JSON; see
// blobstore.WriteCheckEvent. A check ends when its client goes, and when the server stops.
func (s *Server) checkAccounts(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	level, ok := blobstore.ParseCheckLevel(query.Get("level"))
	if !ok {
		http.Error(w, "level: want full or quick", http.StatusBadRequest)
		return
	}
	rate := int64(0)
	if text := query.Get("rate"); text != "" {
		var err error
		if rate, err = strconv.ParseInt(text, 10, 64); err != nil || rate < 0 {
			http.Error(w, "rate: want bytes in a second", http.StatusBadRequest)
			return
		}
	}
	var accounts []*blobstore.Account
	if name := query.Get("account"); name != "" {
		a, ok := s.look(name)
		if !ok {
			http.Error(w, "account "+name+" is not served here", http.StatusNotFound)
			return
		}
		accounts = append(accounts, a)
	} else {
		accounts = s.lookAll()
	}
	defer leaveAll(accounts)
	if !s.checking.TryLock() {
		http.Error(w, "a check is running already", http.StatusConflict)
		return
	}
	defer s.checking.Unlock()
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := &checkReply{w: w, control: http.NewResponseController(w)}
	// The listener's timeouts are for short replies: reading would end, and with it the request, in the middle of this one.
	if out.failed = out.control.SetReadDeadline(time.Time{}); out.failed != nil {
		return
	}
	if out.failed = out.control.Flush(); out.failed != nil { // so that the client knows that it is being answered
		return
	}
	for _, a := range accounts {
		summary, err := a.Check(r.Context(), blobstore.CheckOptions{
			Level: level, Rate: rate,
			Found:    func(p *blobstore.Problem) { out.write(p) },
			Progress: out.progress,
		})
		out.write(&summary)
		if err != nil && r.Context().Err() != nil {
			return // without the end: whoever still listens sees that it was cut off
		}
	}
	out.write(nil)
}

// checkReply writes the lines of a reply. After the first that could not be written, none is: the request's context ends
// the check.
type checkReply struct {
	w       http.ResponseWriter
	control *http.ResponseController
	told    time.Time
	failed  error
}

func (o *checkReply) write(event any) {
	if o.failed != nil {
		return
	}
	if o.failed = o.control.SetWriteDeadline(clock.System.Now().Add(checkWriteMax)); o.failed != nil {
		return
	}
	if o.failed = blobstore.WriteCheckEvent(o.w, event); o.failed == nil {
		o.failed = o.control.Flush()
	}
}

func (o *checkReply) progress(p blobstore.CheckProgress) {
	if now := clock.System.Now(); now.Sub(o.told) >= checkProgress {
		o.told = now
		o.write(p)
	}
}
