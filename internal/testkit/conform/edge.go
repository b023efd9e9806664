package conform

import (
	"bufio"
	"bytes"
	"fmt"
	"net/url"
	"strings"
)

// versions: any well-formed version is served and echoed, also one that is newer than the server.
func versions(t T, env *Env) {
	w := env.wire(t)
	b := w.pageBlob(page)
	for _, v := range []string{"2009-09-19", "2011-08-18", "2012-02-12", "2013-08-15", "2014-02-14", "2015-02-21", "2017-11-09", "2019-12-12",
		"2021-12-02", "2025-11-05", "2026-12-06", "2027-03-07", "2030-01-01", "2099-12-31"} {
		for _, c := range []*call{w.get(b, ""), w.head(b, ""), w.get(b.container(), "restype=container&comp=list"),
			w.put(b, "comp=metadata").h("x-ms-meta-v", v)} {
			w.headers(c.h("x-ms-version", v).ok(200), "x-ms-version", v)
		}
		w.headers(w.get(b.container().blob("none"), "").h("x-ms-version", v).fails("BlobNotFound"), "x-ms-version", v)
	}
	for _, bad := range []string{"1", "latest", "2026/12/06", "2026-12-6", "26-12-06", "2026-12-06T00:00:00Z", "2026-12-06 x", "x2026-12-06",
		"2026-13-01", "2026-12-32", "2009-07-17", ""} { // the last well-formed one is older than page blobs
		w.get(b, "").h("x-ms-version", bad).fails("InvalidHeaderValue", "HeaderName", "x-ms-version", "HeaderValue", bad)
	}
	w.get(b, "").leave("x-ms-version").fails("MissingRequiredHeader", "HeaderName", "x-ms-version") // with a signature [D]
	// Before 2019-02-02 every Put Page was answered with the MD5 of its body [R].
	w.headers(w.update(b, 0, fill(110, page)).h("x-ms-version", "2018-11-09").ok(201), "Content-MD5", md5Of(fill(110, page)),
		"x-ms-content-crc64", "-")
}

// dispatch: what names no operation is an error, never another operation.
func dispatch(t T, env *Env) {
	w := env.wire(t)
	b := w.pageBlob(page)
	w.part("unknown comp and restype", func(w *wire) { dispatchUnknown(w, b) })
	w.part("methods", func(w *wire) { dispatchMethods(w, b) })
	w.part("queries", func(w *wire) {
		w.get(b, "COMP=metadata").ok(200)
		w.get(b, "Comp=MetaData").ok(200)
		w.get(b.container(), "RESTYPE=Container&Comp=LIST").ok(200)
		w.get(b, "timeout=5&whatever=1&sv=2020-01-01").ok(200)
		w.get(b, "comp=").ok(200)
	})
	w.part("client request ids", func(w *wire) {
		for _, id := range []string{"", "a", "with spaces and ~!@#$%^&*()", strings.Repeat("x", 1024), strings.Repeat("x", 1025), "tab\there", "\xE9"} {
			w.get(b, "").h("x-ms-client-request-id", id).ok(200)
			w.head(b, "").h("x-ms-client-request-id", id).ok(200)
			w.get(b.container().blob("none"), "").h("x-ms-client-request-id", id).fails("BlobNotFound")
			w.get(b, "").hs("x-ms-client-request-id", id, "If-None-Match", w.stamp(b).etag).notModified()
		}
	})
	w.part("request ids", func(w *wire) {
		seen := map[string]bool{}
		for range 50 {
			id := w.head(b, "").ok(200).get("x-ms-request-id")
			if seen[id] {
				w.Fatalf("request id %s again", id)
			}
			seen[id] = true
		}
	})
}

// dispatchUnknown: a comp or restype that nobody knows, or that belongs to another kind of resource.
func dispatchUnknown(w *wire, b ref) {
	c := b.container()
	for _, comp := range []string{"nonsense", "pagelist2", "%20", "blocks", "listing", "meta"} {
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE"} {
			for _, query := range []string{"comp=" + comp, "restype=container&comp=" + comp, "restype=service&comp=" + comp} {
				for _, r := range []ref{"/", c, b} {
					w.do(method, r, query).fails("InvalidQueryParameterValue")
				}
			}
		}
	}
	bad := func(r ref, query, name, value string) {
		w.Helper()
		w.get(r, query).fails("InvalidQueryParameterValue", "QueryParameterName", name, "QueryParameterValue", value)
	}
	bad(b, "comp=nonsense", "comp", "nonsense")
	bad(b, "comp=acl", "comp", "acl") // of a container only
	bad(c, "restype=blob", "restype", "blob")
	bad(b, "restype=container", "restype", "container")
	bad("/", "", "comp", "")
}

