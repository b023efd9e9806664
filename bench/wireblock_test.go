package bench

import (
	"net/http"
	"strings"
	"testing"
)

// blockWorkloads are those of block blobs and append blobs.
var blockWorkloads = []string{"put-1k-blob", "get-1k-blob", "put-block-4m", "get-block-4m", "append-4k"}

// TestBlocks runs the workloads of block blobs and append blobs on a checked endpoint and the null server.
func TestBlocks(t *testing.T) {
	f := &fake{}
	o := tiny(newWire(t, WireOptions{Name: "fake", URL: startFake(t, f)}), newNullTarget(t))
	o.Workloads = named(t, blockWorkloads...)
	rep, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if want := 2 * 2 * len(blockWorkloads); len(rep.Rows) != want {
		t.Errorf("%d rows, want %d", len(rep.Rows), want)
	}
	for _, row := range rep.Rows {
		if row.OpsPerSecond <= 0 || row.BytesPerSecond <= 0 {
			t.Errorf("row makes no sense: %+v", row)
		}
	}
	uploads, logs := 0, 0
	for path, b := range f.mu.blobs {
		switch {
		case strings.Contains(path, "/put-1k-blob/") && len(b.data) != tinyBytes:
			t.Errorf("%s has %d bytes", path, len(b.data))
		case strings.Contains(path, "/put-block-4m/"):
			uploads++
			if len(b.data) != uploadBlocks*requestMax || b.blocks != nil {
				t.Errorf("%s has %d bytes, and %d blocks that are in no blob", path, len(b.data), len(b.blocks))
			}
		case strings.Contains(path, "/append-4k/"):
			logs++
			if len(b.data) == 0 || len(b.data)%appendBytes != 0 {
				t.Errorf("%s has %d bytes", path, len(b.data))
			}
		}
	}
	if uploads == 0 || logs != (1+3)*2 { // one blob a connection and round
		t.Errorf("%d uploads and %d append blobs", uploads, logs)
	}
}

// TestBlocksCompared: what is read of block blobs is looked at.
func TestBlocksCompared(t *testing.T) {
	for _, name := range []string{"get-1k-blob", "get-block-4m"} {
		f := &fake{spoil: func(r *http.Request, p []byte) { p[0]++ }}
		o := tiny(newWire(t, WireOptions{Name: "fake", URL: startFake(t, f)}))
		o.Workloads = named(t, name)
		if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "not the data that was written") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
