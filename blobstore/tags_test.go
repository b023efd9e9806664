package blobstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/tagexpr"
	"pagevault/pagestore"
)

// tags are tags written "a=1 b=2".
func tags(text string) (list []header.Pair) {
	for part := range strings.FieldsSeq(text) {
		k, v, _ := strings.Cut(part, "=")
		list = append(list, header.Pair{Name: k, Value: v})
	}
	return list
}

func showTags(list []header.Pair) string {
	parts := make([]string, len(list))
	for i, t := range list {
		parts[i] = t.Name + "=" + t.Value
	}
	return strings.Join(parts, " ")
}

// createTagged makes a blob of one page with tags in a container.
func (f *fixture) createTagged(container, name, text string) {
	f.t.Helper()
	must(f.t)(f.CreatePageBlob(BlobRef{Container: container, Blob: name}, &CreatePageBlob{Size: PageSize, Tags: tags(text)}))
}

// find lists what a search finds, all pages of it, as "container/name[tags]".
func (f *fixture) find(container, where string, maxResults int) string {
	f.t.Helper()
	w := value(tagexpr.ParseWhere(where, container == ""))(f.t)
	var found []string
	req := FindRequest{Container: container, Where: w, MaxResults: maxResults}
	for range 1000 {
		page := value(f.FindBlobs(&req))(f.t)
		if maxResults > 0 && len(page.Blobs) > maxResults {
			f.t.Fatalf("%s: a page of %d", where, len(page.Blobs))
		}
		for _, b := range page.Blobs {
			found = append(found, fmt.Sprintf("%s/%s[%s]", b.Container, b.Name, showTags(b.Tags)))
		}
		if req.Marker = page.NextMarker; req.Marker == "" {
			return strings.Join(found, " ")
		}
	}
	f.t.Fatalf("%s: the search does not end", where)
	return ""
}

// sound fails the test for every problem a check finds.
func (f *fixture) sound() {
	f.t.Helper()
	_, err := f.Check(context.Background(), CheckOptions{Found: func(p *Problem) { f.t.Errorf("check: %v", p) }})
	ok(f.t, err)
}