// dispatchMethods: a resource that does not take the method, and words that are no methods.
func dispatchMethods(w *wire, b ref) {
	c := b.container()
	for _, x := range []struct {
		r            ref
		query, wrong string
	}{
		{"/", "comp=list", "PUT DELETE HEAD PATCH"}, {"/", "restype=service&comp=properties", "DELETE POST"},
		{c, "restype=container", "POST PATCH"}, {c, "restype=container&comp=metadata", "DELETE POST"},
		{c, "restype=container&comp=list", "PUT DELETE POST HEAD"}, {c, "restype=container&comp=lease", "GET DELETE POST"},
		{b, "", "POST PATCH TRACE"}, {b, "comp=page", "GET HEAD DELETE POST"}, {b, "comp=pagelist", "PUT DELETE POST"},
		{b, "comp=metadata", "DELETE POST"}, {b, "comp=properties", "GET HEAD DELETE"}, {b, "comp=lease", "GET DELETE"},
		{b, "comp=snapshot", "GET POST DELETE"},
	} {
		for method := range strings.SplitSeq(x.wrong, " ") {
			w.do(method, x.r, x.query).fails("UnsupportedHttpVerb")
		}
	}
	for _, method := range []string{"FETCH", "get", "PUTT"} {
		w.do(method, b, "").fails("InvalidHttpVerb")
	}
}

// names: what may be a name, and how a path is read.
func names(t T, env *Env) {
	w := env.wire(t)
	c := w.container()
	w.part("limits", func(w *wire) {
		w.create(c.blob(strings.Repeat("n", 1024)), 0).ok(201)
		long := []string{"OutOfRangeInput", "InvalidResourceName", "InvalidUri"} // which of them is not known [?]
		w.create(c.blob(strings.Repeat("n", 1025)), 0).failsAny(long)
		w.create(c.blob(strings.Repeat("é", 1025)), 0).failsAny(long)
		w.create(c.blob(strings.Repeat("s/", 253)+"s"), 0).ok(201) // 254 segments
		w.create(c.blob(strings.Repeat("s/", 254)+"s"), 0).failsAny(long)
	})
	w.part("encoding", func(w *wire) {
		for _, bad := range []string{"/%", "/%4", "/%zz", "/a%g0", "/%ff%fe", "/%C3", "/%ED%A0%80"} {
			w.get(c+ref(bad), "").fails("InvalidUri")
			w.create(c+ref(bad), 0).fails("InvalidUri")
		}
		w.create(c.blob("x/y z"), 0).ok(201)
		for _, form := range []ref{"/x/y%20z", "/x%2Fy%20z", "/x%2fy%20z", "/%78/%79%20%7A"} {
			w.head(c+form, "").ok(200)
		}
		for _, other := range []ref{"/x//y%20z", "/X/y%20z", "/x/./y%20z", "/x/y+z", "/x/y%2520z", "/x/y%20z/"} {
			w.head(c+other, "").fails("BlobNotFound")
		}
	})
	w.part("containers in paths", func(w *wire) {
		for _, bad := range []ref{"/Upper/b", "/under_score/b", "//b", "/a--b/b", "/-x/b"} {
			w.get(bad, "").failsAny([]string{"InvalidResourceName", "InvalidUri", "OutOfRangeInput", "ContainerNotFound"})
			w.create(bad, 0).failsAny([]string{"InvalidResourceName", "InvalidUri", "OutOfRangeInput", "ContainerNotFound"})
		}
	})
	w.part("a slash at the end", func(w *wire) {
		w.get(c+"/", "restype=container").ok(200)
		w.get(c+"/", "restype=container&comp=list").ok(200)
		w.get(c+"/", "").fails("InvalidUri") // neither a container nor a blob
		w.create(c+"/", 0).fails("InvalidUri")
	})
	w.part("the root container", rootContainer)
}

