//go:build unix

package pagestore

import (
	"syscall"
	"testing"
)

// startCPU returns a function that returns the processor time of the whole process since, in nanoseconds. It says more
// than the time on the clock while others share the machine.
func startCPU(b *testing.B) (since func() float64) {
	cpu := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	before := cpu()
	return func() float64 { return float64(cpu() - before) }
}

// reportCPU reports the processor time for each operation. Call what it returns at the end.
func reportCPU(b *testing.B) func() {
	since := startCPU(b)
	return func() { b.ReportMetric(since()/float64(b.N), "cpu-ns/op") }
}
