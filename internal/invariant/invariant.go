// Package invariant holds the checks of promises we make to ourselves. A broken one is a bug in this program, never the
// fault of a client or a disk.
package invariant

import "fmt"

// Check panics in test builds if ok is false; in production builds it does nothing. Guard an expensive argument with
// if invariant.Enabled.
func Check(ok bool, format string, args ...any) {
	if Enabled && !ok {
		panic("BUG: " + fmt.Sprintf(format, args...))
	}
}
