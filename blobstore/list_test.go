package blobstore

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/pagestore"
)

// show writes a list as names; prefixes end in "...", snapshots carry a number.
func show(items []ListItem, snapshots []string) string {
	var out []string
	for _, it := range items {
		switch {
		case it.Prefix != "":
			out = append(out, it.Prefix+"...")
		case it.Blob.Snapshot != "":
			out = append(out, fmt.Sprintf("%s@%d", it.Blob.Name, slices.Index(snapshots, it.Blob.Snapshot)))
		default:
			out = append(out, it.Blob.Name)
		}
	}
	return strings.Join(out, " ")
}

func TestListBlobs(t *testing.T) {
	f := newFixture(t)
	list := func(req ListBlobsRequest, snapshots ...string) string {
		t.Helper()
		got := value(f.ListBlobs("cont", &req))(t)
		equal(t, "marker", got.NextMarker, "")
		return show(got.Items, snapshots)
	}
	equal(t, "empty", list(ListBlobsRequest{}), "")
	for _, name := range []string{"b", "a/2", "a/1", "a", "a0", "B", "a/x/1", "a/x/2", "ä"} {
		f.create(name, 1)
	}
	must(t)(f.CreateContainer("later", nil))
	must(t)(f.CreatePageBlob(BlobRef{Container: "later", Blob: "x"}, &CreatePageBlob{}))
	equal(t, "all", list(ListBlobsRequest{}), "B a a/1 a/2 a/x/1 a/x/2 a0 b ä")
	equal(t, "prefix", list(ListBlobsRequest{Prefix: "a/"}), "a/1 a/2 a/x/1 a/x/2")
	equal(t, "delimiter", list(ListBlobsRequest{Delimiter: "/"}), "B a a/... a0 b ä")
	equal(t, "both", list(ListBlobsRequest{Prefix: "a/", Delimiter: "/"}), "a/1 a/2 a/x/...")
	equal(t, "prefix up to the delimiter", list(ListBlobsRequest{Prefix: "a", Delimiter: "/"}), "a a/... a0")
	equal(t, "long delimiter", list(ListBlobsRequest{Delimiter: "/x"}), "B a a/1 a/2 a/x... a0 b ä")
	equal(t, "none", list(ListBlobsRequest{Prefix: "zz"}), "")

	s0, s1 := f.snapshot("a/1"), f.snapshot("b")
	s2 := f.snapshot("b")
	equal(t, "without snapshots", list(ListBlobsRequest{}), "B a a/1 a/2 a/x/1 a/x/2 a0 b ä")
	equal(t, "snapshots", list(ListBlobsRequest{Snapshots: true}, s0, s1, s2), "B a a/1@0 a/1 a/2 a/x/1 a/x/2 a0 b@1 b@2 b ä")
	equal(t, "snapshots, delimiter", list(ListBlobsRequest{Snapshots: true, Delimiter: "/"}, s0, s1, s2), "B a a/... a0 b@1 b@2 b ä")

	_, err := f.ListBlobs("cont", &ListBlobsRequest{MaxResults: -1})
	wantCode(t, "maxresults", err, azerr.OutOfRangeQueryParameterValue)
	_, err = f.ListBlobs("cont", &ListBlobsRequest{Marker: "x"})
	wantCode(t, "marker", err, azerr.InvalidQueryParameterValue)
}

func TestListedProperties(t *testing.T) {
	f := newFixture(t)
	must(t)(f.CreatePageBlob(ref("b"), &CreatePageBlob{
		Size: 512, Sequence: 4, HTTPHeaders: HTTPHeaders{ContentType: "t"}, Metadata: []header.Pair{{Name: "k", Value: "v"}},
	}))
	f.snapshot("b")
	acquire(t, f, "b", "id")
	with := value(f.ListBlobs("cont", &ListBlobsRequest{Metadata: true, Snapshots: true}))(t)
	for _, it := range with.Items {
		if want := f.info(snap("b", it.Blob.Snapshot)); !reflect.DeepEqual(it.Blob, want) {
			t.Errorf("got %+v, want %+v", it.Blob, want)
		}
	}
	without := value(f.ListBlobs("cont", &ListBlobsRequest{}))(t)
	equal(t, "items", len(without.Items), 1)
	equal(t, "metadata", len(without.Items[0].Blob.Metadata), 0)
	equal(t, "lease", without.Items[0].Blob.Lease.Infinite, true)
}

