package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"pagevault/blobstore"
)

// Admin returns what the admin listener serves. It must not be reachable by clients: it asks for no credentials. What changes
// something is refused to pages that a browser shows; see fromHere.
//
//	GET /          the paths below, a line each
//	GET /healthz   200 while the process runs
//	GET /readyz    200 while every account can be written, else 503; the body says what is not well and why
//	GET /metrics   the figures, as Prometheus reads them
//	GET /debug/pprof/...   profiles of the process for go tool pprof, but not its command line, which may have keys in it
//	GET /accounts  what each account has and takes, in JSON; ?account=NAME for one
//	POST /accounts/add, /accounts/rotate, /accounts/limit, /accounts/remove  change accounts; see changeAccount
//	POST /maintain gives back the space of what was deleted; see maintain
//	POST /check    checks what is stored; see checkAccounts
//	GET /members   the members of each account's log, in JSON; ?account=NAME for one account
//	POST /members/replace  puts a directory in the place of a member, or adds one; see replaceMember
//	POST /members/retire   takes a member out; see retireMember
//	POST /redundancy       changes how sealed segments are kept; see setRedundancy
//	GET /scrub     when everything was last read and compared, and how far it is, in JSON; ?account=NAME for one account
//	POST /scrub    reads and compares everything now, and heals it; see scrub
func (s *Server) Admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "/healthz\n/readyz\n/metrics\n/debug/pprof/\n/accounts\n/members\n/scrub\n/check (POST)\n/maintain (POST)\n"+
			"/members/replace (POST)\n/members/retire (POST)\n/redundancy (POST)\n/scrub (POST)\n"+
			"/accounts/add (POST)\n/accounts/rotate (POST)\n/accounts/limit (POST)\n/accounts/remove (POST)\n")
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("POST /check", s.checkAccounts)
	mux.HandleFunc("POST /maintain", s.maintain)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /accounts", s.accounts)
	mux.HandleFunc("GET /members", s.members)
	mux.HandleFunc("POST /members/replace", s.replaceMember)
	mux.HandleFunc("POST /members/retire", s.retireMember)
	mux.HandleFunc("POST /redundancy", s.setRedundancy)
	mux.HandleFunc("GET /scrub", s.scrubState)
	mux.HandleFunc("POST /scrub", s.scrub)
	for what := range accountChanges {
		mux.HandleFunc("POST /accounts/"+what, func(w http.ResponseWriter, r *http.Request) { s.changeAccount(w, r, what) })
	}
	return s.fromHere(mux)
}

// readiness is the body of /readyz.
type readiness struct {
	Ready    bool             `json:"ready"`
	Degraded bool             `json:"degraded"` // something has failed that the server does without
	Stopping bool             `json:"stopping,omitempty"`
	Accounts []accountReading `json:"accounts"`
}

type accountReading struct {
	Name     string          `json:"name"`
	Writable bool            `json:"writable"`
	Degraded bool            `json:"degraded"`
	Error    string          `json:"error,omitempty"`
	Reasons  []string        `json:"reasons,omitempty"` // why it is degraded
	Members  []memberReading `json:"members"`
}

type memberReading struct {
	Number int                   `json:"number"`
	Dir    string                `json:"dir"`
	State  blobstore.MemberState `json:"state"`
	Reason string                `json:"reason,omitempty"`
	Error  string                `json:"error,omitempty"`
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	state := readiness{Stopping: s.stopping()}
	state.Ready = !state.Stopping
	for a := range s.o.Service.Each() {
		reading := readAccount(a)
		state.Ready = state.Ready && reading.Writable
		state.Degraded = state.Degraded || reading.Degraded
		state.Accounts = append(state.Accounts, reading)
	}
	w.Header().Set("Content-Type", "application/json")
	if !state.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	json.NewEncoder(w).Encode(state)
}

func readAccount(a *blobstore.Account) accountReading {
	h := a.Health()
	reading := accountReading{Name: h.Account, Writable: h.Writable, Degraded: h.Degraded, Error: h.Error, Reasons: degradedBy(&h)}
	for i := range h.Members {
		m := &h.Members[i]
		reading.Members = append(reading.Members, memberReading{m.Number, m.Dir, m.State, m.Reason, m.Error})
	}
	return reading
}

// degradedBy says what is not as it should be.
func degradedBy(h *blobstore.Health) (reasons []string) {
	if !h.Writable {
		reasons = append(reasons, "writes are refused: "+h.Error)
	}
	for i := range h.Members {
		m := &h.Members[i]
		if m.State == blobstore.MemberCurrent && !m.Filling() {
			continue
		}
		text := fmt.Sprintf("member %d is %s", m.Number, m.State)
		for _, more := range []string{m.Reason, m.Error} {
			if more != "" {
				text += ": " + more
			}
		}
		reasons = append(reasons, text)
	}
	if h.UnderReplicated > 0 {
		reasons = append(reasons, fmt.Sprintf("%d bytes lack a copy or a shard", h.UnderReplicated))
	}
	if h.Unhealable > 0 {
		reasons = append(reasons, fmt.Sprintf("segments of which something can be had from no member that is there: %d", h.Unhealable))
	}
	return reasons
}

