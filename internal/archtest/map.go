package archtest

// A folder is one row of the import map.
type folder struct {
	dir string
	// may lists the trees of ours that the folder imports, besides leaves and its own subfolders. A tree is a folder
	// with everything below it.
	may []string
	// tests lists trees that only its tests import, besides testkit.
	tests []string
}

// leaves may be imported by everybody and import nothing of ours.
var leaves = []string{"internal/clock", "internal/digest", "internal/invariant"}

// below is what the tests of each storage layer may reach down to, to build what they stand on.
var below = struct{ blobstore, server []string }{
	blobstore: []string{"replication"},
	server:    []string{"pagestore", "replication"},
}

// importMap lists every folder that holds Go code. Direction is downwards: cmd, server, blobstore, pagestore,
// replication. vault, agent, bench and portal reach stored bytes only through the wire protocol, so that each of their
// features also tests the server.
var importMap = []folder{
	{dir: "cmd/pagevault", may: []string{"server", "blobstore", "pagestore", "replication", "internal/azure", "internal/testkit/conform", "bench"}, tests: []string{"internal/testkit/formatreader"}},

	{dir: "server", may: []string{"blobstore", "internal/azure"}, tests: below.server},
	{dir: "blobstore", may: []string{"pagestore", "internal/azure"}, tests: below.blobstore},
	{dir: "blobstore/immutable", may: []string{"internal/azure"}},
	{dir: "blobstore/lease", may: []string{"internal/azure"}},
	{dir: "blobstore/tier", may: []string{"internal/azure"}},
	{dir: "pagestore", may: []string{"replication"}},
	{dir: "pagestore/pagemap"},
	{dir: "pagestore/refcount", may: []string{"pagestore/pagemap"}},
	{dir: "pagestore/seal"},
	{dir: "pagestore/frame", may: []string{"pagestore/pagemap", "pagestore/seal"}},
	{dir: "pagestore/gc"},
	{dir: "replication"},
	{dir: "replication/roster", may: []string{"replication/placement"}},
	{dir: "replication/segment", may: []string{"replication/roster", "replication/placement"}},
	{dir: "replication/placement"},
	{dir: "replication/stripe"},

	{dir: "vault"},
	{dir: "agent"},
	{dir: "portal", may: []string{"vault"}},
	{dir: "bench"},

	{dir: "internal/clock"},
	{dir: "internal/digest"},
	{dir: "internal/digest/lanes"},
	{dir: "internal/digest/lanes/gen"},
	{dir: "internal/invariant"},
	{dir: "internal/azure/azerr", may: []string{"internal/azure"}},
	{dir: "internal/azure/batch", may: []string{"internal/azure"}},
	{dir: "internal/azure/bearer", may: []string{"internal/azure"}},
	{dir: "internal/azure/cond", may: []string{"internal/azure"}},
	{dir: "internal/azure/header", may: []string{"internal/azure"}},
	{dir: "internal/azure/op", may: []string{"internal/azure"}},
	{dir: "internal/azure/op/gendoc", may: []string{"internal/azure"}},
	{dir: "internal/azure/query", may: []string{"internal/azure"}},
	{dir: "internal/azure/sas", may: []string{"internal/azure"}},
	{dir: "internal/azure/signing", may: []string{"internal/azure"}},
	{dir: "internal/azure/tagexpr", may: []string{"internal/azure"}},
	{dir: "internal/azure/xmlbody", may: []string{"internal/azure"}},
	{dir: "internal/azure/xmltext"},
	{dir: "internal/azure/xsm"},
	{dir: "internal/archtest"},
	{dir: "internal/testkit", may: []string{"internal/azure"}},
	{dir: "internal/testkit/conform", may: []string{"internal/testkit", "internal/azure"}, tests: []string{"server", "blobstore", "pagestore", "replication"}},
	{dir: "internal/testkit/faultproxy"},
	{dir: "internal/testkit/formatreader", tests: []string{"blobstore", "pagestore", "replication", "internal/azure"}},
	{dir: "internal/testkit/e2e", may: []string{"internal/testkit", "internal/azure"}},
}

// A door is a dependency that only some folders may import, so that it can be replaced in one place.
type door struct {
	path  string   // import path, and with it everything below it
	but   []string // packages below path that the rule does not cover
	opens []string // trees that may import it
	tests bool     // tests anywhere may import it too
	why   string
}

var doors = []door{
	{path: "github.com/cockroachdb/pebble/v2", but: []string{"github.com/cockroachdb/pebble/v2/vfs"},
		opens: []string{"pagestore", "cmd"}, why: "the index is pagestore's; cmd sizes its cache"},
	{path: "github.com/cockroachdb/pebble/v2/vfs", opens: []string{"pagestore", "replication", "cmd"}, tests: true,
		why: "the seam to the disk, handed down by cmd"},
	{path: "github.com/valyala/fasthttp", opens: []string{"server", "cmd", "bench"},
		why: "HTTP is server's; cmd runs the admin listener; bench compares with an empty fasthttp server"},
	{path: "github.com/zeebo/blake3", opens: []string{"internal/digest", "internal/testkit/formatreader"},
		why: "content has one kind of name; a reader written from the format's description shares no code"},
	{path: "github.com/klauspost/compress", opens: []string{"pagestore", "bench", "internal/testkit/formatreader"},
		why: "what is stored is compressed in one place; bench simulates other ways"},
	{path: "github.com/klauspost/reedsolomon", opens: []string{"replication"}, why: "redundancy is replication's"},
	{path: "github.com/Azure/azure-sdk-for-go", opens: []string{"vault", "agent", "bench", "internal/testkit"}, tests: true,
		why: "the server is not written with its clients' code"},
	{path: "github.com/go-jose/go-jose/v4", opens: []string{"internal/azure/bearer", "internal/testkit"}, tests: true,
		why: "one place decides which signed tokens are believed; testkit signs some"},
	{path: "github.com/spf13/cobra", opens: []string{"cmd"}, why: "only cmd reads flags"},
}

// clockReaders are the files outside internal/clock that may read the system clock, with the reason.
var clockReaders = map[string]string{
	"internal/clock/clock.go": "it is the clock",
	"bench/stopwatch.go":      "durations of a measurement, on the monotonic clock",
}

// noCode are folders that hold Go files and are no package of the house.
var noCode = []string{"testdata", "build", "node_modules"}
