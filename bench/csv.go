package bench

import (
	"encoding/csv"
	"io"
	"slices"
	"strconv"
	"time"
)

// csvHead names the columns. They are added to, at the end, never renamed. Each line says when and of what it is, so that
// files of several runs can be joined.
var csvHead = []string{"started", "build", "workload", "connections", "target", "rounds", "ops_per_second", "bytes_per_second",
	"slowest_round", "fastest_round", "spread", "p50_us", "p90_us", "p99_us", "p99.9_us", "max_us", "server_cores",
	"server_rss_bytes", "client_cores", "answers_503"}

// WriteCSV writes a line for each row. Rates of rounds are in bytes, or in requests where no page data is moved; what is not
// known is empty.
func (r *Report) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	if err := c.Write(csvHead); err != nil {
		return err
	}
	for i := range r.Rows {
		if err := c.Write(r.csvLine(&r.Rows[i])); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

func (r *Report) csvLine(row *Row) []string {
	slowest, fastest := row.extremes()
	line := []string{r.Started.UTC().Format(time.RFC3339), r.Build, row.Workload, strconv.Itoa(row.Connections), row.Target,
		strconv.Itoa(len(row.Rounds)), number(row.OpsPerSecond), number(row.BytesPerSecond), number(slowest), number(fastest),
		strconv.FormatFloat(row.Spread, 'f', 3, 64), micros(row.P50Nanos), micros(row.P90Nanos), micros(row.P99Nanos),
		micros(row.P999Nanos), micros(row.MaxNanos), "", "", strconv.FormatFloat(row.ClientCores, 'f', 3, 64),
		strconv.FormatInt(row.Busy, 10)}
	if row.ServerRSSBytes > 0 {
		line[16], line[17] = strconv.FormatFloat(row.ServerCores, 'f', 3, 64), strconv.FormatInt(row.ServerRSSBytes, 10)
	}
	return line
}

// extremes returns the rates of the slowest and the fastest round; those of the row if it does not have its rounds.
func (r *Row) extremes() (slowest, fastest float64) {
	if len(r.Rounds) == 0 {
		return r.rate(), r.rate()
	}
	var rates []float64
	for i := range r.Rounds {
		rates = append(rates, r.Rounds[i].rate())
	}
	return slices.Min(rates), slices.Max(rates)
}

// number shows four digits at least, and none behind the point that mean nothing.
func number(v float64) string {
	if v >= 1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

func micros(nanos int64) string { return strconv.FormatFloat(float64(nanos)/1e3, 'f', 1, 64) }
