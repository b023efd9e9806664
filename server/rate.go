package server

import (
	"maps"
	"sync"
	"time"

	"pagevault/internal/azure/azerr"
)

// Rate is how much an account may ask for in a second. A field that is 0 is no bound.
type Rate struct {
	Requests int64 `json:"requests"`
	Bytes    int64 `json:"bytes"` // of bodies, of requests and replies together
}

// meter holds an account to its rate: what was not used of the last second may be used at once. Bytes are paid for when
// it is known how many they are, so a large body makes the requests behind it wait, and is never too large itself.
type meter struct {
	rate Rate

	mu struct {
		sync.Mutex
		at              time.Time // of the state below
		requests, bytes float64   // that may be asked for now; below 0: owed
	}
}

// meters are those of the accounts. They come into being with the first request.
type meters struct {
	mu struct {
		sync.Mutex
		rates map[string]Rate   // "": of accounts that are not named
		of    map[string]*meter // nil for accounts without a bound; as many as there are accounts
	}
}

func newMeters(rates map[string]Rate) *meters {
	m := new(meters)
	m.mu.rates, m.mu.of = maps.Clone(rates), make(map[string]*meter)
	if m.mu.rates == nil {
		m.mu.rates = make(map[string]Rate)
	}
	return m
}

// Set gives an account a rate of its own from now on; nil: that of those that are not named. Requests on their way pay
// what they owe to the rate they came under.
func (m *meters) Set(account string, rate *Rate) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if rate == nil {
		delete(m.mu.rates, account)
	} else {
		m.mu.rates[account] = *rate
	}
	delete(m.mu.of, account)
}

// rateOf returns the rate of an account.
func (m *meters) rateOf(account string) Rate {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rateLocked(account)
}

func (m *meters) rateLocked(account string) Rate {
	if rate, named := m.mu.rates[account]; named {
		return rate
	}
	return m.mu.rates[""]
}

// For returns the account's meter, nil if it may ask for as much as it likes.
func (m *meters) For(account string) *meter {
	m.mu.Lock()
	defer m.mu.Unlock()
	one, known := m.mu.of[account]
	if !known {
		if rate := m.rateLocked(account); rate != (Rate{}) {
			one = newMeter(rate)
		}
		m.mu.of[account] = one
	}
	return one
}

func newMeter(rate Rate) *meter {
	m := &meter{rate: rate}
	m.mu.requests, m.mu.bytes = float64(rate.Requests), float64(rate.Bytes)
	return m
}

// Take lets a request with a body of that many bytes pass at now, or returns how long it has to wait.
func (m *meter) Take(now time.Time, bytes int64) (wait time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refillLocked(now)
	if m.rate.Requests > 0 && m.mu.requests < 1 {
		wait = after(1-m.mu.requests, m.rate.Requests)
	}
	if m.rate.Bytes > 0 && m.mu.bytes <= 0 {
		wait = max(wait, after(1-m.mu.bytes, m.rate.Bytes))
	}
	if wait > 0 {
		return wait
	}
	m.mu.requests--
	m.mu.bytes -= float64(bytes)
	return 0
}

// Pay takes the bytes of a reply.
func (m *meter) Pay(bytes int64) {
	m.mu.Lock()
	m.mu.bytes -= float64(bytes)
	m.mu.Unlock()
}

// refillLocked adds what the time has brought, up to a second's worth. A clock that goes back brings nothing.
func (m *meter) refillLocked(now time.Time) {
	passed := now.Sub(m.mu.at).Seconds()
	if m.mu.at.IsZero() || passed <= 0 {
		m.mu.at = now
		return
	}
	m.mu.at = now
	m.mu.requests = min(m.mu.requests+passed*float64(m.rate.Requests), float64(m.rate.Requests))
	m.mu.bytes = min(m.mu.bytes+passed*float64(m.rate.Bytes), float64(m.rate.Bytes))
}

// after returns in which time as much comes together.
func after(missing float64, perSecond int64) time.Duration {
	return time.Duration(missing / float64(perSecond) * float64(time.Second))
}

// checkRate refuses a request of an account that asks for more than it may, and says when to come again. Requests that
// are not the account's own cost it nothing: they are refused before.
func (r *request) checkRate() error {
	if r.authorised == "" {
		return nil // a browser's preflight, which anybody can send
	}
	r.meter = r.s.meters.For(r.account.Name())
	if r.meter == nil {
		return nil
	}
	wait := r.meter.Take(r.start, max(r.framing.length, 0))
	if wait == 0 {
		return nil
	}
	r.meter = nil // there is nothing to pay
	r.wait = max(int64((wait+time.Second-1)/time.Second), 1)
	return azerr.ServerBusy
}

// payRate takes the bytes of the reply.
func (r *request) payRate() {
	if r.meter != nil {
		r.meter.Pay(r.replyBytes())
	}
}

// replyBytes returns the length of the reply's body.
func (r *request) replyBytes() int64 {
	switch {
	case r.ctx.IsHead():
		return 0
	case r.ctx.Response.IsBodyStream(): // which Body would read
		return int64(r.ctx.Response.Header.ContentLength())
	}
	return int64(len(r.ctx.Response.Body()))
}