func TestTagsOfABlob(t *testing.T) {
	f := newFixture(t)
	created := f.create("b", 1)
	equal(t, "none", showTags(f.info(ref("b")).Tags), "")
	ok(t, f.SetBlobTags(ref("b"), &Access{}, tags("z=1 a=2")))
	equal(t, "set", showTags(value(f.BlobTags(ref("b"), &Access{}))(t)), "a=2 z=1")
	equal(t, "the entity tag", f.info(ref("b")).Stamp, created)

	at := f.snapshot("b")
	f.put("b", 0, 1, 'x') // writes keep them
	equal(t, "after a write", showTags(f.info(ref("b")).Tags), "a=2 z=1")
	must(t)(f.SetBlobMetadata(ref("b"), &Access{}, []header.Pair{{Name: "m", Value: "v"}}))
	ok(t, f.SetBlobTags(ref("b"), &Access{}, tags("a=3")))
	equal(t, "of the snapshot", showTags(value(f.BlobTags(snap("b", at), &Access{}))(t)), "a=2 z=1")
	wantCode(t, "set on a snapshot", f.SetBlobTags(snap("b", at), &Access{}, nil), azerr.InvalidQueryParameterValue)
	f.reopen()
	equal(t, "after reopening", showTags(f.info(ref("b")).Tags), "a=3")
	f.sound()

	acquire(t, f, "b", "6ba7b810-9dad-11d1-80b4-00c04fd430c8")
	wantCode(t, "without the lease", f.SetBlobTags(ref("b"), &Access{}, nil), azerr.LeaseIdMissing)
	must(t)(f.BlobTags(ref("b"), &Access{}))
	acc := holding("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
	ok(t, f.SetBlobTags(ref("b"), &acc, nil))
	equal(t, "cleared", showTags(f.info(ref("b")).Tags), "")
	equal(t, "rows", f.rowCount(tableTag), 0)
	wantCode(t, "bad tags", f.SetBlobTags(ref("b"), &acc, tags("a=1 a=2")), azerr.DuplicateTagNames)
	wantCode(t, "no blob", f.SetBlobTags(ref("none"), &Access{}, nil), azerr.BlobNotFound)
}

// TestConditionsOnTags asks for a condition on tags in every operation on a blob.
func TestConditionsOnTags(t *testing.T) {
	f := newFixture(t)
	f.createTagged("cont", "b", "a=1")
	at := f.snapshot("b")
	yes, no := with(t, "x-ms-if-tags", "a = '1'"), with(t, "x-ms-if-tags", "a = '2' OR b <> '1'")
	calls := map[string]func(acc Access) error{
		"info":     func(acc Access) error { _, err := f.BlobInfo(ref("b"), &acc); return err },
		"snapshot": func(acc Access) error { _, err := f.BlobInfo(snap("b", at), &acc); return err },
		"read": func(acc Access) error {
			r, err := f.OpenBlob(ref("b"), &acc)
			if err == nil {
				ok(t, r.Close())
			}
			return err
		},
		"ranges":   func(acc Access) error { _, err := f.PageRanges(ref("b"), &PageRangesRequest{Access: acc}); return err },
		"metadata": func(acc Access) error { _, err := f.SetBlobMetadata(ref("b"), &acc, nil); return err },
		"put": func(acc Access) error {
			r := putReq(0, 1, 'x')
			r.Access = acc
			_, err := f.PutPages(ref("b"), r)
			return err
		},
		"take a snapshot": func(acc Access) error { _, err := f.SnapshotBlob(ref("b"), &acc, nil); return err },
		"tags":            func(acc Access) error { return f.SetBlobTags(ref("b"), &acc, tags("a=1")) },
		"create": func(acc Access) error {
			_, err := f.CreatePageBlob(ref("b"), &CreatePageBlob{Access: acc, Size: PageSize, Tags: tags("a=1")})
			return err
		},
	}
	for what, call := range calls {
		wantCode(t, what, call(no), azerr.ConditionNotMet)
		if err := call(yes); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	wantCode(t, "create what is not there", func() error {
		_, err := f.CreatePageBlob(ref("new"), &CreatePageBlob{Access: yes, Size: PageSize})
		return err
	}(), azerr.ConditionNotMet)
	wantCode(t, "delete a snapshot", f.DeleteBlob(snap("b", at), &no, SnapshotsNone), azerr.ConditionNotMet)
	wantCode(t, "delete", f.DeleteBlob(ref("b"), &no, SnapshotsInclude), azerr.ConditionNotMet)
	// 412 comes before 304.
	both := with(t, "x-ms-if-tags", "a = '2'", "If-None-Match", string(f.info(ref("b")).ETag.Append(nil)))
	_, err := f.BlobInfo(ref("b"), &both)
	wantCode(t, "both fail", err, azerr.ConditionNotMet)
	if errors.Is(err, azerr.NotModified) {
		t.Error("got 304")
	}
	ok(t, f.DeleteBlob(ref("b"), &yes, SnapshotsInclude))
	f.sound()
}

func TestFindBlobs(t *testing.T) {
	f := newFixture(t)
	must(t)(f.CreateContainer("other", nil))
	f.createTagged("cont", "b", "k=1 x=p")
	f.createTagged("cont", "a", "k=1 x=q")
	f.createTagged("other", "a", "k=2")
	f.createTagged("other", "\x00\x01\xff", "k=1")
	f.createTagged("cont", "long", "k=10 kk=1")
	f.createTagged("cont", "none", "")
	check := func(container, where, want string) {
		t.Helper()
		for _, n := range []int{0, 1, 2} {
			if got := f.find(container, where, n); got != want {
				t.Errorf("%s %s, %d a page:\ngot  %q\nwant %q", container, where, n, got, want)
			}
		}
	}
	check("", "k = '1'", "cont/a[k=1] cont/b[k=1] other/\x00\x01\xff[k=1]")
	check("", "k > '1'", "cont/long[k=10] other/a[k=2]")
	check("", "k >= '1' AND k < '2'", "cont/a[k=1] cont/b[k=1] other/\x00\x01\xff[k=1] cont/long[k=10]")
	check("", "k <= '10' AND k > '1'", "cont/long[k=10]")
	check("", "k > '2'", "")
	check("", "k > '5' AND k < '3'", "")
	check("", "k = '1' AND x = 'q'", "cont/a[k=1 x=q]")
	check("", "x >= '' AND k = '1'", "cont/a[k=1 x=q] cont/b[k=1 x=p]")
	check("", "k >= '' AND @container = 'other'", "other/\x00\x01\xff[k=1] other/a[k=2]")
	check("", "k = '1' AND @container = 'none'", "")
	check("cont", "k >= '1'", "cont/a[k=1] cont/b[k=1] cont/long[k=10]")
	check("other", "k > '1'", "other/a[k=2]")
	_, err := f.FindBlobs(&FindRequest{Container: "none", Where: value(tagexpr.ParseWhere("k='1'", false))(t)})
	wantCode(t, "no container", err, azerr.ContainerNotFound)
	for _, marker := range []string{"x", blobsMarker([]byte("a"), 0)} {
		_, err := f.FindBlobs(&FindRequest{Marker: marker, Where: value(tagexpr.ParseWhere("k='1'", false))(t)})
		wantCode(t, "marker "+marker, err, azerr.InvalidQueryParameterValue)
	}

	f.createTagged("cont", "b", "k=3") // overwritten
	check("", "k = '1'", "cont/a[k=1] other/\x00\x01\xff[k=1]")
	ok(t, f.DeleteBlob(ref("a"), &Access{}, SnapshotsNone))
	check("", "k = '1'", "other/\x00\x01\xff[k=1]")
	f.sound()

	ok(t, f.DeleteContainer("other", &Access{})) // gone at once, and then its rows too
	check("", "k = '1'", "")
	<-f.reaped
	equal(t, "rows", f.rowCount(tableTag), 3)
	f.sound()
}

// TestFindBlobsLooksAtMatches: what a search reads does not depend on how many other tags and blobs there are, and one that
// must read many rows for few blobs comes to an end of a page all the same.
func TestFindBlobsLooksAtMatches(t *testing.T) {
	f := newFixture(t)
	ok(t, f.update(func(tx *pagestore.Tx) error {
		for i := range 3000 {
			tx.Set(appendTagKey(nil, "k", "many", 1, fmt.Sprintf("b%05d", i)), appendTagRow(nil, "cont"))
		}
		return nil
	}))
	f.createTagged("cont", "one", "k=few")
	w := value(tagexpr.ParseWhere("k = 'few'", true))(t)
	fd := &finder{where: w, by: &w.Keys[0], limit: 10, dead: map[containerID]bool{}}
	var err error
	fd.from, fd.to, err = fd.bounds("")
	ok(t, err)
	ok(t, f.view(func(v *pagestore.View) error {
		fd.view = v
		return scanView(v, fd.from, fd.to, fd.take)
	}))
	equal(t, "rows looked at", fd.rows, 1)

	fd = &finder{where: w, by: &w.Keys[0], limit: 10, rows: findRowsMax, dead: map[containerID]bool{}}
	fd.from, fd.to, _ = fd.bounds("")
	ok(t, f.view(func(v *pagestore.View) error {
		fd.view = v
		return scanView(v, fd.from, fd.to, fd.take)
	}))
	if len(fd.result.Blobs) != 0 || fd.result.NextMarker == "" {
		t.Errorf("at the bound: %+v", fd.result)
	}
	fd2 := &finder{where: w, by: &w.Keys[0]}
	from, _, err := fd2.bounds(fd.result.NextMarker)
	if err != nil || string(from) != string(appendTagKey(nil, "k", "few", 1, "one")) {
		t.Errorf("goes on at %x, %v", from, err)
	}
}

// TestTagsModel makes random changes and compares searches with what a plain list says.
func TestTagsModel(t *testing.T) {
	f, r := newFixture(t), seeded(t)
	must(t)(f.CreateContainer("other", nil))
	model := map[string][]header.Pair{} // by "container/name"
	randomTags := func() (list []header.Pair) {
		for _, k := range []string{"a", "b", "c c"} {
			if r.IntN(2) == 0 {
				list = append(list, header.Pair{Name: k, Value: []string{"", "1", "10", "2", "x"}[r.IntN(5)]})
			}
		}
		r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		return list
	}
	for step := range 300 {
		at := BlobRef{Container: []string{"cont", "other"}[r.IntN(2)], Blob: fmt.Sprintf("b%d", r.IntN(8))}
		name := at.Container + "/" + at.Blob
		_, exists := model[name]
		switch op := r.IntN(5); {
		case op == 0 && exists:
			ok(t, f.DeleteBlob(at, &Access{}, SnapshotsInclude))
			delete(model, name)
		case op == 1 && exists:
			must(t)(f.SnapshotBlob(at, &Access{}, nil))
		case op == 2 && exists:
			list := randomTags()
			ok(t, f.SetBlobTags(at, &Access{}, list))
			model[name] = list
		default:
			list := randomTags()
			must(t)(f.CreatePageBlob(at, &CreatePageBlob{Size: PageSize, Tags: list}))
			model[name] = list
		}
		if step%10 != 0 {
			continue
		}
		for _, text := range []string{"a = '1'", "a >= '1' AND a < '2'", "b > '' AND a <= '2'", `"c c" = '10' AND a >= ''`, "a < 'x'", "b = ''"} {
			w := value(tagexpr.ParseWhere(text, true))(t)
			var want []string
			for name, list := range model {
				if w.Holds(tagSet(list)) {
					var shown []header.Pair
					for _, p := range list {
						if w.Names(p.Name) {
							shown = append(shown, p)
						}
					}
					slices.SortFunc(shown, func(a, b header.Pair) int { return cmp.Compare(a.Name, b.Name) })
					want = append(want, name+"["+showTags(shown)+"]")
				}
			}
			got := splitFound(f.find("", text, 1+r.IntN(4)))
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Fatalf("step %d, %s:\ngot  %q\nwant %q", step, text, got, want)
			}
		}
	}
	f.sound()
}

func splitFound(text string) (list []string) {
	for part := range strings.SplitSeq(text, "] ") {
		if part != "" {
			list = append(list, strings.TrimSuffix(part, "]")+"]")
		}
	}
	return list
}

// TestCheckFindsWrongTags: a check sees a row of a tag that is missing, one too many, and one that cannot be read.
func TestCheckFindsWrongTags(t *testing.T) {
	f := newFixture(t)
	f.createTagged("cont", "b", "k=1")
	f.sound()
	kinds := func() (found []string) {
		t.Helper()
		_, err := f.Check(context.Background(), CheckOptions{Found: func(p *Problem) { found = append(found, string(p.Kind)+" "+p.Blob) }})
		ok(t, err)
		return found
	}
	key := appendTagKey(nil, "k", "1", 1, "b")
	change := func(fn func(tx *pagestore.Tx)) {
		t.Helper()
		ok(t, f.update(func(tx *pagestore.Tx) error { fn(tx); return nil }))
	}
	change(func(tx *pagestore.Tx) { tx.Delete(key) })
	equal(t, "without the row", strings.Join(kinds(), ", "), "tag-missing b")
	change(func(tx *pagestore.Tx) {
		tx.Set(key, appendTagRow(nil, "cont"))
		tx.Set(appendTagKey(nil, "k", "2", 1, "b"), appendTagRow(nil, "cont"))
		tx.Set(appendTagKey(nil, "k", "2", 1, "gone"), appendTagRow(nil, "cont"))
	})
	equal(t, "rows too many", strings.Join(kinds(), ", "), "tag-stale b, tag-stale gone")
	change(func(tx *pagestore.Tx) {
		tx.Delete(appendTagKey(nil, "k", "2", 1, "b"))
		tx.Delete(appendTagKey(nil, "k", "2", 1, "gone"))
		tx.Set([]byte("ik"), nil)
	})
	equal(t, "a damaged row", strings.Join(kinds(), ", "), "blob-row-damaged ")
}

// FuzzParseTagKey: any bytes are refused, or read as a key that is written the same.
func FuzzParseTagKey(f *testing.F) {
	f.Add(appendTagKey(nil, "k", "v", 1, "a/b"))
	f.Add(appendTagKey(nil, "k", "", 1<<63, "\x00"))
	f.Add([]byte("i"))
	f.Fuzz(func(t *testing.T, key []byte) {
		got, err := parseTagKey(key)
		if err != nil {
			return
		}
		if again := appendTagKey(nil, got.key, got.value, got.container, got.name); string(again) != string(key) {
			t.Errorf("%x: read as %+v, written as %x", key, got, again)
		}
	})
}