// figure is one number of the state of an account's store, read when it is asked for.
type figure struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(a *blobstore.Account) float64
}

func newFigure(name, help string, kind prometheus.ValueType, read func(a *blobstore.Account) float64) figure {
	return figure{prometheus.NewDesc("pagevault_"+name, help, []string{"account"}, nil), kind, read}
}

// stateCollector reports what the listeners and stores know of themselves.
type stateCollector struct {
	s                                    *Server
	connections, refused, received, sent *prometheus.Desc
	evicted, slow                        *prometheus.Desc
	figures                              []figure
	usage                                []usageFigure
	members                              []memberFigure
}

func newStateCollector(s *Server) *stateCollector {
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc("pagevault_"+name, help, nil, nil) }
	return &stateCollector{
		s:           s,
		connections: desc("connections", "Open connections."),
		refused:     desc("connections_refused_total", "Connections turned away because there were too many."),
		evicted:     desc("connections_evicted_total", "Connections closed while they waited for a request, to make room for others."),
		slow:        desc("connections_slow_total", "Connections cut off because the client was too slow in sending or taking a body."),
		received:    desc("received_bytes_total", "Bytes received from clients, headers and TLS included."),
		sent:        desc("sent_bytes_total", "Bytes sent to clients, headers and TLS included."),
		figures:     storeFigures(),
		usage:       usageFigures(),
		members:     memberFigures(),
	}
}

// Describe implements prometheus.Collector.
func (c *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.connections, c.refused, c.evicted, c.slow, c.received, c.sent} {
		ch <- d
	}
	for _, f := range c.figures {
		ch <- f.desc
	}
	for _, f := range c.usage {
		ch <- f.desc
	}
	for _, f := range c.members {
		ch <- f.desc
	}
	for _, d := range []*prometheus.Desc{limitDesc, memberStateDesc, memberErrorsDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	var open, refused, evicted, slow, in, out float64
	c.s.mu.Lock()
	listeners := c.s.mu.listeners
	c.s.mu.Unlock()
	for _, l := range listeners {
		open += float64(l.open())
		refused += float64(l.refused.Load())
		evicted += float64(l.evicted.Load())
		slow += float64(l.slow.Load())
		in += float64(l.in.Load())
		out += float64(l.out.Load())
	}
	ch <- prometheus.MustNewConstMetric(c.connections, prometheus.GaugeValue, open)
	ch <- prometheus.MustNewConstMetric(c.refused, prometheus.CounterValue, refused)
	ch <- prometheus.MustNewConstMetric(c.evicted, prometheus.CounterValue, evicted)
	ch <- prometheus.MustNewConstMetric(c.slow, prometheus.CounterValue, slow)
	ch <- prometheus.MustNewConstMetric(c.received, prometheus.CounterValue, in)
	ch <- prometheus.MustNewConstMetric(c.sent, prometheus.CounterValue, out)
	for a := range c.s.o.Service.Each() {
		for _, f := range c.figures {
			ch <- prometheus.MustNewConstMetric(f.desc, f.kind, f.read(a), a.Name())
		}
		c.collectUsage(ch, a)
		c.collectMembers(ch, a)
	}
}

