package server

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/op"
	"pagevault/internal/azure/sas"
)

// metrics counts what happens. Counters of requests are found by index, not by label, since there is one on every
// request; they come into being with the first request of their kind.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	panics   prometheus.Counter
	broken   prometheus.Counter

	byRow [256]struct { // by op.ID; 0 for requests that name no operation
		status  [600]atomic.Pointer[prometheus.Counter]
		seconds atomic.Pointer[prometheus.Observer]
	}
}

func newMetrics(s *Server) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pagevault_requests_total",
			Help: "Requests answered, by operation and HTTP status.",
		}, []string{"operation", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pagevault_request_seconds",
			Help: "Time from the headers of a request to its reply, without the sending of the reply.",
			// From a cached read to a 4 MiB write that waits for a slow disk.
			Buckets: prometheus.ExponentialBuckets(50e-6, 2, 18),
		}, []string{"operation"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pagevault_panics_total",
			Help: "Requests that ended in a panic: each is a bug.",
		}),
		broken: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pagevault_downloads_broken_total",
			Help: "Downloads that broke off because the blob could not be read further; their status is counted as a success, since it was sent before.",
		}),
	}
	m.registry.MustRegister(m.requests, m.seconds, m.panics, m.broken, newStateCollector(s))
	return m
}

// count counts one request.
func (m *metrics) count(id op.ID, status int, took time.Duration) {
	row := &m.byRow[id]
	c := row.status[status%600].Load()
	if c == nil {
		fresh := m.requests.WithLabelValues(operationName(id), strconv.Itoa(status))
		c = &fresh
		row.status[status%600].Store(c)
	}
	(*c).Inc()
	o := row.seconds.Load()
	if o == nil {
		fresh := m.seconds.WithLabelValues(operationName(id))
		o = &fresh
		row.seconds.Store(o)
	}
	(*o).Observe(took.Seconds())
}

// busyEvery is how often the log is told that requests are refused for now: all of them may be, thousands in a second.
const busyEvery = 10 * time.Second

// worthTelling reports whether the log must have a line for a request that failed.
func (r *request) worthTelling() bool {
	if r.late || r.wait > 0 {
		return false // the client's doing, and as often as it likes
	}
	if r.err.Code != azerr.ServerBusy {
		return true
	}
	now, last := r.s.o.Clock.Now().UnixNano(), r.s.busyTold.Load()
	return now-last >= int64(busyEvery) && r.s.busyTold.CompareAndSwap(last, now)
}

func operationName(id op.ID) string {
	if id == 0 {
		return "none"
	}
	return id.String()
}

// record counts the request and writes its line in the log: never keys, signatures or the query, which may hold one.
func (r *request) record() {
	var id op.ID
	if r.row != nil {
		id = r.row.ID
	}
	took := r.s.o.Clock.Now().Sub(r.start)
	r.s.metrics.count(id, r.status, took)
	if r.s.o.Audit != nil {
		r.audit(operationName(id))
	}
	log := r.s.o.Log
	if r.err != nil && r.status >= 500 && r.status != 501 && r.worthTelling() { // what is not built is the client's to know
		log.Error("request failed", "request", string(r.id[:]), "operation", operationName(id), "status", r.status,
			"code", r.err.Code.Wire(), "error", sas.Redact(fmt.Sprint(r.err.Cause)))
	}
	if !log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	code := ""
	if r.err != nil {
		code = r.err.Code.Wire()
	}
	log.Debug("request", "request", string(r.id[:]), "remote", r.ctx.RemoteAddr().String(), "method", string(r.ctx.Method()),
		"path", string(r.target.rawPath), "operation", operationName(id), "status", r.status, "code", code, "took", took,
		"received", max(r.framing.length, 0), "version", string(r.version))
}