// reference lists as the protocol says, from a sorted list of all rows.
func reference(names []string, snapshots map[string]int, req *ListBlobsRequest) (out []string) {
	for _, name := range names {
		if !strings.HasPrefix(name, req.Prefix) || name < req.StartFrom {
			continue
		}
		if at := strings.Index(name[len(req.Prefix):], req.Delimiter); req.Delimiter != "" && at >= 0 {
			p := name[:len(req.Prefix)+at+len(req.Delimiter)] + "..."
			if len(out) == 0 || out[len(out)-1] != p {
				out = append(out, p)
			}
			continue
		}
		if req.Snapshots {
			for i := range snapshots[name] {
				out = append(out, fmt.Sprintf("%s@%d", name, i))
			}
		}
		out = append(out, name)
	}
	return out
}

// TestListModel compares lists, page by page, with the reference, over nasty names.
func TestListModel(t *testing.T) {
	r := seeded(t)
	f := newFixture(t)
	ids := map[string][]string{}
	var names []string
	for range 150 {
		name := nasty(r)
		if name == "" || ids[name] != nil {
			continue
		}
		names = append(names, name)
		ids[name] = []string{}
		f.create(name, 1)
		for range r.IntN(3) {
			ids[name] = append(ids[name], f.snapshot(name))
		}
	}
	slices.Sort(names)
	counts := map[string]int{}
	for name, s := range ids {
		counts[name] = len(s)
	}
	for range 1500 {
		req := ListBlobsRequest{
			Prefix:     []string{"", nasty(r)}[r.IntN(2)],
			Delimiter:  []string{"", "/", "\x00", "a", "\xff", "\x00\x00", "b/"}[r.IntN(7)],
			MaxResults: []int{1, 2, 3, 10, 0}[r.IntN(5)],
			Snapshots:  r.IntN(2) == 0,
			StartFrom:  []string{"", nasty(r)}[r.IntN(2)],
		}
		want := reference(names, counts, &req)
		got := f.pages(req, ids)
		if !slices.Equal(got, want) {
			t.Fatalf("%+v:\ngot  %q\nwant %q", req, got, want)
		}
	}
}

// pages follows the markers of a list to its end.
func (f *fixture) pages(req ListBlobsRequest, ids map[string][]string) (out []string) {
	f.t.Helper()
	for {
		page := value(f.ListBlobs("cont", &req))(f.t)
		if req.MaxResults > 0 && len(page.Items) > req.MaxResults {
			f.t.Fatalf("%+v: %d items on a page", req, len(page.Items))
		}
		for _, it := range page.Items {
			switch b := &it.Blob; {
			case it.Prefix != "":
				out = append(out, it.Prefix+"...")
			case b.Snapshot != "":
				out = append(out, fmt.Sprintf("%s@%d", b.Name, slices.Index(ids[b.Name], b.Snapshot)))
			default:
				out = append(out, b.Name)
			}
		}
		if req.Marker = page.NextMarker; req.Marker == "" {
			return out
		}
	}
}

// TestListWhileChanging: what is there from the first page to the last is listed exactly once, whatever else comes and
// goes between the pages, and markers outlive what they name.
func TestListWhileChanging(t *testing.T) {
	r := seeded(t)
	f := newFixture(t)
	name := func(kind string) string { return fmt.Sprintf("%c/%s%02d", 'a'+r.IntN(3), kind, r.IntN(30)) }
	stable := map[string]bool{}
	for range 40 {
		n := name("s")
		stable[n] = true
		f.create(n, 0)
	}
	for range 15 {
		req := ListBlobsRequest{MaxResults: 1 + r.IntN(5)}
		seen := map[string]int{}
		for {
			page := value(f.ListBlobs("cont", &req))(t)
			for _, it := range page.Items {
				seen[it.Blob.Name]++
			}
			f.churn(r, name)
			if req.Marker = page.NextMarker; req.Marker == "" {
				break
			}
		}
		for n, times := range seen {
			if times != 1 {
				t.Fatalf("%s was listed %d times", n, times)
			}
		}
		for n := range stable {
			if seen[n] != 1 {
				t.Fatalf("%s was listed %d times", n, seen[n])
			}
		}
	}
}