// rootContainer: $root is made like any other; a path of one segment without restype is a blob in it.
func rootContainer(w *wire) {
	root := ref("/$root")
	if r := w.put(root, "restype=container").send(); r.status == 201 {
		w.Cleanup(func() { w.remove(root) })
	} else if r.status != 409 {
		w.Fatalf("%v", r)
	}
	name := w.env.unique()
	b := "/" + ref(name)
	w.create(b, page).ok(201)
	w.Cleanup(func() { w.delete(b, "").send() })
	w.update(b, 0, fill(120, page)).ok(201)
	w.same("by its short path", w.content(b), fill(120, page))
	w.same("by its long path", w.content(root+b), fill(120, page))
	got := listedNames(w.xml(w.get(root, "restype=container&comp=list").q("prefix", name).ok(200)))
	w.equal("listed", strings.Join(got, " "), name)
	w.create(root+"/a/b", page).failsAny([]string{"InvalidResourceName", "InvalidUri"}) // no slashes there [D]
	w.get(b, "restype=container").fails("ContainerNotFound")
}

// transport: how requests come over a connection.
func transport(t T, env *Env) {
	w := env.wire(t)
	w.part("expect", func(w *wire) {
		b := w.pageBlob(page)
		k := w.update(b, 0, fill(130, page)).h("Expect", "100-continue")
		k.expect = true
		w.headers(k.ok(201), interim, "100")
		w.same("content", w.content(b), fill(130, page))
		k = w.update(b, 0, fill(131, page)).hs("Expect", "100-continue", "x-ms-lease-id", leaseA)
		k.expect = true
		k.fails("LeaseNotPresentWithBlobOperation")
		k = w.update(b, page, fill(131, page)).h("Expect", "100-continue")
		k.expect = true
		k.fails("InvalidPageRange")
		// What the headers alone decide is decided before the body is asked for.
		k = w.update(b, 0, fill(131, page)).h("Expect", "100-continue")
		k.expect, k.sign.key = true, "AAAA"
		w.headers(k.fails("AuthenticationFailed"), interim, "-")
		k = w.update(b, 0, fill(131, pageWrite+page)).h("Expect", "100-continue")
		k.expect = true
		w.headers(k.fails("RequestBodyTooLarge"), interim, "-")
		w.update(b, 0, fill(131, page)).h("Expect", "miracles").fails("InvalidHeaderValue", "HeaderName", "Expect")
	})
	w.part("lengths", func(w *wire) {
		b := w.pageBlob(page)
		// Pages need a length; chunks do not tell one.
		k := w.update(b, 0, nil).leave("Content-Length").h("Transfer-Encoding", "chunked")
		k.fields[1].value = "bytes=0-511"
		k.b(append(append([]byte("200\r\n"), fill(132, page)...), "\r\n0\r\n\r\n"...)).fails("MissingContentLengthHeader")
	})
	w.part("the end of a connection", func(w *wire) {
		b := w.pageBlob(page)
		for _, k := range []*call{w.get(b, ""), w.update(b, 0, fill(138, page))} {
			if r := k.h("Connection", "close").send(); r.status/100 != 2 || !r.closes {
				w.Errorf("asked to close:\n%v", r)
			}
		}
		w.same("content", w.content(b), fill(138, page))
	})
	w.part("pipelines", pipelines)
	w.part("cut off", cutOff)
	w.part("smuggling", smuggling)
	w.part("sizes", func(w *wire) {
		b := w.pageBlob(page)
		w.get(b, "").h("x-vendor", strings.Repeat("v", 8<<10)).ok(200)
		r := w.get(b, "").h("x-vendor", strings.Repeat("v", 1<<20)).send()
		if r.status != 431 && r.status != 400 {
			w.Errorf("a header of 1 MiB:\n%v", r)
		}
		w.get(b, "").ok(200)
	})
}

// raw exchanges bytes over a connection of its own: whole is written, then replies are read for the methods.
func (w *wire) raw(whole []byte, methods ...string) (replies []*reply, err error) {
	w.Helper()
	c := &connection{url: w.env.URL}
	w.must(c.dial())
	defer c.drop()
	if _, err = c.conn.Write(whole); err != nil {
		return nil, err
	}
	in := bufio.NewReader(c.conn)
	for _, method := range methods {
		r, err := readReply(in, method)
		if err != nil {
			return replies, err
		}
		checkReply(w.T, r)
		w.env.checkVersions(w.T, r)
		replies = append(replies, r)
	}
	return replies, nil
}

// bytes is the request as it goes on the wire.
func (c *call) bytes() []byte {
	m := c.message()
	return append(m.head(), m.body...)
}