// storeFigures are what is told about the store of each account. Bytes are of one copy, not of all members.
func storeFigures() []figure {
	counter := func(name, help string, read func(a *blobstore.Account) float64) figure {
		return newFigure(name, help, prometheus.CounterValue, read)
	}
	gauge := func(name, help string, read func(a *blobstore.Account) float64) figure {
		return newFigure(name, help, prometheus.GaugeValue, read)
	}
	return append(scrubFigures(gauge), []figure{
		gauge("writable", "1 while the account takes writes.", func(a *blobstore.Account) float64 {
			if a.Available() != nil {
				return 0
			}
			return 1
		}),
		gauge("halted", "1 while too few members work, so that writes are refused until more do.", func(a *blobstore.Account) float64 {
			if a.Store().Failed() == nil && a.Available() != nil {
				return 1
			}
			return 0
		}),
		gauge("under_replicated_bytes", "Bytes of the log that lack a copy or a shard.",
			func(a *blobstore.Account) float64 { return float64(a.Store().Log().Stats().UnderReplicated) }),
		gauge("healing_segments", "Segments of the log that wait to be compared and healed.",
			func(a *blobstore.Account) float64 { return float64(a.Store().Log().Stats().Healing) }),
		gauge("unhealable_segments", "Segments of the log of which something can be had from no member that is there.",
			func(a *blobstore.Account) float64 { return float64(a.Store().Log().Stats().Unhealable) }),
		gauge("copy_bytes", "Bytes of segments that are whole copies, on all members together.",
			func(a *blobstore.Account) float64 { return float64(a.Store().Log().Stats().CopyBytes) }),
		gauge("shard_bytes", "Bytes of shards of segments, on all members together.",
			func(a *blobstore.Account) float64 { return float64(a.Store().Log().Stats().ShardBytes) }),
		gauge("min_replicas", "Members that must be current for the account to take writes.",
			func(a *blobstore.Account) float64 { return float64(a.Store().Log().Stats().MinReplicas) }),
		counter("written_bytes", "Bytes of pages that clients wrote.",
			func(a *blobstore.Account) float64 { return float64(a.Store().Stats().LogicalBytes) }),
		counter("zero_bytes", "Of these, in chunks of nothing but zeros, which store nothing.",
			func(a *blobstore.Account) float64 { return float64(a.Store().Stats().ZeroBytes) }),
		counter("duplicate_bytes", "Of these, stored already when they were written.",
			func(a *blobstore.Account) float64 { return float64(a.Store().Stats().DuplicateBytes) }),
		gauge("log_data_bytes", "Bytes of content in the log, with garbage.",
			func(a *blobstore.Account) float64 { return float64(a.Store().Stats().StoredBytes) }),
		gauge("chunks", "Chunks stored.",
			func(a *blobstore.Account) float64 { return float64(a.Store().Stats().Chunks) }),
		gauge("index_bytes", "Size of the index on disk.",
			func(a *blobstore.Account) float64 { return float64(a.Store().Stats().IndexBytes) }),
		gauge("log_bytes", "Size of the log's files on one member.",
			func(a *blobstore.Account) float64 { return float64(a.Store().Log().Stats().Bytes) }),
		gauge("log_segments", "Segment files of the log on one member.",
			func(a *blobstore.Account) float64 { return float64(a.Store().Log().Stats().Segments) }),
		counter("log_segments_dropped_total", "Segments that were dropped since the log was made: their space was given back.",
			func(a *blobstore.Account) float64 { return float64(a.Store().Log().Stats().DroppedSegments) }),
		gauge("checkpoint_record", "Number of the last record that the checkpoint of the index stands for. 0: there is none.",
			func(a *blobstore.Account) float64 { return float64(a.Store().Log().Stats().CheckpointLSN) }),
		gauge("checkpoint_bytes", "Size of that checkpoint on one member.",
			func(a *blobstore.Account) float64 { return float64(a.Store().Log().Stats().CheckpointBytes) }),
		gauge("mismatch_record", "Number of the record at which counts of references were found wrong: no space is given back any more. 0: none was.",
			func(a *blobstore.Account) float64 { return float64(a.Store().Stats().Mismatch) }),
		counter("damaged_copies_total", "Times since the start that reading content, for clients or in the background, found a member's copy damaged.",
			func(a *blobstore.Account) float64 { return float64(a.Store().Stats().DamagedCopies) }),
		gauge("log_queued_bytes", "Bytes that wait to become durable.",
			func(a *blobstore.Account) float64 { return float64(a.Store().Log().Stats().Queued) }),
		counter("log_records_total", "Records made durable since the start.",
			func(a *blobstore.Account) float64 { return float64(a.Store().Log().Stats().Records) }),
		counter("log_batches_total", "Groups in which they were.",
			func(a *blobstore.Account) float64 { return float64(a.Store().Log().Stats().Batches) }),
		counter("log_syncs_total", "Syncs of files and directories, on all members together.",
			func(a *blobstore.Account) float64 { return float64(a.Store().Log().Stats().Syncs) }),
		gauge("members", "Members of the log.",
			func(a *blobstore.Account) float64 { return float64(len(a.Store().Log().Members())) }),
		gauge("members_failed", "Of these, such as are not up to date.", func(a *blobstore.Account) float64 {
			n := 0
			for _, m := range a.Health().Members {
				if m.State != blobstore.MemberCurrent {
					n++
				}
			}
			return float64(n)
		}),
	}...)
}

// scrubFigures are what is told about the reading and comparing of everything that the members hold.
func scrubFigures(gauge func(name, help string, read func(a *blobstore.Account) float64) figure) []figure {
	return []figure{
		gauge("scrub_age_seconds", "Time since everything that the members hold was last read and compared. -1: it never was.",
			func(a *blobstore.Account) float64 {
				if s := a.ScrubState(); s.Finished != nil {
					return s.AgeSeconds
				}
				return -1
			}),
		gauge("scrub_running", "1 while a run through everything is under way, also while it makes room for requests.",
			func(a *blobstore.Account) float64 {
				if a.ScrubState().Running {
					return 1
				}
				return 0
			}),
		gauge("scrub_read_bytes", "Bytes that the run under way has read, on all members together. 0: there is none.",
			func(a *blobstore.Account) float64 { return float64(a.ScrubState().Bytes) }),
		gauge("scrub_total_bytes", "Bytes that the run under way will have read, on all members together. 0: there is none.",
			func(a *blobstore.Account) float64 { return float64(a.ScrubState().Total) }),
		gauge("scrub_problems", "Problems found by the run under way, or else by the last.",
			func(a *blobstore.Account) float64 { return float64(a.ScrubState().Problems) }),
		gauge("scrub_healed", "Files that this run has written again or removed.",
			func(a *blobstore.Account) float64 { return float64(a.ScrubState().Healed) }),
		gauge("scrub_unhealable", "Of the problems of this run, such as no member that is there can put right.",
			func(a *blobstore.Account) float64 { return float64(a.ScrubState().Unhealable) }),
	}
}
