package conform

import (
	"strings"
	"time"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/op"
)

// refusedOperations goes through the operation table: every row that is refused answers what the table says, and every
// operation that is done refuses what is listed as not honoured. Nothing of it succeeds and nothing changes anything.
func refusedOperations(t T, env *Env) {
	w := env.wire(t)
	w.part("rows", refusedRows)
	w.part("headers and parameters", refusedParts)
	w.part("conditions", refusedConditions)
	w.part("on snapshots", refusedOnSnapshots)
	w.part("keys and scopes", refusedEncryption)
}

// refusedRows asks for each refused operation as a client would, for resources that exist.
func refusedRows(w *wire) {
	b := w.pageBlob(4 * page)
	w.update(b, 0, fill(90, 2*page)).ok(201)
	at := w.snapshot(b)
	source := w.env.URL + "/" + w.env.Account + string(b) + "?snapshot=" + at
	for i := range op.Table {
		row := &op.Table[i]
		if row.State != op.Refused {
			continue
		}
		w.part(row.Name, func(w *wire) {
			for _, method := range row.Methods {
				for _, r := range refusedTargets(row.Level, b) {
					c := w.do(method, r, refusedQuery(row))
					refusedHeaders(c, row, source)
					c.fails(pinned(row.Name, "APINotImplemented")) // 501, so that clients do not try again
					if pinned(row.Name, "APINotImplemented") != codeOf(row.Refusal) {
						w.Errorf("the table promises %s", codeOf(row.Refusal))
					}
				}
			}
		})
	}
}

// exceptions are the refusals that do not get the code of their kind.
var exceptions = map[string]string{}

// pinned is the code that a refused operation, header or parameter must get.
func pinned(what, usual string) string {
	if code, ok := exceptions[what]; ok {
		return code
	}
	return usual
}

func refusedTargets(level op.Level, b ref) []ref {
	switch level {
	case op.Service:
		return []ref{"/"}
	case op.Container:
		return []ref{b.container()}
	case op.Blob:
		return []ref{b, b.container().blob("none")}
	}
	return []ref{"/", b.container(), b}
}

func refusedQuery(row *op.Row) string {
	var parts []string
	if row.Restype != "" {
		parts = append(parts, "restype="+row.Restype)
	}
	if row.Comp != "" {
		parts = append(parts, "comp="+row.Comp)
	}
	// What the operations want beside it; the others do not mind.
	return strings.Join(append(parts, "blockid=AAAA", "copyid="+leaseA, "where=a%3D%27b%27"), "&")
}

// refusedHeaders adds what selects the operation and what it requires, from the row's Selector: "name: value, name…".
func refusedHeaders(c *call, row *op.Row, source string) {
	values := map[string]string{"x-ms-copy-source": source}
	for part := range strings.SplitSeq(row.Selector, ", ") {
		name, value, ok := strings.Cut(part, ": ")
		if !ok {
			value = values[name]
		}
		if name != "" {
			c.h(name, value)
		}
	}
	switch row.ID {
	case op.IncrementalCopyBlob:
		c.h("x-ms-copy-source", source)
	case op.PutPageFromURL:
		c.hs("x-ms-range", "bytes=512-1023", "x-ms-source-range", "bytes=0-511")
	case op.QueryBlobContents:
		c.b([]byte("<Body/>"))
	}
}

// codeOf names a code of the server's table as Codes does.
func codeOf(c azerr.Code) string {
	switch c {
	case azerr.NotModified:
		return "NotModified"
	case azerr.InvalidBearerToken:
		return "InvalidBearerToken"
	}
	return c.Wire()
}

