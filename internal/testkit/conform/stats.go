package conform

import (
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
)

// secondary sends a call to the account's second address.
func (w *wire) secondary(c *call) *call {
	c.root = "/" + w.env.Account + "-secondary"
	return c
}

func getServiceStats(t T, env *Env) {
	w := env.wire(t)
	const stats = "restype=service&comp=stats"
	w.part("through the SDK", func(w *wire) {
		got, err := w.sdkAt(env.URL+"/"+env.Account+"-secondary").GetStatistics(ctx, nil)
		w.must(err)
		if got.GeoReplication == nil || val(got.GeoReplication.Status) != service.BlobGeoReplicationStatusLive {
			w.Fatalf("geo-replication: %+v, want it live", got.GeoReplication)
		}
		// What the secondary address shows is what the primary has: it is never behind.
		if behind := env.Clock.Now().Sub(val(got.GeoReplication.LastSyncTime)).Abs(); behind > time.Minute {
			w.Errorf("last synchronised %v ago", behind)
		}
	})
	w.part("the document", func(w *wire) {
		for _, r := range []ref{"", "/"} {
			reply := w.secondary(w.get(r, stats)).ok(200)
			w.headers(reply, "Content-Type", "application/xml")
			root := w.xml(reply)
			w.equal("root", root.name, "StorageServiceStats")
			w.equal("children", root.names()+": "+root.child("GeoReplication").names(), "GeoReplication: Status LastSyncTime")
			_, err := time.Parse(time.RFC1123, root.value("GeoReplication", "LastSyncTime"))
			w.must(err)
		}
	})
	w.part("of the primary", func(w *wire) {
		w.get("/", stats).fails("InvalidQueryParameterValue", "QueryParameterName", "comp", "QueryParameterValue", "stats") // [K]
	})
}
