package conform

import (
	"fmt"
	"slices"
	"sync"
)

// ledger records the error codes that were provoked on purpose and found as promised.
type ledger struct {
	mu    sync.Mutex
	codes map[string]int // "status code" → times
}

func (l *ledger) enter(code string, status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.codes == nil {
		l.codes = map[string]int{}
	}
	l.codes[fmt.Sprintf("%d %s", status, code)]++
}

// add enters what another ledger has.
func (l *ledger) add(other *ledger) {
	other.mu.Lock()
	defer other.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.codes == nil {
		l.codes = map[string]int{}
	}
	for code, n := range other.codes {
		l.codes[code] += n
	}
}

// Provoked returns what the tests run so far have provoked and found right, each as "status code", sorted.
func (e *Env) Provoked() []string {
	e.ledger.mu.Lock()
	defer e.ledger.mu.Unlock()
	var codes []string
	for code := range e.ledger.codes {
		codes = append(codes, code)
	}
	slices.Sort(codes)
	return codes
}

// Missing returns those of Codes that no test run so far has provoked, sorted, each as "status code".
func (e *Env) Missing() []string {
	provoked := e.Provoked()
	var missing []string
	for _, c := range Codes {
		line := fmt.Sprintf("%d %s", c.Status, c.wire())
		if _, found := slices.BinarySearch(provoked, line); !found {
			missing = append(missing, line)
		}
	}
	slices.Sort(missing)
	return missing
}
