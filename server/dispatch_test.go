package server

import (
	"fmt"
	"strings"
	"testing"

	"pagevault/internal/azure/op"
)

// TestHandlers shows that what the table says is done has a handler, and nothing else.
func TestHandlers(t *testing.T) {
	for _, row := range op.Table {
		if has := handlers[row.ID].serve != nil; has != (row.State != op.Refused) {
			t.Errorf("%s is %v in the table, and has a handler: %v", row.Name, row.State, has)
		}
	}
	for id := len(op.Table) + 1; id < len(handlers); id++ {
		if handlers[id].serve != nil {
			t.Errorf("handler %d belongs to no operation", id)
		}
	}
}

// TestRefusedOperations sends a request for each refused row and gets its honest answer, over HTTP.
func TestRefusedOperations(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 4096)
	for _, row := range op.Table {
		if row.State != op.Refused {
			continue
		}
		c := call{method: row.Methods[0], path: map[op.Level]string{op.Container: "disks", op.Blob: "disks/b"}[row.Level]}
		var params []string
		for _, p := range [][2]string{{"restype", row.Restype}, {"comp", row.Comp}} {
			if p[1] != "" {
				params = append(params, p[0]+"="+p[1])
			}
		}
		if len(params) > 0 {
			c.path += "?" + strings.Join(params, "&")
		}
		for line := range strings.SplitSeq(row.Selector, ", ") {
			if strings.HasPrefix(line, "x-ms-") {
				if !strings.Contains(line, ":") {
					line += ": http://127.0.0.1/devstoreaccount1/disks/b"
				}
				c.header = append(c.header, line)
			}
		}
		t.Run(row.Name, func(t *testing.T) {
			a := ts.do(t, c)
			if a.StatusCode != row.Refusal.Status() || a.Header.Get("x-ms-error-code") != row.Refusal.Wire() {
				t.Errorf("%s %s: got %d %s, want %d %s\n%s", c.method, c.path, a.StatusCode, a.Header.Get("x-ms-error-code"),
					row.Refusal.Status(), row.Refusal.Wire(), a.body)
			}
		})
	}
}

// TestUnknownRequests shows that nothing falls through to another operation.
func TestUnknownRequests(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 4096)
	f := func(method, path string, status int, code string) {
		t.Helper()
		ts.do(t, call{method: method, path: path, unsigned: code == "InvalidUri"}).want(t, status, code)
	}
	f("GET", "disks/b?comp=nonsense", 400, "InvalidQueryParameterValue")
	f("GET", "disks/b?comp=page&comp=list", 400, "InvalidQueryParameterValue")
	f("GET", "disks/b?comp=%zz", 400, "InvalidUri")
	f("GET", "disks/b?snapshot=%ff", 400, "InvalidUri")
	f("POST", "disks/b", 405, "UnsupportedHttpVerb")
	f("BREW", "disks/b", 400, "InvalidHttpVerb")
	f("GET", "disks/b?restype=container", 400, "InvalidQueryParameterValue")
	f("GET", "disks/b?snapshot=tomorrow", 400, "InvalidQueryParameterValue")
	f("GET", "disks/", 400, "InvalidUri")
	f("DELETE", "disks/", 400, "InvalidUri")
	f("HEAD", "disks/?restype=container", 200, "")
	f("GET", "disks//b", 404, "BlobNotFound")
	f("GET", "disks/../b", 404, "BlobNotFound")
	f("GET", "disks/%62", 200, "")
	f("PUT", "disks/b?comp=lease&snapshot=2026-01-01T00:00:00.0000000Z", 400, "InvalidQueryParameterValue")
}

// TestRootContainer addresses blobs without a container.
func TestRootContainer(t *testing.T) {
	ts := start(t, nil)
	create := call{method: "PUT", path: "vm.vhd", header: []string{"x-ms-blob-type: PageBlob", "x-ms-blob-content-length: 512"}}
	ts.do(t, create).want(t, 404, "ContainerNotFound")
	ts.do(t, call{method: "PUT", path: "$root?restype=container"}).want(t, 201, "")
	ts.do(t, create).want(t, 201, "")
	ts.do(t, call{method: "HEAD", path: "$root/vm.vhd"}).want(t, 200, "")
	ts.do(t, call{method: "HEAD", path: "vm.vhd"}).want(t, 200, "")
}

// TestCommonHeaders shows what every reply carries.
func TestCommonHeaders(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 4096)
	for _, c := range []call{
		{method: "GET", path: "disks/b"}, {method: "HEAD", path: "disks/b"}, {method: "GET", path: "disks/none"},
		{method: "HEAD", path: "disks/none"}, {method: "GET", path: "disks/b", unsigned: true}, {method: "GET", path: "?comp=nonsense"},
		{method: "PUT", path: "disks/b?comp=snapshot"}, {method: "PUT", path: "disks/b?comp=block"}, {method: "GET", path: "?comp=list"},
		{method: "GET", path: "disks/b", header: []string{"If-None-Match: *"}}, {method: "DELETE", path: "disks/b"},
	} {
		t.Run(fmt.Sprintf("%s %s", c.method, c.path), func(t *testing.T) {
			a := ts.do(t, c)
			for _, line := range []string{"\r\nServer: Pagevault/test\r\n", "\r\nDate: ", " GMT\r\n", "\r\nx-ms-request-id: ", "\r\nx-ms-version: 2026-12-06\r\n"} {
				if strings.Count(a.raw, line) < 1 {
					t.Errorf("no %q in\n%s", line, a.raw)
				}
			}
			if id := a.Header.Get("x-ms-request-id"); len(id) != 36 || id[14] != '4' || id[8] != '-' {
				t.Errorf("x-ms-request-id %q is no GUID", id)
			}
			failed := a.StatusCode >= 300
			if (a.Header.Get("x-ms-error-code") != "") != failed {
				t.Errorf("status %d with error code %q", a.StatusCode, a.Header.Get("x-ms-error-code"))
			}
			if failed && c.method != "HEAD" {
				for _, part := range []string{`<?xml version="1.0" encoding="utf-8"?><Error><Code>`, "\nRequestId:" + a.Header.Get("x-ms-request-id") + "\nTime:"} {
					if !strings.Contains(string(a.body), part) {
						t.Errorf("no %q in\n%s", part, a.body)
					}
				}
			}
			if c.method != "HEAD" && !strings.Contains(a.raw, "\r\nContent-Length: ") {
				t.Errorf("no length:\n%s", a.raw)
			}
		})
	}
}