// churn creates and deletes blobs that are not stable.
func (f *fixture) churn(r *rand.Rand, name func(string) string) {
	f.t.Helper()
	for range 3 {
		f.create(name("t"), 0)
		err := f.DeleteBlob(ref(name("t")), &Access{}, SnapshotsNone)
		if err != nil {
			wantCode(f.t, "delete", err, azerr.BlobNotFound)
		}
	}
}

// TestListCost: a page costs what is on it, however many names are collapsed or snapshots skipped.
func TestListCost(t *testing.T) {
	f := newFixture(t)
	for i := range 3000 {
		f.create(fmt.Sprintf("dir%d/%04d", i%3, i), 0)
	}
	for range 1000 {
		must(t)(f.SnapshotBlob(ref("dir0/0000"), &Access{}, nil))
	}
	v := value(f.store.View())(t)
	defer v.Close()
	steps := func(req ListBlobsRequest) (n int) {
		t.Helper()
		l := value(newBlobLister(&req, goldenTime))(t)
		from, to := l.bounds(1)
		ok(t, scanView(v, from, to, func(it *pagestore.Iter) (bool, error) {
			n++
			return l.take(it)
		}))
		return n
	}
	if n := steps(ListBlobsRequest{Delimiter: "/"}); n > 4 {
		t.Errorf("three prefixes took %d steps", n)
	}
	if n := steps(ListBlobsRequest{MaxResults: 10}); n > 15 {
		t.Errorf("ten blobs took %d steps", n)
	}
	if n := steps(ListBlobsRequest{Prefix: "dir2/", MaxResults: 10}); n > 11 {
		t.Errorf("ten blobs took %d steps", n)
	}
}

func TestListContainers(t *testing.T) {
	f := newBareFixture(t, nil)
	var want []string
	for _, name := range []string{"$root", "$web", "aaa", "aab", "abc", "bbb", "b-b"} {
		must(t)(f.CreateContainer(name, []header.Pair{{Name: "n", Value: name}}))
		want = append(want, name)
	}
	slices.Sort(want)
	for size := range 9 {
		var got []string
		req := ListContainersRequest{MaxResults: size}
		for {
			page := value(f.ListContainers(&req))(t)
			if size > 0 && len(page.Containers) > size {
				t.Fatalf("%d containers on a page of %d", len(page.Containers), size)
			}
			for _, c := range page.Containers {
				got = append(got, c.Name)
				equal(t, "metadata", len(c.Metadata), 0)
			}
			if req.Marker = page.NextMarker; req.Marker == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d a page: got %v, want %v", size, got, want)
		}
	}
	page := value(f.ListContainers(&ListContainersRequest{Prefix: "aa", Metadata: true}))(t)
	equal(t, "with prefix", len(page.Containers), 2)
	for _, c := range page.Containers {
		if want := value(f.ContainerInfo(c.Name, ""))(t); !reflect.DeepEqual(c, want) {
			t.Errorf("got %+v, want %+v", c, want)
		}
	}
	ok(t, f.DeleteContainer("aab", &Access{}))
	equal(t, "deleted", len(value(f.ListContainers(&ListContainersRequest{Prefix: "aa"}))(t).Containers), 1)
	equal(t, "past everything", len(value(f.ListContainers(&ListContainersRequest{Prefix: "zz"}))(t).Containers), 0)
	equal(t, "marker past the prefix", len(value(f.ListContainers(&ListContainersRequest{Prefix: "aa", Marker: containersMarker(&ContainerInfo{Name: "bbb"})}))(t).Containers), 0)
	_, err := f.ListContainers(&ListContainersRequest{MaxResults: -1})
	wantCode(t, "maxresults", err, azerr.OutOfRangeQueryParameterValue)
	_, err = f.ListContainers(&ListContainersRequest{Marker: "x"})
	wantCode(t, "marker", err, azerr.InvalidQueryParameterValue)
}
