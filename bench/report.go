package bench

import (
	"encoding/json"
	"io"
	"slices"
	"time"
)

// Report is what a run has found. Its JSON form is stable: fields are added, never renamed.
type Report struct {
	Build      string       `json:"build"`
	Machine    Machine      `json:"machine"`
	Started    time.Time    `json:"started"`
	Command    string       `json:"command,omitempty"`
	Seed       uint64       `json:"seed"`
	Rounds     int          `json:"rounds"`            // asked for
	RoundNanos int64        `json:"roundNanos"`        // asked for
	RoundBytes int64        `json:"roundBytes"`        // bound on the new data of one
	SetBytes   int64        `json:"setBytes"`          // data stored in advance for reads and repeats
	Mix        *Mix         `json:"mix,omitempty"`     // what new data was like, if not all new and incompressible
	Stopped    string       `json:"stopped,omitempty"` // why there are fewer rounds than asked for
	Targets    []TargetInfo `json:"targets"`
	// Workloads says what the rows are, in their order.
	Workloads []WorkloadInfo `json:"workloads,omitempty"`
	Refused   []Refusal      `json:"refused,omitempty"`
	Rows      []Row          `json:"rows"` // by workload, then connections, then target
}

// WorkloadInfo describes a workload in a report.
type WorkloadInfo struct {
	Name  string `json:"name"`
	About string `json:"about"`
}

// Refusal is a workload that a target does not do.
type Refusal struct {
	Target   string `json:"target"`
	Workload string `json:"workload"`
	Answer   string `json:"answer"` // what it answered, on one line
}

// Round is one round of a cell.
type Round struct {
	Ops              int64   `json:"ops"`
	Bytes            int64   `json:"bytes"`
	Seconds          float64 `json:"seconds"`
	ServerCPUSeconds float64 `json:"serverCPUSeconds,omitempty"` // user and system; 0 if unknown
	ServerRSSBytes   int64   `json:"serverRSSBytes,omitempty"`   // at the end of the round; 0 if unknown
	ClientCPUSeconds float64 `json:"clientCPUSeconds,omitempty"` // of bench itself, with targets that run in it
	Busy             int64   `json:"busy,omitempty"`             // answers of 503, after which the request was repeated
}

func (r *Round) opsPerSecond() float64   { return per(float64(r.Ops), r.Seconds) }
func (r *Round) bytesPerSecond() float64 { return per(float64(r.Bytes), r.Seconds) }

// rate is what rounds are compared by: bytes, or requests where they move no page data.
func (r *Round) rate() float64 {
	if r.Bytes > 0 {
		return r.bytesPerSecond()
	}
	return r.opsPerSecond()
}

