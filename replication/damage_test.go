package replication

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/replication/segment"
)

// image is the files of one member, by name.
type image map[string]string

func imageOf(t testing.TB, m Member) image {
	t.Helper()
	c, err := contents(m)
	if err != nil {
		t.Fatal(err)
	}
	switch id, err := readFile(m, "MEMBER"); {
	case err == nil:
		c["MEMBER"] = string(id)
	case !errors.Is(err, fs.ErrNotExist):
		t.Fatal(err)
	}
	return c
}

func (im image) member(t testing.TB, i int) Member {
	t.Helper()
	m := Member{FS: vfs.NewMem(), Dir: fmt.Sprintf("replica-%d", i+1)}
	if err := m.FS.MkdirAll(m.FS.PathJoin(m.Dir, segment.CheckpointDir), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, b := range im {
		if err := writeFile(m, name, []byte(b)); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func (im image) flip(name string, at int, with byte) image {
	out := maps.Clone(im)
	b := []byte(out[name])
	b[at] ^= with
	out[name] = string(b)
	return out
}

// sample is a small log of sealed segments and an open one, as a killed process leaves it: its members, equal, and its
// records.
type sample struct {
	members []image
	records []Record
}

// sealedEnd is where the records of the sample's sealed segments end: a header and three records of 80 bytes.
const sealedEnd = 64 + 3*80

// newSample makes a log in which each record is a batch of its own: two sealed segments and one open, of three records
// each, where the last but one has no data and the last no meta.
func newSample(t testing.TB, n int) sample {
	t.Helper()
	members := memMembers(n)
	l, err := Open(members, Options{SegmentBytes: segment.FileBytes(sealedEnd, 3)})
	if err != nil {
		t.Fatal(err)
	}
	var s sample
	for i := range 9 {
		meta, data := fmt.Sprintf("meta %d", i), []string{fmt.Sprintf("data %d.", i), "and in a second part"}
		switch i {
		case 7:
			data = nil
		case 8:
			meta = ""
		}
		r := append1(t, l, meta, data...)
		s.records = append(s.records, *r)
	}
	if err := l.abandon(); err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		s.members = append(s.members, imageOf(t, m))
	}
	copies := map[string]int{}
	for _, im := range s.members {
		for name := range im {
			copies[name]++
		}
	}
	want := map[string]int{"0000000001.seg": min(n, 3), "0000000002.seg": min(n, 3), "0000000003.open": min(n, 3), "MEMBER": n}
	if !maps.Equal(copies, want) {
		t.Fatalf("the sample holds %v", copies)
	}
	return s
}

// open opens a log of the images.
func openImages(t testing.TB, images []image) (*Log, []Member, error) {
	t.Helper()
	var members []Member
	for i, im := range images {
		members = append(members, im.member(t, i))
	}
	l, err := Open(members, Options{})
	return l, members, err
}

// readAll checks that l holds the first records of the sample, all of them if n is 0, whatever member they come from,
// and returns an error of Replay.
func (s *sample) readAll(l *Log, n int) error {
	if n == 0 {
		n = len(s.records)
	}
	next := 0
	err := l.Replay(1, func(r *Record) error {
		want := s.records[next]
		if r.LSN != want.LSN || r.At != want.At || string(r.Meta) != string(want.Meta) {
			return fmt.Errorf("record %d at %v meta %q, wanted %d at %v meta %q", r.LSN, r.At, r.Meta, want.LSN, want.At, want.Meta)
		}
		next++
		return s.readData(l, want)
	})
	if err == nil && next != n {
		err = fmt.Errorf("%d records, wanted %d", next, n)
	}
	return err
}

// readData asks one member after the other for the data of a record, as a caller with a checksum does.
func (s *sample) readData(l *Log, r Record) error {
	var want string
	for _, p := range r.Data {
		want += string(p)
	}
	got := make([]byte, len(want))
	for i := range s.members {
		if err := readMember(l, i, got, r.At); err == nil && string(got) == want {
			return nil
		}
	}
	return fmt.Errorf("%w: data of record %d is damaged on all members", ErrCorrupt, r.LSN)
}

// TestFlipOnOneMember damages every byte of every segment on one member: all records are still there, and the copy is as
// the others after the next opening, but for records in sealed segments, which opening does not read.
func TestFlipOnOneMember(t *testing.T) {
	s := newSample(t, 3)
	for victim := range s.members {
		for name, b := range s.members[victim] {
			if name == "MEMBER" {
				continue
			}
			for at := range len(b) {
				images := append([]image(nil), s.members...)
				images[victim] = images[victim].flip(name, at, byte(1<<(at%8)))
				l, members, err := openImages(t, images)
				if err != nil {
					t.Fatalf("member %d %s byte %d: %v", victim, name, at, err)
				}
				if err := s.readAll(l, 0); err != nil {
					t.Fatalf("member %d %s byte %d: %v", victim, name, at, err)
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				inRecords := strings.HasSuffix(name, ".seg") && at >= 64 && at < sealedEnd
				if got, whole := imageOf(t, members[victim]), imageOf(t, members[(victim+1)%3]); !inRecords && !equalBut(got, whole, "MEMBER") {
					t.Fatalf("member %d %s byte %d: the copy was not repaired", victim, name, at)
				}
			}
		}
	}
}

func equalBut(a, b image, name string) bool {
	a, b = maps.Clone(a), maps.Clone(b)
	delete(a, name)
	delete(b, name)
	return maps.Equal(a, b)
}

// TestFlipOnAllMembers damages the same byte of every segment on all members. It is never taken for the end of the log,
// but in the last record, of which nothing says that it was durable.
func TestFlipOnAllMembers(t *testing.T) {
	for _, n := range []int{1, 3} {
		s := newSample(t, n)
		last := int(s.records[8].At.Offset) - 40
		for name, b := range s.members[0] {
			if name == "MEMBER" {
				continue
			}
			for at := range len(b) {
				var images []image
				for _, im := range s.members {
					images = append(images, im.flip(name, at, 0x40))
				}
				what := fmt.Sprintf("%d members, %s byte %d", n, name, at)
				l, members, err := openImages(t, images)
				if err != nil {
					if !errors.Is(err, ErrCorrupt) {
						t.Fatalf("%s: %v", what, err)
					}
					for i := range members {
						if !maps.Equal(imageOf(t, members[i]), images[i]) {
							t.Fatalf("%s: files were changed although the log was refused", what)
						}
					}
					continue
				}
				if name == "0000000003.open" && at >= last {
					err = s.readAll(l, 8)
				} else if err = s.readAll(l, 0); err != nil && errors.Is(err, ErrCorrupt) {
					err = nil // found when it was read
				}
				if err != nil || l.LastLSN() < 8 {
					t.Fatalf("%s: %v, last record %d", what, err, l.LastLSN())
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// TestCutOnOneMember shortens or zeroes every file of one member from every byte on: nothing is lost.
func TestCutOnOneMember(t *testing.T) {
	s := newSample(t, 2)
	for victim := range s.members {
		for name, b := range s.members[victim] {
			if name == "MEMBER" {
				continue
			}
			for at := -1; at < len(b); at++ {
				for _, zero := range []bool{false, true} {
					images := append([]image(nil), s.members...)
					images[victim] = images[victim].cut(name, at, zero)
					l, members, err := openImages(t, images)
					if err == nil {
						err = s.readAll(l, 0)
					}
					if err == nil {
						err = l.Close()
					}
					if err != nil {
						t.Fatalf("member %d %s cut at %d: %v", victim, name, at, err)
					}
					if zero && strings.HasSuffix(name, ".seg") && at < sealedEnd {
						continue // the record is found when it is read
					}
					if got, whole := imageOf(t, members[victim]), imageOf(t, members[1-victim]); !equalBut(got, whole, "MEMBER") {
						t.Fatalf("member %d %s cut at %d: the copy was not repaired", victim, name, at)
					}
				}
			}
		}
	}
}

// cut shortens a file to at bytes, or fills it with zeros from there; -1 removes it.
func (im image) cut(name string, at int, zero bool) image {
	out := maps.Clone(im)
	switch b := out[name]; {
	case at < 0:
		delete(out, name)
	case zero:
		out[name] = b[:at] + strings.Repeat("\x00", len(b)-at)
	default:
		out[name] = b[:at]
	}
	return out
}

// TestCutTailOnAllMembers shortens or zeroes the open segment at another byte on every member: the log then holds what
// any of them still has whole.
func TestCutTailOnAllMembers(t *testing.T) {
	s := newSample(t, 3)
	const name = "0000000003.open"
	size := len(s.members[0][name])
	var ends []int // of the records in the tail
	for _, r := range s.records[6:] {
		n := 0
		for _, p := range r.Data {
			n += len(p)
		}
		ends = append(ends, (int(r.At.Offset)+n+7)&^7)
	}
	for at := 64; at <= size; at++ {
		for _, zero := range []bool{false, true} {
			// The longest is at a member that changes from case to case, the others are shorter.
			var images []image
			for i, im := range s.members {
				images = append(images, im.cut(name, max(64, at-((i+at)%3)*50), zero))
			}
			want := 6
			for _, end := range ends {
				if end <= at {
					want++
				}
			}
			l, _, err := openImages(t, images)
			if err == nil {
				err = s.readAllOrLonger(l, want, zero)
			}
			if err == nil {
				err = l.Close()
			}
			if err != nil {
				t.Fatalf("cut at %d, zeroed %v: %v", at, zero, err)
			}
		}
	}
}

// readAllOrLonger is readAll, but if the end was zeroed a record that ends in zeros may have survived.
func (s *sample) readAllOrLonger(l *Log, n int, zeroed bool) error {
	if zeroed && int(l.LastLSN()) == n+1 {
		n++
	}
	return s.readAll(l, n)
}

// TestCutSealedOnAllMembers shortens a sealed segment on all members: that is damage, whichever segment it is.
func TestCutSealedOnAllMembers(t *testing.T) {
	s := newSample(t, 2)
	for _, name := range []string{"0000000001.seg", "0000000002.seg"} {
		for at := -1; at < len(s.members[0][name]); at++ {
			images := []image{s.members[0].cut(name, at, false), s.members[1].cut(name, at, false)}
			if at == -1 || at < sealedEnd {
				if _, _, err := openImages(t, images); !errors.Is(err, ErrCorrupt) {
					t.Fatalf("%s cut at %d: %v", name, at, err)
				}
				continue
			}
			// All records are there, and the next segment's header says so.
			l, _, err := openImages(t, images)
			if err == nil {
				err = s.readAll(l, 0)
			}
			if err == nil {
				err = l.Close()
			}
			if err != nil {
				t.Fatalf("%s cut at %d: %v", name, at, err)
			}
		}
	}
}

// TestRecoverySummary: what Open says that it found and did.
func TestRecoverySummary(t *testing.T) {
	const tail, sealed = "0000000003.open", "0000000002.seg"
	s := newSample(t, 2)
	f := func(name string, change func(images []image), want Recovery) {
		t.Helper()
		images := slices.Clone(s.members)
		change(images)
		var members []Member
		for i, im := range images {
			members = append(members, im.member(t, i))
		}
		var got Recovery
		l := mustOpen(t, members, Options{Events: &Events{Recovered: func(r Recovery) { got = r }}})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		for i := range got.Repaired {
			if got.Repaired[i].Reason == "" {
				t.Errorf("%s: no reason for the repair %+v", name, got.Repaired[i])
			}
			got.Repaired[i].Reason = ""
		}
		if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, want)
		}
	}
	size := int64(len(s.members[0][tail]))
	footer := segment.FileBytes(size, 3) - size
	last := size - int64(s.records[8].At.Offset) + 40
	f("killed", func([]image) {}, Recovery{Segments: 3, Last: 9, Sealed: 1})
	f("torn on all", func(im []image) {
		im[0], im[1] = im[0].cut(tail, int(size)-1, false), im[1].cut(tail, int(size)-2, false)
	}, Recovery{Segments: 3, Last: 8, Sealed: 1, CutBytes: last - 1})
	f("torn on one", func(im []image) { im[1] = im[1].cut(tail, int(size)-1, false) },
		Recovery{Segments: 3, Last: 9, Sealed: 1, Repaired: []Repair{{Member: 1, Segment: 3, Bytes: last + footer}}})
	f("sealed segment gone", func(im []image) { im[0] = im[0].cut(sealed, -1, false) },
		Recovery{Segments: 3, Last: 9, Sealed: 1, Repaired: []Repair{{Member: 0, Segment: 2, Bytes: int64(len(s.members[0][sealed]))}}})
	f("not yet a record", func(im []image) {
		im[0], im[1] = im[0].cut(tail, 64, false), im[1].cut(tail, -1, false)
	}, Recovery{Segments: 2, Last: 6, Removed: 1})
	var created Recovery
	mustOpen(t, memMembers(2), Options{Events: &Events{Recovered: func(r Recovery) { created = r }}})
	if !created.Created || created.Last != 0 || created.Segments != 0 {
		t.Errorf("new: %+v", created)
	}
}

// TestLastSealedFooterGone: a sealed last segment without a footer on any member is damage, although its records can be
// read: nothing says that they are all.
func TestLastSealedFooterGone(t *testing.T) {
	s := newSample(t, 2)
	const name = "0000000002.seg"
	for at := 64; at < len(s.members[0][name]); at++ {
		var images []image
		for _, im := range s.members {
			images = append(images, im.cut("0000000003.open", -1, false).cut(name, at, false))
		}
		if _, _, err := openImages(t, images); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut at %d: %v", at, err)
		}
	}
}

// TestFooterKnowsBetter: a footer on one member says how many records there were, so one that is whole nowhere is damage.
func TestFooterKnowsBetter(t *testing.T) {
	s := newSample(t, 2)
	const name = "0000000002.seg"
	for at := 64; at < sealedEnd; at++ {
		images := []image{s.members[0].flip(name, at, 4), s.members[1].flip(name, at, 4).cut(name, sealedEnd, false)}
		if _, _, err := openImages(t, images); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("byte %d: %v", at, err)
		}
	}
}

// TestLongerThanSealed: an unsealed copy that is longer than the sealed file of another member is written anew, since files
// are not shortened.
func TestLongerThanSealed(t *testing.T) {
	s := newSample(t, 2)
	for _, junk := range []int{0, 1, 8, 5000} {
		longer := s.members[1].cut("0000000002.seg", -1, false)
		longer["0000000002.open"] = s.members[1]["0000000002.seg"] + strings.Repeat("j", junk)
		l, members, err := openImages(t, []image{s.members[0], longer})
		if err == nil {
			err = errors.Join(s.readAll(l, 0), l.Close())
		}
		if err != nil {
			t.Fatalf("%d bytes longer: %v", junk, err)
		}
		if !equalBut(imageOf(t, members[0]), imageOf(t, members[1]), "MEMBER") {
			t.Errorf("%d bytes longer: the copies differ", junk)
		}
	}
}

// TestLeftovers: what a crash leaves of a segment's file before its header is on the disk is removed, whatever it is, but
// only of the last segment and only if nothing else can be in it.
func TestLeftovers(t *testing.T) {
	s := newSample(t, 2)
	const name = "0000000003.open"
	f := func(a, b string, want LSN) {
		t.Helper()
		images := []image{maps.Clone(s.members[0]), maps.Clone(s.members[1])}
		images[0][name], images[1][name] = a, b
		if b == "-" {
			delete(images[1], name)
		}
		l, members, err := openImages(t, images)
		if want == 0 {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("%q %q: %v", a, b, err)
			}
			return
		}
		if err != nil {
			t.Errorf("%q %q: %v", a, b, err)
			return
		}
		if l.LastLSN() != want {
			t.Errorf("%q %q: last record %d", a, b, l.LastLSN())
		}
		for _, m := range members {
			if c, err := contents(m); err != nil || c[name] != "" {
				t.Errorf("%q %q: still there, %v", a, b, err)
			}
		}
		append1(t, l, "takes the number again")
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	header := s.members[0][name][:64]
	zeros := strings.Repeat("\x00", 64)
	f("", "", 6)
	f("", "-", 6)
	f(zeros, zeros, 6)
	f(header[:32]+zeros[:32], "", 6)
	f(header, zeros, 6)
	f(header, "-", 6)
	f(header+"torn record", "", 6)
	f(zeros+"\x00", "", 0) // a record is written only when the header is on the disk
	f(zeros+s.members[0][name][64:], "", 0)
	// A sealed segment is no leftover, however short.
	for _, size := range []int{0, 10, 64} {
		var images []image
		for _, im := range s.members {
			im = im.cut(name, -1, false)
			im["0000000003.seg"] = zeros[:size]
			images = append(images, im)
		}
		if _, _, err := openImages(t, images); !errors.Is(err, ErrCorrupt) {
			t.Errorf("sealed, %d bytes: %v", size, err)
		}
	}
}

// TestDifferentCopies: whole but different headers or records at one place were not written by one log.
func TestDifferentCopies(t *testing.T) {
	s := newSample(t, 2)
	other := func(created int64, change string) string {
		h, err := segment.ParseHeader([]byte(s.members[0]["0000000003.open"]))
		if err != nil {
			t.Fatal(err)
		}
		h.Created += created
		var w segment.Writer
		var b segment.Buffers
		w.Reset(h)
		out := h.Append(nil)
		for i, r := range s.records[6:] {
			data := []byte(change)
			if i != 1 {
				data = data[:0]
				for _, p := range r.Data {
					data = append(data, p...)
				}
			}
			w.Append(&b, &segment.Source{LSN: r.LSN, Meta: r.Meta, Data: [][]byte{data}, DataLen: int64(len(data)),
				MetaCRC: segment.Checksum(0, r.Meta), DataCRC: segment.Checksum(0, data)}, w.End())
		}
		for _, p := range b.Slices() {
			out = append(out, p...)
		}
		return string(out)
	}
	f := func(name, tail string, ok bool) {
		t.Helper()
		images := []image{s.members[0], maps.Clone(s.members[1])}
		images[1]["0000000003.open"] = tail
		l, _, err := openImages(t, images)
		if err == nil {
			err = errors.Join(s.readAll(l, 0), l.Close())
		}
		if ok && err != nil || !ok && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f("the same", other(0, ""), true)
	f("another record", other(0, "change"), false)
	f("another header", other(1, ""), false)
	// All copies are equal, but the segment does not follow the one before.
	h := segment.Header{Store: segment.StoreID([]byte(s.members[0]["MEMBER"])[16:32]), ID: 3, First: 8}
	images := []image{maps.Clone(s.members[0]), maps.Clone(s.members[1])}
	images[0]["0000000003.open"], images[1]["0000000003.open"] = string(h.Append(nil)), string(h.Append(nil))
	if _, _, err := openImages(t, images); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a gap between segments: %v", err)
	}
}

// deafFS is a file system whose files cannot be read in some range.
type deafFS struct {
	vfs.FS
	name string
	from int64
}

type deafFile struct {
	vfs.File
	from int64
}

func (d deafFS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.Open(name, o...)
	if err == nil && d.PathBase(name) == d.name {
		f = &deafFile{f, d.from}
	}
	return f, err
}

func (f *deafFile) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.from {
		return 0, errInjected
	}
	return f.File.ReadAt(p, off)
}

// TestUnreadable: what cannot be read is taken from another member. If there is none it is not taken for the end of the
// log, since it may be an acknowledged record.
func TestUnreadable(t *testing.T) {
	for _, n := range []int{1, 2} {
		s := newSample(t, n)
		for name, b := range s.members[0] {
			for from := 0; from < len(b); from += 8 {
				var members []Member
				for i, im := range s.members {
					members = append(members, im.member(t, i))
				}
				members[0].FS = deafFS{members[0].FS, name, int64(from)}
				l, err := Open(members, Options{})
				if err == nil {
					err = s.readAll(l, 0)
					if err2 := l.Close(); err2 != nil {
						t.Fatal(err2)
					}
				}
				switch {
				case n == 2 && name != "MEMBER" && err != nil:
					t.Fatalf("%d members, %s from %d: %v", n, name, from, err)
				case n == 1 && err == nil && strings.HasSuffix(name, ".open"):
					t.Fatalf("%d members, %s from %d: opened", n, name, from)
				}
			}
		}
	}
}

// stutterFS is a file system of which one read fails.
type stutterFS struct {
	vfs.FS
	reads, fail atomic.Int64
}

type stutterFile struct {
	vfs.File
	fs *stutterFS
}

func (s *stutterFS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := s.FS.Open(name, o...)
	if err != nil {
		return nil, err
	}
	return &stutterFile{f, s}, nil
}

func (f *stutterFile) ReadAt(p []byte, off int64) (int, error) {
	if f.fs.reads.Add(1) == f.fs.fail.Load() {
		return 0, errInjected
	}
	return f.File.ReadAt(p, off)
}

// TestOneReadFails: a read that fails once, and would work a moment later, is not taken for the end of the log either. Of three
// members the one that cannot be read is left out, and has everything again later; of two the other one serves reads; of one
// the failure is reported.
func TestOneReadFails(t *testing.T) {
	one := newSample(t, 1) // with a single record in the open segment, of which nothing says that it was durable
	one.members[0] = one.members[0].cut("0000000003.open", int(one.records[7].At.Offset)-40-len(one.records[7].Meta), false)
	one.records = one.records[:7]
	for _, s := range []sample{one, newSample(t, 1), newSample(t, 2), newSample(t, 3)} {
		for fail, hit := 1, true; hit; fail++ {
			synctest.Test(t, func(t *testing.T) { hit = oneReadFails(t, s, fail) })
		}
	}
}

func oneReadFails(t *testing.T, s sample, fail int) (hit bool) {
	members := membersOf(t, s.members)
	fs := &stutterFS{FS: members[0].FS}
	fs.fail.Store(int64(fail))
	members[0].FS = fs
	what := fmt.Sprintf("read %d of member 1 of %d", fail, len(members))
	said := func(err error) bool {
		return strings.Contains(err.Error(), errInjected.Error()) && strings.Contains(err.Error(), "replica-1")
	}
	l, err := Open(members, Options{ScrubEvery: -1})
	hit = fs.reads.Load() >= int64(fail)
	switch {
	case err != nil:
		if len(members) > 1 || !hit || !strings.Contains(err.Error(), errInjected.Error()) {
			t.Fatalf("%s: %v", what, err)
		}
	case l.Failed() != nil:
		if len(members) != 2 || !hit || !errors.Is(l.Failed(), ErrUnavailable) || !said(l.Failed()) {
			t.Fatalf("%s: %v", what, l.Failed())
		}
		if err := s.readAll(l, 0); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if err := l.Close(); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("%s: close: %v", what, err)
		}
	default:
		if out := l.Members()[0]; len(members) == 3 && out.State != Current && (!hit || out.Err == nil || !said(out.Err)) {
			t.Fatalf("%s: %+v", what, out)
		}
		// Reading by number is done by each member alone, and may fail.
		if err := s.readAll(l, 0); err != nil && (len(members) > 1 || !errors.Is(err, ErrCorrupt) && !errors.Is(err, errInjected)) {
			t.Fatalf("%s: %v", what, err)
		}
		hit = fs.reads.Load() >= int64(fail)
		awaitIn(t, what+": whole", func() bool { return allCurrent(l) && l.Stats().Healing == 0 })
		if err := l.Close(); err != nil {
			t.Fatalf("%s: close: %v", what, err)
		}
	}
	fs.fail.Store(0)
	if l, err = Open(members, Options{}); err == nil {
		err = errors.Join(s.readAll(l, 0), l.Failed(), l.Close())
	}
	if err != nil {
		t.Fatalf("after %s had failed: %v", what, err)
	}
	compareMembers(t, what, members)
	return hit
}

// FuzzOpen gives arbitrary bytes as the open segment of all members: Open neither panics nor changes anything when it
// refuses, and never loses what is sealed.
func FuzzOpen(f *testing.F) {
	const name = "0000000003.open"
	seeds := newSample(f, 1)
	tail := seeds.members[0][name]
	f.Add(tail)
	f.Add(tail + tail)
	f.Add(seeds.members[0]["0000000002.seg"])
	for at := 0; at < len(tail); at += 7 {
		f.Add(tail[:at] + strings.Repeat("\x00", 20) + tail[at:])
		f.Add(seeds.members[0].flip(name, at, 0x80)[name])
	}
	f.Fuzz(func(t *testing.T, tail string) {
		im := maps.Clone(seeds.members[0])
		im[name] = tail
		damage := slices.ContainsFunc(verify(t, membersOf(t, []image{im})), func(p Problem) bool { return !p.Unfinished })
		l, members, err := openImages(t, []image{im})
		if damage != (err != nil) {
			t.Fatalf("damage found: %v; Open: %v", damage, err)
		}
		if err != nil {
			if !maps.Equal(imageOf(t, members[0]), im) {
				t.Fatal("files were changed although the log was refused")
			}
			return
		}
		if last := l.LastLSN(); last < 6 || last > 9 {
			t.Fatalf("last record %d", last)
		}
		if err := seeds.readAll(l, int(l.LastLSN())); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
