//go:build invariants || race

package invariant

// Enabled reports whether expensive checks are compiled in: in test builds (tags invariants or race).
const Enabled = true
