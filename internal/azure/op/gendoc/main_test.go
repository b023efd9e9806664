package main

import (
	"os"
	"strings"
	"testing"

	"pagevault/internal/azure/op"
)

// TestUpToDate compares the document with the table.
func TestUpToDate(t *testing.T) {
	got, err := os.ReadFile("../../../../docs/protocol-coverage.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != coverage() {
		t.Error("docs/protocol-coverage.md is not what the table says: run go generate ./internal/azure/op")
	}
}

func TestCoverage(t *testing.T) {
	doc := coverage()
	for _, line := range []string{
		"| Put Page | `PUT /container/blob?comp=page`, `x-ms-page-write: update` | 2009-09-19 | done | as Azure | TestPutPage | JavaScript, Python, az |\n",
		"| Get Container Metadata | `GET, HEAD /container?restype=container&comp=metadata` | 2009-09-19 | done | as Azure | TestGetContainerMetadata |  |\n",
		"| Get Blob Service Stats | `GET /?restype=service&comp=stats` | 2013-08-15 | done | as Azure, of the secondary address only, which shows the same data: always live, synchronised now | TestGetServiceStats | JavaScript, Python |\n",
		"| `versionid=` | this operation is not for versions | every operation but Get Blob, Get Blob Properties, Get Blob Metadata, Get Page Ranges, Get Page Ranges Diff, Get Block List, Get Blob Tags, Set Blob Tags, Set Blob Tier, Delete Blob, Set Blob Immutability Policy, Delete Blob Immutability Policy, Set Blob Legal Hold | 400 UnsupportedQueryParameter |\n",
		"| `x-ms-legal-hold` | this operation puts nothing on hold | every operation but Set Blob Legal Hold, Put Blob (page), Put Blob (block), Put Block List, Put Blob (append), Copy Blob, Copy Blob From URL | 400 UnsupportedHeader, unless `false` |\n",
	} {
		if !strings.Contains(doc, line) {
			t.Errorf("no line %s", line)
		}
	}
	authenticated := strings.Count(authentication, "\n| ")
	granted := 1
	for _, g := range op.Grants {
		if g.Letters != "" {
			granted++
		}
	}
	if n := strings.Count(doc, "\n| "); n != len(op.Table)+len(op.Refusals)+2+authenticated+granted {
		t.Errorf("%d rows for %d operations and %d refusals", n, len(op.Table), len(op.Refusals))
	}
}
