package main

import (
	"strings"
	"testing"
)

func TestShownBytes(t *testing.T) {
	f := func(n int64, want string) {
		t.Helper()
		if got := shownBytes(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
	f(0, "0 B")
	f(1023, "1023 B")
	f(1024, "1 KiB")
	f(1536, "1.50 KiB")
	f(12<<20, "12 MiB")
	f(12<<20+300<<10, "12.3 MiB")
	f(1<<20-1, "1 MiB")
	f(850<<20, "850 MiB")
	f(850e9, "792 GiB")
	f(1e12, "931 GiB")
	f(1<<62, "4 EiB")
}

func TestPrintAccount(t *testing.T) {
	u := accountUsage{Name: "devstoreaccount1", Containers: 1, Blobs: 2, Snapshots: 3, ProvisionedBytes: 1 << 40, WrittenBytes: 300 << 30,
		UniqueBytes: 100 << 30, LiveBytes: 50 << 30, StoredBytes: 51 << 30, MetadataBytes: 1 << 30, DedupRatio: 3, CompressionRatio: 2}
	f := func(want string) {
		t.Helper()
		var b strings.Builder
		u.print(&b)
		if got := b.String(); got != strings.TrimLeft(want, "\n") {
			t.Errorf("got:\n%s", got)
		}
	}
	f(`
account devstoreaccount1
  containers   1
  blobs        2        and 3 snapshots
  provisioned  1 TiB
  written      300 GiB
  unique       100 GiB  dedup ratio 3.00
  data         50 GiB   compression ratio 2.00
  garbage      1 GiB
  metadata     1 GiB
  together     51 GiB
`)
	u.Limits = &struct{ TotalBytes, DataBytes, MetadataBytes int64 }{102 << 30, 100 << 30, 2 << 30}
	f(`
account devstoreaccount1
  containers   1
  blobs        2        and 3 snapshots
  provisioned  1 TiB
  written      300 GiB
  unique       100 GiB  dedup ratio 3.00
  data         50 GiB   compression ratio 2.00, 50.0 % of 100 GiB
  garbage      1 GiB
  metadata     1 GiB    50.0 % of 2 GiB
  together     51 GiB   50.0 % of 102 GiB
`)
	u = accountUsage{Name: "new"}
	f(`
account new
  containers   0
  blobs        0    and 0 snapshots
  provisioned  0 B
  written      0 B
  unique       0 B
  data         0 B
  garbage      0 B
  metadata     0 B
  together     0 B
`)
}
