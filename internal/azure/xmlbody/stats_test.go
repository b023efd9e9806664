package xmlbody

import (
	"testing"
	"time"
)

func TestServiceStats(t *testing.T) {
	golden(t, "stats", AppendServiceStats(nil, "live", time.Date(2026, 11, 30, 6, 5, 4, 3, time.UTC)))
}
