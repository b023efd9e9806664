package segment

import (
	"encoding/binary"

	"pagevault/replication/placement"
	"pagevault/replication/roster"
)

// MemberVersion is the format version of MEMBER files that this package writes. Version 1 is what ParseIdentity reads.
const MemberVersion = 2

// Sizes in bytes of the parts of a MEMBER file, and of the largest.
const (
	memberHeadBytes = 160
	memberRowBytes  = 48
	MemberBytesMax  = memberHeadBytes + roster.NumberMax*memberRowBytes + 4
)

// MemberBytes returns the length of a MEMBER file of so many members.
func MemberBytes(rows int) int64 { return memberHeadBytes + int64(rows)*memberRowBytes + 4 }

// Member is the content of a MEMBER file: which member the directory is, and who all the members are.
//
//	 0  8  magic "PVMEMBER"
//	 8  4  format version: 2, of this structure alone
//	12  4  number of this member, from 1
//	16 16  store id
//	32  4  number of rows
//	36  4  least: how many current members writing needs
//	40  8  epoch
//	48  8  time of creation of the log, nanoseconds since 1970-01-01 UTC
//	56  1  copies: on how many members an open segment is written
//	57  1  shards of data of a sealed segment; 0: copies
//	58  1  shards of parity
//	59  1  zero
//	60  4  CRC-32C of the 60 bytes before
//	64 16  history
//	80  8  promise: a start has wanted to write an epoch as high as this. 0: none has
//	88  8  LSN of the last record that was durable when the roster was made
//	96  8  before: bit n - 1 for each member n that was current before; 0: the roster is settled
//	104 1  need: how many members of before a start must find; 0: the roster is settled
//	105 1  keep: how many members of before must stay current
//	106 6  zero
//	112 16 of a forced start that is not settled: the history that it was made from. Zeros, as all that follow: it is none
//	128 8  the epoch of the roster that it was made from
//	136 8  bit n - 1 for each member n that was current in that
//	144 8  its before
//	152 1  its need
//	153 1  its keep
//	154 2  zero
//	156 4  its least
//
// then the rows, ascending by number, 48 bytes each:
//
//	 0  4  number
//	 4  1  state: 1 current, 2 joining, 3 behind
//	 5  1  reason: 0 none, 1 write error, 2 sync error, 3 stalled, 4 no space, 5 vanished, 6 absent at start, 7 damaged,
//	       8 new, 9 asked for
//	 6  2  zero
//	 8 16  id of this incarnation of the member
//	24  8  epoch in which it got its state
//	32  8  time of that
//	40  8  zero
//
// then 4 bytes, the CRC-32C of everything behind the first 64.
type Member struct {
	Number  uint32
	Promise uint64
	Roster  roster.Roster
}

// ID returns the id of the directory: that of its row, zeros if the roster has none.
func (m *Member) ID() roster.ID {
	if row := m.Roster.Row(int(m.Number)); row != nil {
		return row.ID
	}
	return roster.ID{}
}

// Append appends the encoded file to dst.
func (m *Member) Append(dst []byte) []byte {
	r := &m.Roster
	var b [memberHeadBytes]byte
	binary.LittleEndian.PutUint32(b[12:], m.Number)
	copy(b[16:], r.Store[:])
	binary.LittleEndian.PutUint32(b[32:], uint32(len(r.Rows)))
	binary.LittleEndian.PutUint32(b[36:], uint32(r.Least))
	binary.LittleEndian.PutUint64(b[40:], r.Epoch)
	binary.LittleEndian.PutUint64(b[48:], uint64(r.Created))
	b[56], b[57], b[58] = byte(r.Copies), byte(r.K), byte(r.M)
	frameVersion(b[:64], identityMagic, MemberVersion)
	copy(b[64:], r.History[:])
	binary.LittleEndian.PutUint64(b[80:], m.Promise)
	binary.LittleEndian.PutUint64(b[88:], r.Through)
	binary.LittleEndian.PutUint64(b[96:], uint64(r.Before))
	b[104], b[105] = byte(r.Need), byte(r.Keep)
	copy(b[112:], r.From.History[:])
	binary.LittleEndian.PutUint64(b[128:], r.From.Epoch)
	binary.LittleEndian.PutUint64(b[136:], uint64(r.From.Current))
	binary.LittleEndian.PutUint64(b[144:], uint64(r.From.Before))
	b[152], b[153] = byte(r.From.Need), byte(r.From.Keep)
	binary.LittleEndian.PutUint32(b[156:], uint32(r.From.Least))
	start := len(dst) + 64
	dst = append(dst, b[:]...)
	for i := range r.Rows {
		dst = appendMemberRow(dst, &r.Rows[i])
	}
	return binary.LittleEndian.AppendUint32(dst, Checksum(0, dst[start:]))
}

