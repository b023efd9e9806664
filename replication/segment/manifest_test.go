package segment

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

func testManifest() *Manifest {
	return &Manifest{
		Store: testStore, Sequence: 0x3132333435363738, LSN: 0x1112131415161718, Created: 0x2122232425262728,
		Dropped: []Range{{From: 2, To: 3, First: 0x0a, Last: 0x0fff}, {From: 0x01020304, To: 0x01020304, First: 0x2000, Last: 0x2001}},
		Files: []File{
			{Born: 7, Number: 1, CRC: 0x01020304, Size: 0x0b0c0d0e, Name: "000004.sst", Key: "of 4"},
			{Born: 0x3132333435363738, Number: 300, Name: "x"},
		},
	}
}

func TestManifestRoundTrip(t *testing.T) {
	for what, m := range map[string]*Manifest{
		"full":             testManifest(),
		"nothing":          {Store: testStore, Sequence: 1},
		"no files":         {Store: testStore, Sequence: 1, LSN: 9, Dropped: []Range{{From: 1, To: 1, First: 1, Last: 9}}},
		"no ranges":        {Store: testStore, Sequence: 2, LSN: 1, Files: []File{{Born: 1, Number: 1, Name: "a"}}},
		"all segments":     {Sequence: 1, LSN: math.MaxUint64, Dropped: []Range{{From: 1, To: math.MaxUint32, First: 1, Last: math.MaxUint64}}},
		"the longest name": {Sequence: 1, LSN: 1, Files: []File{{Born: 1, Number: 1, Name: strings.Repeat("n", NameBytesMax), Key: strings.Repeat("k", NameBytesMax)}}},
	} {
		if err := m.Check(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if got, err := ParseManifest(m.Append(nil)); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s: %+v %v", what, got, err)
		}
	}
}

// TestManifestDamage changes each byte, and cuts after each: all of it is noticed.
func TestManifestDamage(t *testing.T) {
	good := testManifest().Append(nil)
	for at := range good {
		for _, with := range []byte{1, 0x80, 0xff} {
			b := bytes.Clone(good)
			b[at] ^= with
			if _, err := ParseManifest(b); !errors.Is(err, ErrDamaged) {
				t.Fatalf("byte %d changed by %x: %v", at, with, err)
			}
		}
		if _, err := ParseManifest(good[:at]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut at %d: %v", at, err)
		}
	}
	if _, err := ParseManifest(append(good, 0)); !errors.Is(err, ErrDamaged) {
		t.Fatalf("a byte more: %v", err)
	}
	other := bytes.Clone(good)
	other[8]++
	reframe(other)
	var version *VersionError
	if _, err := ParseManifest(other); !errors.As(err, &version) || version.Found != Version+1 || version.What != ManifestName {
		t.Fatalf("another version: %v", err)
	}
}

// reframe makes the checksums of a manifest right.
func reframe(b []byte) {
	copy(b[60:], le32(Checksum(0, b[:60])))
	if n := len(b) - 4; n >= ManifestHeaderBytes {
		copy(b[n:], le32(Checksum(0, b[ManifestHeaderBytes:n])))
	}
}

func le32(v uint32) []byte { return []byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)} }

// TestManifestSense has manifests with right checksums that make no sense.
func TestManifestSense(t *testing.T) {
	for what, change := range map[string]func(m *Manifest){
		"no sequence number":    func(m *Manifest) { m.Sequence = 0 },
		"files for no record":   func(m *Manifest) { m.LSN, m.Dropped = 0, nil },
		"drops without records": func(m *Manifest) { m.LSN, m.Files = 0, nil },
		"a drop not covered":    func(m *Manifest) { m.LSN = 0x2000 },
		"segment 0":             func(m *Manifest) { m.Dropped[0].From = 0 },
		"record 0":              func(m *Manifest) { m.Dropped[0].First = 0 },
		"backwards":             func(m *Manifest) { m.Dropped[0].To = 1 },
		"records backwards":     func(m *Manifest) { m.Dropped[0].Last = 9 },
		"more segments":         func(m *Manifest) { m.Dropped[1].Last = 0x2000; m.Dropped[1].To++ },
		"touching":              func(m *Manifest) { m.Dropped[1].From = 4 },
		"not in order":          func(m *Manifest) { m.Dropped[0], m.Dropped[1] = m.Dropped[1], m.Dropped[0] },
		"records not in order":  func(m *Manifest) { m.Dropped[1].First, m.Dropped[1].Last = 0x0fff, 0x1000 },
		"no name":               func(m *Manifest) { m.Files[0].Name = "" },
		"a name twice":          func(m *Manifest) { m.Files[0].Name = "x" },
		"a file twice":          func(m *Manifest) { m.Files[0].Born, m.Files[0].Number = m.Files[1].Born, 300 },
		"born later":            func(m *Manifest) { m.Files[0].Born = m.Sequence + 1 },
		"born never":            func(m *Manifest) { m.Files[0].Born = 0 },
		"no number":             func(m *Manifest) { m.Files[0].Number = 0 },
		"a negative size":       func(m *Manifest) { m.Files[0].Size = -1 },
	} {
		m := testManifest()
		change(m)
		if _, err := ParseManifest(m.Append(nil)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestFileNames(t *testing.T) {
	for name, want := range map[string]File{
		"0000000001-000001":               {Born: 1, Number: 1},
		"0000000012-000345":               {Born: 12, Number: 345},
		"18446744073709551615-00000001":   {},
		"18446744073709551615-4294967295": {Born: math.MaxUint64, Number: math.MaxUint32},
		"0000000001-000001.tmp":           {},
		"1-1":                             {},
		"":                                {},
		"+000000001-000001":               {},
		"lost+found":                      {},
	} {
		born, number, ok := ParseFileName(name)
		if ok != (want.Born > 0) || born != want.Born || number != want.Number || ok && want.FileName() != name {
			t.Errorf("%q: %d %d %v", name, born, number, ok)
		}
	}
}

func FuzzManifest(f *testing.F) {
	f.Add(testManifest().Append(nil))
	f.Add((&Manifest{Sequence: 1}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := ParseManifest(b); err == nil {
			return // as it came; below the checksums are made right
		}
		if len(b) < ManifestHeaderBytes+4 {
			return
		}
		b = bytes.Clone(b)
		copy(b, manifestMagic[:])
		reframe(b)
		m, err := ParseManifest(b)
		if err != nil {
			var version *VersionError
			if !errors.Is(err, ErrDamaged) && !errors.As(err, &version) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		if !bytes.Equal(m.Append(nil), b) {
			t.Fatalf("%x is written as %x", b, m.Append(nil))
		}
	})
}
