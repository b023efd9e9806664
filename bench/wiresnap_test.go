package bench

import (
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestRunAll runs all workloads on a fake endpoint, and those that have a meaning there on the null server.
func TestRunAll(t *testing.T) {
	f := &fake{}
	o := tiny(newWire(t, WireOptions{Name: "fake", URL: startFake(t, f), PID: os.Getpid()}), newNullTarget(t))
	o.Workloads, o.Connections, o.Rounds, o.Mix = Workloads(), []int{2}, 1, Mix{Duplicate: 40, Compress: 3}
	rep, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(Workloads()); len(rep.Rows) != 2*n-4 || len(rep.Workloads) != n || *rep.Mix != o.Mix {
		t.Errorf("%d rows, %d workloads, %v", len(rep.Rows), len(rep.Workloads), rep.Mix)
	}
	for _, row := range rep.Rows {
		bytes := row.Workload != "diff" && !strings.HasPrefix(row.Workload, "list-")
		if row.OpsPerSecond <= 0 || bytes != (row.BytesPerSecond > 0) || row.P999Nanos < row.P99Nanos {
			t.Errorf("row makes no sense: %+v", row)
		}
	}
	if len(f.mu.blobs) == 0 || len(f.requests("comp=pagelist")) == 0 || len(f.requests("delimiter=%2F")) == 0 && len(f.requests("delimiter=/")) == 0 {
		t.Errorf("something was not asked for: %d requests", len(f.requests("")))
	}
}

// TestSmallBlocks reads, writes and mixes requests smaller than what carries a stamp; what is read is compared.
func TestSmallBlocks(t *testing.T) {
	o := tiny(newWire(t, WireOptions{Name: "fake", URL: startFake(t, &fake{})}))
	o.Workloads = WithBlockSizes(named(t, "put-4m-new", "put-4m-dup", "get-4m", "get-4k-random", "mixed-4k"), []int{512, 2048})
	if rep, err := Run(t.Context(), o); err != nil || len(rep.Rows) != 20 {
		t.Errorf("%v, %v", rep, err)
	}
}

// TestSharedAccessSignature: an account's makes and deletes a container; a container's leaves in it what was there.
func TestSharedAccessSignature(t *testing.T) {
	f := &fake{sas: "s+s"}
	url := startFake(t, f)
	run := func(url string) {
		t.Helper()
		o := tiny(newWire(t, WireOptions{Name: "fake", URL: url}))
		o.Workloads, o.Connections, o.Rounds = named(t, "put-4k-random", "list-*", "many-small", "restore-newest"), []int{2}, 1
		rep, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(rep.Targets[0].Where, "sig") {
			t.Errorf("the report tells the signature: %s", rep.Targets[0].Where)
		}
	}
	run(url + "?sv=1&srt=sco&sig=s%2Bs")
	if len(f.requests("DELETE")) != 1 {
		t.Errorf("%q", f.requests("DELETE"))
	}
	clear(f.mu.blobs)
	other := url[strings.Index(url, "/devstore"):] + "/disks/other"
	f.mu.blobs[other] = &fakeBlob{}
	run(url + "/disks?sr=c&sig=s%2Bs")
	if names := slices.Collect(maps.Keys(f.mu.blobs)); len(names) != 1 || names[0] != other {
		t.Errorf("left behind: %q", names)
	}
	if len(f.requests("DELETE /devstoreaccount1/disks?")) != 0 || len(f.requests("PUT /devstoreaccount1/disks?")) != 0 {
		t.Error("the container was made or deleted")
	}
}

// TestRefusedWorkload: what a target does not do is said in the report, and the rest is measured.
func TestRefusedWorkload(t *testing.T) {
	o := tiny(newWire(t, WireOptions{Name: "fake", URL: startFake(t, &fake{refuses: "pagelist"})}))
	o.Workloads, o.Connections = named(t, "incremental", "diff", "snapshot-chain"), []int{1}
	rep, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Rows) != 1 || len(rep.Refused) != 2 || rep.Refused[0].Workload != "incremental" || !strings.Contains(rep.Refused[1].Answer, "501 APINotImplemented") {
		t.Errorf("%+v", rep)
	}
}

