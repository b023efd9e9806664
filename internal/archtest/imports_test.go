package archtest

import (
	"slices"
	"strings"
	"testing"
)

// checkEdge returns why the import is forbidden, "" if it is allowed. row is the importing folder's.
func checkEdge(row folder, target string, test bool) string {
	switch {
	case within(target, leaves...) || within(target, row.dir):
		return ""
	case within(target, row.may...):
		return ""
	case test && (within(target, "internal/testkit") || within(target, row.tests...)):
		return ""
	case within(row.dir, target):
		return "a subfolder may not import its parent: hand in what it needs"
	}
	return "not in the import map"
}

// checkDoor returns why a folder may not import the package of somebody else, "" if it may.
func checkDoor(dir, importPath string, test bool) string {
	for _, d := range doors {
		if !within(importPath, d.path) || within(importPath, d.but...) {
			continue
		}
		if !within(dir, d.opens...) && !(test && d.tests) {
			return "only through " + strings.Join(d.opens, ", ") + " (" + d.why + ")"
		}
	}
	return ""
}

func TestImportMap(t *testing.T) {
	rows := map[string]folder{}
	for _, row := range importMap {
		if _, double := rows[row.dir]; double {
			t.Errorf("%s has two lines in the import map", row.dir)
		}
		rows[row.dir] = row
	}
	unlisted := map[string]bool{}
	for _, s := range sources(t) {
		row, ok := rows[s.dir]
		if !ok && !unlisted[s.dir] {
			unlisted[s.dir] = true
			t.Errorf("folder %s has no line in importMap (internal/archtest/map.go): say what it may import", s.dir)
		}
		for _, p := range s.imports {
			if within(p, module) && ok {
				target := strings.TrimPrefix(strings.TrimPrefix(p, module), "/")
				if why := checkEdge(row, target, s.test); why != "" {
					t.Errorf("%s imports %s: %s", s.name, p, why)
				}
			}
			if why := checkDoor(s.dir, p, s.test); why != "" {
				t.Errorf("%s imports %s: %s", s.name, p, why)
			}
		}
	}
}

// TestImportMapDirection shows that the map itself goes downwards: nobody may import what may import him.
func TestImportMapDirection(t *testing.T) {
	order := []string{"replication", "pagestore", "blobstore", "server", "cmd"}
	for _, row := range importMap {
		for _, tree := range row.may {
			mine := slices.IndexFunc(order, func(o string) bool { return within(row.dir, o) })
			its := slices.Index(order, tree)
			if mine >= 0 && its >= mine {
				t.Errorf("%s may import %s, which stands above it", row.dir, tree)
			}
		}
	}
	for _, row := range importMap {
		if within(row.dir, leaves...) && len(row.may)+len(row.tests) > 0 {
			t.Errorf("%s is a leaf and imports nothing of ours", row.dir)
		}
	}
}

// TestRulesBite feeds each rule what it must refuse and what it must let through.
func TestRulesBite(t *testing.T) {
	edge := func(dir, target string, test, allowed bool) {
		t.Helper()
		i := slices.IndexFunc(importMap, func(f folder) bool { return f.dir == dir })
		if i < 0 {
			t.Fatalf("no row for %s", dir)
		}
		if why := checkEdge(importMap[i], target, test); (why == "") != allowed {
			t.Errorf("%s imports %s (test: %v): allowed = %v (%s), want %v", dir, target, test, why == "", why, allowed)
		}
	}
	edge("server", "blobstore", false, true)
	edge("server", "blobstore/lease", false, true)
	edge("server", "pagestore", false, false) // handlers do not reach past blobstore
	edge("server", "pagestore", true, true)   // its tests build a store to serve
	edge("pagestore", "internal/azure/azerr", false, false)
	edge("pagestore", "internal/azure/azerr", true, false) // never heard of Azure, not even in tests
	edge("replication", "pagestore", true, false)
	edge("replication", "internal/clock", false, true)
	edge("replication/segment", "replication", false, false)
	edge("blobstore/lease", "blobstore", false, false)
	edge("bench", "blobstore", false, false)
	edge("internal/clock", "internal/digest", false, true)
	edge("server", "internal/testkit", false, false)
	edge("server", "internal/testkit", true, true)

	doorway := func(dir, importPath string, test, allowed bool) {
		t.Helper()
		if why := checkDoor(dir, importPath, test); (why == "") != allowed {
			t.Errorf("%s imports %s (test: %v): allowed = %v (%s), want %v", dir, importPath, test, why == "", why, allowed)
		}
	}
	doorway("pagestore", "github.com/cockroachdb/pebble/v2", false, true)
	doorway("pagestore", "github.com/cockroachdb/pebble/v2/bloom", false, true)
	doorway("replication", "github.com/cockroachdb/pebble/v2", false, false)
	doorway("replication", "github.com/cockroachdb/pebble/v2/vfs", false, true)
	doorway("replication/segment", "github.com/cockroachdb/pebble/v2/vfs/errorfs", true, true)
	doorway("server", "github.com/cockroachdb/pebble/v2/vfs", false, false)
	doorway("blobstore", "github.com/cockroachdb/pebble/v2/vfs", true, true)
	doorway("blobstore", "github.com/valyala/fasthttp", false, false)
	doorway("pagestore", "github.com/zeebo/blake3", true, false)
	doorway("server", "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob", false, false)
	doorway("server", "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob", true, true)
	doorway("server", "log/slog", false, true)
}
