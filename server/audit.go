package server

import (
	"encoding/json"
	"time"

	"pagevault/internal/azure/sas"
)

// auditLine is one request in the audit log. It never holds a signature, a key, a token or a query, which may hold one:
// only names and figures.
type auditLine struct {
	Time       time.Time `json:"time"`
	Request    string    `json:"request"`
	Remote     string    `json:"remote"`
	Account    string    `json:"account,omitempty"`
	Authorised string    `json:"authorised"`          // how: SharedKey, SharedKeyLite, Bearer, SAS and its kind, public, or no
	Principal  string    `json:"principal,omitempty"` // the user of a bearer token, let in or not, or who made a user delegation SAS
	Source     string    `json:"source,omitempty"`    // the account that a copy reads, if it is one of this server
	Lender     string    `json:"lender,omitempty"`    // principal for what opens that: whose token it is, let in or not
	Operation  string    `json:"operation"`
	Container  string    `json:"container,omitempty"`
	Blob       string    `json:"blob,omitempty"`
	Status     int       `json:"status"`
	Code       string    `json:"code,omitempty"`
	Received   int64     `json:"received"` // length of the body as announced
	Sent       int64     `json:"sent"`     // length of the reply's body as announced
}

// Ways in which a request was let in.
const (
	byNobody        = "no"
	bySharedKey     = "SharedKey"
	bySharedKeyLite = "SharedKeyLite"
	byBearer        = "Bearer"
	byAnybody       = "public" // what is read is public
)

// bySAS says so for tokens, by what they are signed with.
var bySAS = [...]string{sas.Account: "SAS account", sas.Service: "SAS service", sas.Delegation: "SAS user delegation"}

// audit writes the line of a request that is answered. What cannot be written is told in the log, and the request goes
// on: a full disk of logs is no reason to refuse data.
func (r *request) audit(operation string) {
	line := auditLine{
		Time: r.start.UTC(), Request: string(r.id[:]), Remote: r.ctx.RemoteAddr().String(), Authorised: byNobody,
		Operation: operation, Container: string(r.target.container), Blob: string(r.target.blob), Status: r.status,
		Received: max(r.framing.length, 0), Sent: r.replyBytes(), Principal: r.principal(),
		Source: r.sourceName, Lender: r.lender,
	}
	if r.account != nil {
		line.Account = r.account.Name()
	}
	if r.authorised != "" {
		line.Authorised = r.authorised
	}
	if r.err != nil {
		line.Code = r.err.Code.Wire()
	}
	text, err := json.Marshal(&line)
	if err == nil {
		_, err = r.s.o.Audit.Write(append(text, '\n'))
	}
	if err == nil {
		return
	}
	now, last := r.s.o.Clock.Now().UnixNano(), r.s.auditTold.Load()
	if now-last >= int64(busyEvery) && r.s.auditTold.CompareAndSwap(last, now) {
		r.s.o.Log.Error("the audit log cannot be written; requests are answered all the same", "error", err)
	}
}