// TestWholeDifferences: whoever answers with all pages where differences are asked for is not measured doing that.
func TestWholeDifferences(t *testing.T) {
	o := tiny(newWire(t, WireOptions{Name: "fake", URL: startFake(t, &fake{whole: true})}))
	o.Workloads, o.Connections = named(t, "incremental", "diff", "put-4k-random"), []int{1}
	rep, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Rows) != 1 || len(rep.Refused) != 2 || !strings.Contains(rep.Refused[1].Answer, "bytes changed where at most 32768 were written") {
		t.Errorf("%+v", rep.Refused)
	}
}

// TestWrongSnapshotsAreErrors: differences that leave out something, and snapshots that are not what was there, are
// noticed.
func TestWrongSnapshotsAreErrors(t *testing.T) {
	f := func(want string, f *fake, names ...string) {
		t.Helper()
		o := tiny(newWire(t, WireOptions{Name: "fake", URL: startFake(t, f)}))
		o.Workloads, o.Connections = named(t, names...), []int{1}
		if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: error %v, want %q", names, err, want)
		}
	}
	hiding := &fake{}
	hiding.stall = func(r *http.Request) {
		hiding.mu.Lock()
		defer hiding.mu.Unlock()
		for _, b := range hiding.mu.blobs {
			b.hide = true
		}
	}
	f("were written", hiding, "incremental")
	// A byte in the middle, which only the first look at all of it finds; then the first ones, later.
	middle := &fake{spoil: func(_ *http.Request, p []byte) { p[len(p)/2] ^= 1 }}
	f("are not what was written", middle, "restore-oldest")
	reads := 0
	first := &fake{spoil: func(_ *http.Request, p []byte) {
		if reads++; reads > 2 {
			p[8] ^= 1
		}
	}}
	f("not the data that was written", first, "restore-fresh")
	f("not the data that was written", &fake{spoil: func(_ *http.Request, p []byte) { p[0] ^= 1 }}, "mixed-4k")
	f("not the data that was written", &fake{spoil: func(_ *http.Request, p []byte) { p[0] ^= 1 }}, "incremental")
	f("names were listed of", &fake{refuses: "", hides: "/00.vhd"}, "list-flat")
}

func TestParseRanges(t *testing.T) {
	f := func(body string, want ...span) {
		t.Helper()
		if got, err := parseRanges([]byte(body)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", body, got, err, want)
		}
	}
	f(`<?xml version="1.0" encoding="utf-8"?><PageList/>`)
	f("<PageList><PageRange><Start>0</Start><End>511</End></PageRange><ClearRange><Start>512</Start><End>1023</End></ClearRange>"+
		"<PageRange><Start>1024</Start><End>1535</End></PageRange></PageList>", span{0, 512}, span{1024, 1536})
	f("<PageList><PageRange><Start>512</Start><End>1023</End></PageRange><PageRange><Start>0</Start><End>511</End></PageRange></PageList>", span{0, 1024})
	for _, body := range []string{"", "<PageList>", "<Error></Error>", "<PageList><PageRange><Start>x</Start></PageRange></PageList>",
		"<PageList><PageRange><Start>5</Start><End>4</End></PageRange></PageList>"} {
		if list, err := parseRanges([]byte(body)); err == nil {
			t.Errorf("%s: %v", body, list)
		}
	}
}

// FuzzParseRanges: whatever is answered, ranges are in order and apart.
func FuzzParseRanges(f *testing.F) {
	f.Add([]byte("<PageList><PageRange><Start>0</Start><End>511</End></PageRange></PageList>"))
	f.Fuzz(func(t *testing.T, body []byte) {
		list, err := parseRanges(body)
		for i, s := range list {
			if err != nil || s.start < 0 || s.end <= s.start || i > 0 && s.start <= list[i-1].end {
				t.Errorf("%v, %v", list, err)
			}
		}
	})
}

// FuzzListing: whatever is listed, names and marker come out, or nothing.
func FuzzListing(f *testing.F) {
	f.Add([]byte("<Blobs><Blob><Name>a&amp;b</Name></Blob></Blobs><NextMarker>x</NextMarker>"))
	f.Fuzz(func(t *testing.T, body []byte) {
		l := listing{body: body}
		blobs, _ := l.count()
		if n := len(l.names()); n > 0 && blobs == 0 && strings.Contains(string(body), "</Blob>") {
			t.Errorf("%d names of %d blobs", n, blobs)
		}
	})
}