func appendMemberRow(dst []byte, w *roster.Row) []byte {
	var b [memberRowBytes]byte
	binary.LittleEndian.PutUint32(b[0:], uint32(w.Number))
	b[4], b[5] = byte(w.State), byte(w.Reason)
	copy(b[8:], w.ID[:])
	binary.LittleEndian.PutUint64(b[24:], w.Since)
	binary.LittleEndian.PutUint64(b[32:], uint64(w.Time))
	return append(dst, b[:]...)
}

// ParseMember reads the content of a MEMBER file. Errors: ErrDamaged, and *VersionError for another version, also for
// version 1, which ParseIdentity reads.
func ParseMember(b []byte) (Member, error) {
	if err := checkFrameVersion(b, identityMagic, IdentityName, MemberVersion); err != nil {
		return Member{}, err
	}
	n := int64(binary.LittleEndian.Uint32(b[32:]))
	if want := MemberBytes(int(n)); int64(len(b)) != want {
		return Member{}, damaged("%s of %d rows has %d bytes, wanted %d", IdentityName, n, len(b), want)
	}
	if sum, crc := Checksum(0, b[64:len(b)-4]), binary.LittleEndian.Uint32(b[len(b)-4:]); sum != crc {
		return Member{}, damaged("the rows of %s have checksum %08x, their bytes give %08x", IdentityName, crc, sum)
	}
	m := Member{Number: binary.LittleEndian.Uint32(b[12:]), Promise: binary.LittleEndian.Uint64(b[80:])}
	m.Roster = roster.Roster{
		Store:   [16]byte(b[16:32]),
		History: roster.History(b[64:80]),
		Epoch:   binary.LittleEndian.Uint64(b[40:]),
		Created: int64(binary.LittleEndian.Uint64(b[48:])),
		Least:   int(binary.LittleEndian.Uint32(b[36:])),
		Copies:  int(b[56]), K: int(b[57]), M: int(b[58]),
		Through: binary.LittleEndian.Uint64(b[88:]),
		Before:  placement.Set(binary.LittleEndian.Uint64(b[96:])), Need: int(b[104]), Keep: int(b[105]),
		From: roster.Origin{
			History: roster.History(b[112:128]),
			Epoch:   binary.LittleEndian.Uint64(b[128:]),
			Current: placement.Set(binary.LittleEndian.Uint64(b[136:])),
			Least:   int(binary.LittleEndian.Uint32(b[156:])),
			Before:  placement.Set(binary.LittleEndian.Uint64(b[144:])), Need: int(b[152]), Keep: int(b[153]),
		},
	}
	for rows := b[memberHeadBytes : len(b)-4]; len(rows) > 0; rows = rows[memberRowBytes:] {
		m.Roster.Rows = append(m.Roster.Rows, roster.Row{
			Number: int(binary.LittleEndian.Uint32(rows)),
			State:  roster.State(rows[4]), Reason: roster.Reason(rows[5]),
			ID:    roster.ID(rows[8:24]),
			Since: binary.LittleEndian.Uint64(rows[24:]),
			Time:  int64(binary.LittleEndian.Uint64(rows[32:])),
		})
	}
	if err := m.Roster.Check(); err != nil {
		return Member{}, damaged("%s: %v", IdentityName, err)
	}
	if m.Roster.Row(int(m.Number)) == nil {
		return Member{}, damaged("%s is that of member %d, and its roster has no such member", IdentityName, m.Number)
	}
	return m, nil
}
