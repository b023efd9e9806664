//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// A meter counts the requests of a round and notes how long the slowest took.
type meter struct {
	mu struct {
		sync.Mutex
		reads, writes, failed  int
		slowestRead, slowWrite time.Duration
	}
}

// Do sends a request on and takes its time, for reads up to the header of the answer.
func (m *meter) Do(req *policy.Request) (*http.Response, error) {
	method := req.Raw().Method
	began := time.Now()
	resp, err := req.Next()
	took := time.Since(began)
	m.mu.Lock()
	defer m.mu.Unlock()
	if method == http.MethodGet || method == http.MethodHead {
		m.mu.reads++
		m.mu.slowestRead = max(m.mu.slowestRead, took)
	} else {
		m.mu.writes++
		m.mu.slowWrite = max(m.mu.slowWrite, took)
	}
	if err != nil || resp.StatusCode >= http.StatusInternalServerError {
		m.mu.failed++
	}
	return resp, err
}

// read notes what a read took to its last byte.
func (m *meter) read(took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.slowestRead = max(m.mu.slowestRead, took)
}

func (m *meter) failed() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.failed
}

func (m *meter) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprintf("%d writes, the slowest %v, %d reads, the slowest %v, %d failed",
		m.mu.writes, m.mu.slowWrite.Round(time.Millisecond), m.mu.reads, m.mu.slowestRead.Round(time.Millisecond), m.mu.failed)
}