// pipelines: requests sent without waiting are answered one after the other, in order.
func pipelines(w *wire) {
	b := w.pageBlob(4 * page)
	data := fill(133, 4*page)
	whole := bytes.Join([][]byte{w.update(b, 0, data).bytes(), w.head(b, "").bytes(), w.get(b.container().blob("none"), "").bytes(),
		w.get(b, "").h("x-ms-range", "bytes=512-1023").bytes(), w.update(b, 1, data).bytes(), w.get(b, "").bytes()}, nil)
	replies, err := w.raw(whole, "PUT", "HEAD", "GET", "GET", "PUT", "GET")
	w.env.album.forget()
	w.must(err)
	statuses := ""
	for _, r := range replies {
		statuses += fmt.Sprint(r.status, " ")
	}
	w.equal("statuses", statuses, "201 200 404 206 400 200 ")
	w.same("the range", replies[3].body, data[page:2*page])
	w.same("the whole", replies[5].body, data)
}

// cutOff: an upload that ends early leaves no trace, wherever it ends.
func cutOff(w *wire) {
	b := w.pageBlob(pageWrite)
	old := fill(134, pageWrite)
	w.update(b, 0, old).ok(201)
	before := w.stamp(b)
	whole := w.update(b, 0, fill(135, pageWrite)).bytes()
	for _, n := range []int{len(whole) - 1, len(whole) - page, len(whole) / 2, len(whole) - pageWrite, 100, 1} {
		c := &connection{url: w.env.URL}
		w.must(c.dial())
		if _, err := c.conn.Write(whole[:n]); err != nil {
			w.Errorf("%d bytes: %v", n, err)
		}
		closeWrite(c)
		// The server may answer 4xx or close; either way it has then seen the end.
		if r, err := readReply(bufio.NewReader(c.conn), "PUT"); err == nil && r.status < 400 {
			w.Errorf("%d bytes of %d: %v", n, len(whole), r)
		}
		c.drop()
		w.unstamped(fmt.Sprint(n, " bytes"), before, b)
	}
	w.same("content", w.content(b), old)
}

// closeWrite says that nothing more will be sent.
func closeWrite(c *connection) {
	if tcp, ok := c.conn.(interface{ CloseWrite() error }); ok {
		tcp.CloseWrite()
	}
}

// smuggling: requests whose length can be read in two ways, or whose headers can, are refused and the connection ends.
func smuggling(w *wire) {
	b := w.pageBlob(page)
	plain := string(w.update(b, 0, fill(136, page)).bytes())
	chunked := strings.Replace(plain, "\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n", 1)
	for what, request := range byKey(map[string]string{
		"length and chunks":    chunked,
		"a body and no length": string(w.update(b, 0, fill(136, page)).leave("Content-Length").bytes()),
		"two lengths":          strings.Replace(plain, "\r\n\r\n", "\r\nContent-Length: 5\r\n\r\n", 1),
		"a bad length":         strings.Replace(plain, "Content-Length: 512", "Content-Length: +512", 1),
		"a negative length":    strings.Replace(plain, "Content-Length: 512", "Content-Length: -1", 1),
		"a folded header":      strings.Replace(plain, "\r\n\r\n", "\r\nx-fold: a\r\n b\r\n\r\n", 1),
		"space before colon":   strings.Replace(plain, "\r\n\r\n", "\r\nx-space : a\r\n\r\n", 1),
		"a line without name":  strings.Replace(plain, "\r\n\r\n", "\r\n: a\r\n\r\n", 1),
	}) {
		before := w.stamp(b)
		c := &connection{url: w.env.URL}
		w.must(c.dial())
		if _, err := c.conn.Write([]byte(request)); err != nil {
			w.Errorf("%s: %v", what, err)
		}
		in := bufio.NewReader(c.conn)
		r, err := readReply(in, "PUT")
		switch {
		case err != nil: // closed without an answer is a refusal too
		case r.status != 400 && r.status != 411 && r.status != 501:
			w.Errorf("%s: %v", what, r)
		case !r.closes:
			w.Errorf("%s: the connection goes on:\n%v", what, r)
		}
		c.drop()
		w.unstamped(what, before, b)
	}
	// Twice the same header of which there can be one.
	for _, name := range []string{"x-ms-range", "x-ms-page-write", "x-ms-lease-id", "If-Match", "x-ms-version"} {
		k := w.update(b, 0, fill(137, page)).h(name, "1").h(name, "2")
		k.failsAny([]string{"InvalidHeaderValue", "InvalidInput"})
	}
	// A target with a host in it, as proxies send, is either understood or refused.
	u, err := url.Parse(w.env.URL)
	w.must(err)
	m := w.get(b, "").message()
	m.target = "http://" + u.Host + m.target
	if r, err := (&connection{url: w.env.URL}).exchange(m); err == nil && r.status != 200 && r.status/100 != 4 {
		w.Errorf("%v", r)
	}
}
