package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"testing"

	"pagevault/replication/placement"
	"pagevault/replication/roster"
)

func testMember() *Member {
	id := func(b byte) (id roster.ID) {
		for i := range id {
			id[i] = b<<4 | byte(i)
		}
		return id
	}
	return &Member{Number: 3, Promise: 0x4142434445464748, Roster: roster.Roster{
		Store: testStore, History: id(7), Epoch: 0x3132333435363738, Created: 0x2122232425262728, Least: 2, Copies: 3, K: 4, M: 2,
		Through: 0x5152535455565758, Before: placement.Of(0, 2, 8), Need: 2, Keep: 1,
		Rows: []roster.Row{
			{Number: 1, State: roster.Current, ID: id(1), Since: 0x1112131415161718, Time: 0x0102030405060708},
			{Number: 3, State: roster.Joining, Reason: roster.ReasonNew, ID: id(2), Since: 0x3132333435363738, Time: 0x6162636465666768},
			{Number: 9, State: roster.Behind, Reason: roster.ReasonSync, ID: id(3), Since: 0x3132333435363738, Time: 0x6162636465666768},
		},
	}}
}

// testForced is testMember after a forced start that is not settled.
func testForced() *Member {
	m := testMember()
	r := &m.Roster
	r.Before, r.Need, r.Keep = placement.Of(0), 1, 1
	r.From = roster.Origin{History: roster.History{8: 0x81, 15: 0x82}, Epoch: 0x3132333334353637, Current: placement.Of(0, 8), Least: 3,
		Before: placement.Of(0, 2, 8, 9), Need: 2, Keep: 1}
	return m
}

func TestMemberRoundTrip(t *testing.T) {
	for _, m := range []*Member{testMember(), testForced()} {
		testRoundTrip(t, m)
	}
}

func testRoundTrip(t *testing.T, m *Member) {
	t.Helper()
	b := m.Append([]byte("x"))[1:]
	got, err := ParseMember(b)
	if err != nil || !reflect.DeepEqual(got, *m) {
		t.Fatalf("%+v %v, wanted %+v", got, err, m)
	}
	if got.ID() != m.Roster.Rows[1].ID {
		t.Errorf("id %x", got.ID())
	}
	for at := range b {
		other := bytes.Clone(b)
		other[at] ^= 0x10
		if _, err := ParseMember(other); !errors.Is(err, ErrDamaged) {
			t.Errorf("byte %d changed: %v", at, err)
		}
		if _, err := ParseMember(b[:at]); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d bytes: %v", at, err)
		}
	}
	var version *VersionError
	if _, err := ParseIdentity(b); !errors.As(err, &version) || version.Found != 2 {
		t.Errorf("read as version 1: %v", err)
	}
	old := Identity{Store: testStore, Number: 2, Count: 3, Epoch: 1}
	if _, err := ParseMember(old.Append(nil)); !errors.As(err, &version) || version.Found != 1 || version.Want != 2 {
		t.Errorf("a file of version 1: %v", err)
	}
}

// TestMemberRefusals are files whose checksums are right and that cannot be.
func TestMemberRefusals(t *testing.T) {
	for what, change := range map[string]func(m *Member){
		"a member without a row":   func(m *Member) { m.Number = 2 },
		"number 0":                 func(m *Member) { m.Roster.Rows[0].Number = 0 },
		"number 65":                func(m *Member) { m.Roster.Rows[2].Number = 65 },
		"not in order":             func(m *Member) { m.Roster.Rows[2].Number = 2 },
		"a number twice":           func(m *Member) { m.Roster.Rows[0].Number = 3 },
		"an id twice":              func(m *Member) { m.Roster.Rows[0].ID = m.Roster.Rows[1].ID },
		"no such state":            func(m *Member) { m.Roster.Rows[2].State = 4 },
		"no state":                 func(m *Member) { m.Roster.Rows[2].State = 0 },
		"no such reason":           func(m *Member) { m.Roster.Rows[2].Reason = 10 },
		"since a later epoch":      func(m *Member) { m.Roster.Rows[2].Since = m.Roster.Epoch + 1 },
		"nobody current":           func(m *Member) { m.Roster.Rows[0].State = roster.Behind },
		"no epoch":                 func(m *Member) { m.Roster.Epoch = 0 },
		"least 0":                  func(m *Member) { m.Roster.Least = 0 },
		"no copies":                func(m *Member) { m.Roster.Copies = 0 },
		"data without parity":      func(m *Member) { m.Roster.M = 0 },
		"too many shards":          func(m *Member) { m.Roster.K = 63 },
		"more needed than there":   func(m *Member) { m.Roster.Need = 4 },
		"more kept than needed":    func(m *Member) { m.Roster.Keep = 3 },
		"settled, and yet members": func(m *Member) { m.Roster.Need, m.Roster.Keep = 0, 0 },
	} {
		m := testMember()
		change(m)
		if _, err := ParseMember(m.Append(nil)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, change := range map[string]func(r *roster.Roster){
		"forced, and settled":                  func(r *roster.Roster) { r.Before, r.Need, r.Keep = 0, 0, 0 },
		"forced, and others before":            func(r *roster.Roster) { r.Before = placement.Of(0, 1) },
		"forced, and fewer kept":               func(r *roster.Roster) { r.Keep = 0 },
		"forced from a later epoch":            func(r *roster.Roster) { r.From.Epoch = r.Epoch - 1 },
		"forced from no epoch":                 func(r *roster.Roster) { r.From.Epoch = 0 },
		"forced from where it was not":         func(r *roster.Roster) { r.From.Current = placement.Of(8) },
		"forced from what cannot be":           func(r *roster.Roster) { r.From.Keep = 3 },
		"forced from its own history":          func(r *roster.Roster) { r.From.History = r.History },
		"forced, and more current than before": func(r *roster.Roster) { r.Rows[1].State = roster.Current },
	} {
		m := testForced()
		change(&m.Roster)
		if _, err := ParseMember(m.Append(nil)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzMember(f *testing.F) {
	f.Add(testMember().Append(nil))
	f.Add(testForced().Append(nil))
	one := testMember()
	one.Number, one.Roster.Rows, one.Roster.Before, one.Roster.Need, one.Roster.Keep = 1, one.Roster.Rows[:1], 0, 0, 0
	f.Add(one.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := ParseMember(b); err == nil {
			m.ID()
			return // as it came; below the checksums are made right
		}
		if len(b) < memberHeadBytes+4 {
			return
		}
		b = bytes.Clone(b)
		frameVersion(b[:64], identityMagic, MemberVersion)
		binary.LittleEndian.PutUint32(b[len(b)-4:], Checksum(0, b[64:len(b)-4]))
		m, err := ParseMember(b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		again, err := ParseMember(m.Append(nil))
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Fatalf("%+v is read as %+v, %v", m, again, err)
		}
	})
}