// doneRequests are requests for every operation that is done, each valid as it stands.
func doneRequests(w *wire, b ref, at string) map[op.ID]func() *call {
	c := b.container()
	fresh := "/" + ref(w.env.unique())
	blocks, log := c.blob("blocks"), c.blob("log")
	w.putBlob(blocks, []byte("content")).ok(201)
	w.createAppend(log).ok(201)
	metadata := func(r ref, query string) func() *call {
		return func() *call { return w.put(r, query).h("x-ms-meta-a", "1") }
	}
	get := func(r ref, query string) func() *call { return func() *call { return w.get(r, query) } }
	return map[op.ID]func() *call{
		op.ListContainers:       get("/", "comp=list"),
		op.GetServiceProperties: get("/", "restype=service&comp=properties"),
		op.GetServiceStats:      func() *call { return w.secondary(w.get("/", "restype=service&comp=stats")) },
		op.SetServiceProperties: func() *call {
			return w.put("/", "restype=service&comp=properties").b([]byte("<StorageServiceProperties/>"))
		},
		op.CORSPreflight: func() *call {
			return w.preflight(b, "Origin", "http://example.org", "Access-Control-Request-Method", "GET")
		},
		op.ServiceBatch:               func() *call { return w.batch("/", w.delete(b, "").h("If-Match", otherETag)) },
		op.ContainerBatch:             func() *call { return w.batch(c, w.delete(b, "").h("If-Match", otherETag)) },
		op.FindBlobsByTags:            get("/", "comp=blobs&where=a%3D'b'"),
		op.FindBlobsByTagsInContainer: get(c, "restype=container&comp=blobs&where=a%3D'b'"),
		op.GetBlobTags:                get(b, "comp=tags"),
		op.SetBlobTags:                func() *call { return w.setTags(b, "a", "b") },
		op.GetAccountInformation:      get("/", "restype=account&comp=properties"),
		op.CreateContainer:            metadata(fresh, "restype=container"),
		op.GetContainerProperties:     get(c, "restype=container"),
		op.GetContainerMetadata:       get(c, "restype=container&comp=metadata"),
		op.SetContainerMetadata:       metadata(c, "restype=container&comp=metadata"),
		op.GetContainerACL:            get(c, "restype=container&comp=acl"),
		op.SetContainerACL:            func() *call { return w.put(c, "restype=container&comp=acl") },
		op.DeleteContainer:            func() *call { return w.delete(c, "restype=container") },
		op.LeaseContainer:             func() *call { return w.acquire(c, leaseA, 15) },
		op.RestoreContainer:           func() *call { return w.restore(c, "0000000000000001") },
		op.UndeleteBlob:               func() *call { return w.put(b, "comp=undelete") },
		op.ListBlobs:                  get(c, "restype=container&comp=list"),
		op.PutPageBlob:                func() *call { return w.create(b, page) },
		op.GetBlob:                    get(b, ""),
		op.GetBlobProperties:          func() *call { return w.head(b, "") },
		op.DeleteBlob:                 func() *call { return w.delete(b, "").h("x-ms-delete-snapshots", "include") },
		op.SetBlobProperties:          func() *call { return w.put(b, "comp=properties").h("x-ms-blob-content-type", "a/b") },
		op.GetBlobMetadata:            get(b, "comp=metadata"),
		op.SetBlobMetadata:            metadata(b, "comp=metadata"),
		op.LeaseBlob:                  func() *call { return w.acquire(b, leaseA, 15) },
		op.SnapshotBlob:               metadata(b, "comp=snapshot"),
		op.CopyBlob:                   func() *call { return w.copy(c.blob("copy"), b, "") },
		op.PutPageFromURL:             func() *call { return w.pagesFrom(b, 0, page, b, 0, page) },
		op.PutBlobFromURL:             func() *call { return w.blobFrom(c.blob("from"), b) },
		op.CopyBlobFromURL:            func() *call { return w.syncCopy(c.blob("from"), b) },
		op.PutBlockFromURL:            func() *call { return w.blockFrom(c.blob("from"), "AAAA", b, 0, 0) },
		op.AppendBlockFromURL:         func() *call { return w.appendFrom(c.blob("from"), b, 0, 0) },
		op.IncrementalCopyBlob: func() *call {
			return w.put(c.blob("incremental"), "comp=incrementalcopy").h("x-ms-copy-source", w.url(b)+"?snapshot="+at)
		},
		op.AbortCopyBlob:            func() *call { return w.put(b, "comp=copy&copyid="+leaseA).h("x-ms-copy-action", "abort") },
		op.SetBlobTier:              func() *call { return w.tierOf(b, "P10") },
		op.SetImmutabilityPolicy:    func() *call { return w.policy(b, "", "Unlocked", policyTime) },
		op.DeleteImmutabilityPolicy: func() *call { return w.delete(b, "comp=immutabilityPolicies") },
		op.SetLegalHold:             func() *call { return w.hold(b, "", "true") },
		op.PutPage:                  func() *call { return w.update(b, 0, fill(91, page)) },
		op.ClearPages:               func() *call { return w.clear(b, 0, page) },
		op.GetPageRanges:            get(b, "comp=pagelist"),
		op.GetPageRangesDiff:        get(b, "comp=pagelist&prevsnapshot="+at),
		op.PutBlockBlob:             func() *call { return w.putBlob(blocks, []byte("content")) },
		op.PutBlock:                 func() *call { return w.block(blocks, "a", []byte("content")) },
		op.PutBlockList:             func() *call { return w.blockList(blocks) },
		op.GetBlockList:             get(blocks, "comp=blocklist"),
		op.PutAppendBlob:            func() *call { return w.createAppend(log) },
		op.AppendBlock:              func() *call { return w.appendTo(log, []byte("content")) },
		op.SealAppendBlob:           func() *call { return w.put(log, "comp=seal") },
		op.GetUserDelegationKey: func() *call {
			return w.do("POST", "/", userKeyQuery[1:]).b([]byte("<KeyInfo><Expiry>" + w.later(time.Hour) + "</Expiry></KeyInfo>"))
		},
	}
}

