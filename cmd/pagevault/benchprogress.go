package main

import (
	"fmt"
	"io"
	"time"

	"pagevault/bench"
)

// benchProgress tells on a terminal what is going on, on one line that goes on changing; elsewhere, when a round begins.
func benchProgress(w io.Writer) *bench.Events {
	if !isTerminal(w) {
		round := 0
		return &bench.Events{Round: func(e bench.RoundEvent) {
			if e.Round != round {
				round = e.Round
				fmt.Fprintf(w, "round %d of %d\n", e.Round, e.Rounds)
			}
		}}
	}
	const clear = "\r\x1b[K"
	return &bench.Events{
		Preparing: func(target, workload string) { fmt.Fprintf(w, clear+"preparing %s %s", target, workload) },
		Round:     func(e bench.RoundEvent) { fmt.Fprint(w, clear+roundLine(e)) },
		Done:      func() { fmt.Fprint(w, clear) },
	}
}

// roundLine fits a terminal of 100 columns.
func roundLine(e bench.RoundEvent) string {
	done := float64(e.Done) / float64(e.Total)
	left := time.Duration(float64(e.Elapsed)/done) - e.Elapsed
	return fmt.Sprintf("%3.0f %% %v left | round %d of %d | %s × %d | %s: %.0f MB/s %.0f ops/s", done*100, left.Round(time.Second),
		e.Round, e.Rounds, e.Workload, e.Connections, e.Target, e.BytesPerSecond/1e6, e.OpsPerSecond)
}
