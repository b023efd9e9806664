//go:build unix

package pagestore

import (
	"syscall"
	"testing"
)

// reportCPU reports the processor time of the whole process for each operation, which says more than the time on the
// clock while others share the machine. Call what it returns at the end.
func reportCPU(b *testing.B) func() {
	cpu := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	before := cpu()
	return func() { b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op") }
}