// forDone calls f for every operation that is done, with a valid request for it.
func forDone(w *wire, f func(w *wire, row *op.Row, request func() *call)) {
	b := w.pageBlob(2 * page)
	w.update(b, 0, fill(92, page)).ok(201)
	requests := doneRequests(w, b, w.snapshot(b))
	for i := range op.Table {
		row := &op.Table[i]
		request := requests[row.ID]
		if row.State == op.Refused {
			continue
		}
		if request == nil {
			w.Errorf("the suite has no request for %s", row.Name)
			continue
		}
		w.part(row.Name, func(w *wire) { f(w, row, func() *call { c := request(); c.w = w; return c }) })
	}
}

// refusedParts: headers and parameters that would change what is done, and are not honoured, refuse the request.
func refusedParts(w *wire) {
	forDone(w, func(w *wire, row *op.Row, request func() *call) {
		for i := range op.Refusals {
			f := &op.Refusals[i]
			if f.Rows != nil && !containsID(f.Rows, row.ID) || containsID(f.But, row.ID) {
				continue
			}
			if f.Query != "" {
				request().q(f.Query, "anything").fails("UnsupportedQueryParameter", "QueryParameterName", f.Query)
				continue
			}
			// A header that selects another operation does that instead.
			if name := f.Header.String(); name != "x-ms-copy-source" || row.Level != op.Blob {
				request().h(name, "anything").fails(pinned(name, "UnsupportedHeader"), "HeaderName", name)
			}
		}
	})
}

func containsID(ids []op.ID, id op.ID) bool {
	for _, x := range ids {
		if x == id {
			return true
		}
	}
	return false
}

// refusedConditions: a condition that an operation does not look at must not seem to hold.
func refusedConditions(w *wire) {
	headers := []struct {
		bit         op.Conditions
		name, value string
	}{
		{op.IfMatch, "If-Match", "*"}, {op.IfNoneMatch, "If-None-Match", otherETag}, {op.IfModifiedSince, "If-Modified-Since", w.ago(1e12)},
		{op.IfUnmodifiedSince, "If-Unmodified-Since", w.ago(-1e12)}, {op.IfSequence, "x-ms-if-sequence-number-le", "5"},
		{op.IfSequence, "x-ms-if-sequence-number-lt", "5"}, {op.IfSequence, "x-ms-if-sequence-number-eq", "0"},
		{op.IfTags, "x-ms-if-tags", "NOT a = 'b'"}, {op.IfBlob, "x-ms-blob-if-match", "*"},
		{op.IfBlob, "x-ms-blob-if-none-match", otherETag}, {op.IfBlob, "x-ms-blob-if-modified-since", w.ago(1e12)},
		{op.IfBlob, "x-ms-blob-if-unmodified-since", w.ago(-1e12)},
	}
	forDone(w, func(w *wire, row *op.Row, request func() *call) {
		for _, h := range headers {
			if row.Conditions&h.bit == 0 {
				request().h(h.name, h.value).fails("ConditionHeadersNotSupported")
			}
		}
	})
}

// refusedOnSnapshots: what goes to the base blob is not for a snapshot.
func refusedOnSnapshots(w *wire) {
	b := w.pageBlob(page)
	at := w.snapshot(b)
	requests := doneRequests(w, b, at)
	for i := range op.Table {
		if row := &op.Table[i]; row.State != op.Refused && row.Level == op.Blob && !row.Snapshot {
			request := requests[row.ID]()
			request.w = w
			request.q("snapshot", at).fails("InvalidQueryParameterValue", "QueryParameterName", "snapshot", "QueryParameterValue", at)
		}
	}
}