// per is a/b, and 0 where b is.
func per(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// Row is one cell: a workload at a number of connections on one target.
type Row struct {
	Workload       string  `json:"workload"`
	Connections    int     `json:"connections"`
	Target         string  `json:"target"`
	OpsPerSecond   float64 `json:"opsPerSecond"`   // median over the rounds
	BytesPerSecond float64 `json:"bytesPerSecond"` // median over the rounds, of page data
	Spread         float64 `json:"spread"`         // (fastest - slowest round) / median of bytes, or of requests without: how far to trust the figures
	P50Nanos       int64   `json:"p50Nanos"`       // latencies over all rounds
	P90Nanos       int64   `json:"p90Nanos"`
	P99Nanos       int64   `json:"p99Nanos"`
	P999Nanos      int64   `json:"p999Nanos,omitempty"`
	MaxNanos       int64   `json:"maxNanos"`
	ServerCores    float64 `json:"serverCores,omitempty"`    // cores busy in the server's process, mean; 0 if unknown
	ServerRSSBytes int64   `json:"serverRSSBytes,omitempty"` // the most at the end of any round
	ClientCores    float64 `json:"clientCores,omitempty"`    // cores busy in bench
	Busy           int64   `json:"busy,omitempty"`           // answers of 503 in all rounds
	// Ratios is the rate as a multiple of each baseline's in the same cell.
	Ratios map[string]float64 `json:"ratios,omitempty"`
	Rounds []Round            `json:"rounds"`
}

// row sums up a cell.
func (c *cell) row() Row {
	row := Row{Workload: c.workload.Name, Connections: c.connections, Target: c.target.Info().Name, Rounds: c.rounds,
		P50Nanos: int64(c.latencies.Percentile(50)), P90Nanos: int64(c.latencies.Percentile(90)),
		P99Nanos: int64(c.latencies.Percentile(99)), P999Nanos: int64(c.latencies.Percentile(99.9)), MaxNanos: int64(c.latencies.Percentile(100))}
	var ops, bytes, rates []float64
	var seconds, server, client float64
	for i := range c.rounds {
		r := &c.rounds[i]
		ops, bytes, rates = append(ops, r.opsPerSecond()), append(bytes, r.bytesPerSecond()), append(rates, r.rate())
		seconds, server, client = seconds+r.Seconds, server+r.ServerCPUSeconds, client+r.ClientCPUSeconds
		row.Busy += r.Busy
		row.ServerRSSBytes = max(row.ServerRSSBytes, r.ServerRSSBytes)
	}
	row.OpsPerSecond, row.BytesPerSecond = median(ops), median(bytes)
	if len(rates) > 0 {
		row.Spread = per(slices.Max(rates)-slices.Min(rates), median(rates))
	}
	row.ServerCores, row.ClientCores = per(server, seconds), per(client, seconds)
	return row
}

// median returns the middle value of v, the mean of the middle two where there are two, 0 where there is none.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// report sums up all cells that have a round.
func (r *runner) report(started time.Time) *Report {
	rep := &Report{Build: r.o.Build, Machine: ThisMachine(), Started: started, Seed: r.o.Seed, Rounds: r.o.Rounds,
		RoundNanos: int64(r.o.Duration), RoundBytes: r.o.RoundBytes, SetBytes: r.o.SetBytes, Command: r.o.Command, Refused: r.refused}
	if r.o.Mix != (Mix{}) {
		rep.Mix = &r.o.Mix
	}
	for _, t := range r.opened {
		rep.Targets = append(rep.Targets, t.Info())
	}
	for _, w := range r.o.Workloads {
		rep.Workloads = append(rep.Workloads, WorkloadInfo{w.Name, w.About})
		for _, n := range r.o.Connections {
			for _, c := range r.cells {
				if c.workload.Name == w.Name && c.connections == n && len(c.rounds) > 0 {
					rep.Rows = append(rep.Rows, c.row())
				}
			}
		}
	}
	rep.setRatios()
	return rep
}

// setRatios fills Row.Ratios from the rows of the baselines.
func (r *Report) setRatios() {
	for i := range r.Rows {
		row := &r.Rows[i]
		for _, t := range r.Targets {
			base := r.Row(row.Workload, row.Connections, t.Name)
			if !t.Baseline || t.Name == row.Target || base == nil || base.rate() == 0 {
				continue
			}
			if row.Ratios == nil {
				row.Ratios = make(map[string]float64)
			}
			row.Ratios[t.Name] = row.rate() / base.rate()
		}
	}
}

// rate is what rows are compared by: bytes, or requests where they move no page data.
func (r *Row) rate() float64 {
	if r.BytesPerSecond > 0 {
		return r.BytesPerSecond
	}
	return r.OpsPerSecond
}

// workloads says what the rows are, in their order, also of a report that does not.
func (r *Report) workloads() []WorkloadInfo {
	if r.Workloads != nil {
		return r.Workloads
	}
	var list []WorkloadInfo
	for _, row := range r.Rows {
		if !slices.ContainsFunc(list, func(w WorkloadInfo) bool { return w.Name == row.Workload }) {
			list = append(list, WorkloadInfo{Name: row.Workload})
		}
	}
	for i := range list {
		for _, w := range workloads {
			if w.Name == list[i].Name {
				list[i].About = w.About
			}
		}
	}
	return list
}

// Row returns the row of a cell, nil if it was not measured.
func (r *Report) Row(workload string, connections int, target string) *Row {
	i := slices.IndexFunc(r.Rows, func(row Row) bool {
		return row.Workload == workload && row.Connections == connections && row.Target == target
	})
	if i < 0 {
		return nil
	}
	return &r.Rows[i]
}

// WriteJSON writes the report as indented JSON.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
