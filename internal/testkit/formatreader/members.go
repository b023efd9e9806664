package formatreader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
)

// member is what the MEMBER file of a directory says.
type member struct {
	dir    string
	number uint32
	id     [16]byte
	roster
}

// roster is who the members are.
type roster struct {
	store, history [16]byte
	epoch          uint64
	least, copies  int
	through        uint64
	before         uint64
	need           int
	rows           map[uint32]row // by number
	current        int            // how many are
	said           string         // what two rosters that say the same have in common
}

type row struct {
	current bool
	id      [16]byte
}

// readMember reads the MEMBER file of a directory.
func readMember(dir string) (*member, error) {
	p, err := os.ReadFile(filepath.Join(dir, "MEMBER"))
	if err != nil {
		return nil, err
	}
	if head(p, "PVMEMBER", 1) == nil && len(p) == 64 {
		p, err = firstRoster(p)
	}
	if err == nil {
		err = head(p, "PVMEMBER", 2)
	}
	if err != nil {
		return nil, err
	}
	n := int(binary.LittleEndian.Uint32(p[32:]))
	if n < 1 || n > 64 || len(p) != 132+48*n || crc(p[64:len(p)-4]) != binary.LittleEndian.Uint32(p[len(p)-4:]) {
		return nil, errors.New("the rows of MEMBER are damaged")
	}
	m := &member{dir: dir, number: binary.LittleEndian.Uint32(p[12:])}
	m.roster = roster{store: [16]byte(p[16:]), history: [16]byte(p[64:]), epoch: binary.LittleEndian.Uint64(p[40:]),
		least: int(binary.LittleEndian.Uint32(p[36:])), copies: int(p[56]), through: binary.LittleEndian.Uint64(p[88:]),
		before: binary.LittleEndian.Uint64(p[96:]), need: int(p[104]), rows: map[uint32]row{}}
	for r := p[128 : len(p)-4]; len(r) > 0; r = r[48:] {
		if r[4] < 1 || r[4] > 3 {
			return nil, fmt.Errorf("MEMBER has state %d", r[4])
		}
		m.rows[binary.LittleEndian.Uint32(r)] = row{current: r[4] == 1, id: [16]byte(r[8:])}
		if r[4] == 1 {
			m.current++
		}
	}
	mine, ok := m.rows[m.number]
	if !ok || m.current == 0 || m.least < 1 || m.copies < 1 || m.need > bits.OnesCount64(m.before) {
		return nil, errors.New("MEMBER says something impossible")
	}
	m.id = mine.id
	said := bytes.Clone(p[:len(p)-4])
	for _, own := range [][2]int{{12, 16}, {60, 64}, {80, 88}, {96, 106}} { // number, CRC, promise, and whether it is settled
		clear(said[own[0]:own[1]])
	}
	m.said = string(said)
	return m, nil
}

// firstRoster returns what version 1 of a MEMBER file means, as version 2.
func firstRoster(old []byte) ([]byte, error) {
	count := binary.LittleEndian.Uint32(old[32:])
	if count < 1 || count > 64 {
		return nil, fmt.Errorf("MEMBER counts %d members", count)
	}
	p := make([]byte, 132+48*count)
	copy(p, old[:60])
	least := min(2, count)
	if count > 3 {
		least = max(least, count/2+1)
	}
	binary.LittleEndian.PutUint32(p[8:], 2)
	binary.LittleEndian.PutUint32(p[36:], least)
	binary.LittleEndian.PutUint64(p[40:], 1<<12)
	p[56] = byte(min(3, count))
	binary.LittleEndian.PutUint32(p[60:], crc(p[:60]))
	copy(p[64:], old[16:32])
	for i := range count {
		r := p[128+48*i:]
		binary.LittleEndian.PutUint32(r, i+1)
		r[4] = 1
		copy(r[8:24], old[16:32])
		r[23] ^= byte(i + 1)
		binary.LittleEndian.PutUint64(r[24:], 1<<12)
		copy(r[32:40], old[48:56])
	}
	binary.LittleEndian.PutUint32(p[len(p)-4:], crc(p[64:len(p)-4]))
	return p, nil
}

// isSettled reports whether the roster is known to have been on all of its current members.
func (r *roster) isSettled() bool { return r.need == 0 }

// has returns the directory that is a member of r, of those given; nil if it is not there.
func (r *roster) has(number uint32, seen []*member) *member {
	for _, m := range seen {
		if w, ok := r.rows[number]; ok && m.number == number && m.id == w.id {
			return m
		}
	}
	return nil
}

// currentMembers returns the directories that count, and the roster by which they do. It refuses too few.
func currentMembers(dirs []string) (current []*member, counts *roster, err error) {
	var seen []*member
	var why error
	for _, dir := range dirs {
		m, err := readMember(dir)
		if err != nil {
			why = errors.Join(why, fmt.Errorf("%s: %w", dir, err))
			continue
		}
		for _, other := range seen {
			if other.store != m.store || other.number == m.number && other.id == m.id {
				return nil, nil, fmt.Errorf("%s and %s are of two stores, or one is a copy", other.dir, dir)
			}
		}
		seen = append(seen, m)
	}
	if seen, err = ofOneHistory(seen); err == nil {
		counts, err = newestRoster(seen)
	}
	if err != nil {
		return nil, nil, errors.Join(err, why)
	}
	for number, w := range counts.rows {
		if m := counts.has(number, seen); w.current && m != nil && m.epoch >= counts.epoch {
			current = append(current, m)
		}
	}
	missing, may := counts.current-len(current), min(counts.least, counts.copies, counts.current)-1
	if missing > may {
		return nil, nil, errors.Join(fmt.Errorf("%d of %d current members are missing, and %d may be", missing, counts.current, may), why)
	}
	found := 0
	for number := range uint32(64) {
		if counts.before>>number&1 == 1 && counts.has(number+1, seen) != nil {
			found++
		}
	}
	if found < counts.need {
		return nil, nil, errors.Join(fmt.Errorf("%d of the members before are there, and %d are needed", found, counts.need), why)
	}
	return current, counts, nil
}

// ofOneHistory returns the directories of the history that counts.
func ofOneHistory(seen []*member) (out []*member, err error) {
	if len(seen) == 0 {
		return nil, errors.New("no directory is a member")
	}
	best := seen[0]
	for _, m := range seen {
		if m.epoch>>32 > best.epoch>>32 {
			best = m
		}
	}
	for _, m := range seen {
		if m.history == best.history {
			out = append(out, m)
		} else if m.epoch>>32 == best.epoch>>32 {
			return nil, fmt.Errorf("%s and %s have different histories", best.dir, m.dir)
		}
	}
	return out, nil
}

// newestRoster returns the roster that counts.
func newestRoster(seen []*member) (best *roster, err error) {
	for _, m := range seen {
		r := &m.roster
		switch {
		case !r.isSettled() && !r.mayHaveBeen(seen):
		case best == nil || r.epoch > best.epoch || r.epoch == best.epoch && r.isSettled() && !best.isSettled():
			best = r
		case r.epoch < best.epoch || r.said == best.said || best.isSettled() && !r.isSettled():
		default:
			return nil, fmt.Errorf("there are two rosters of epoch %#x", r.epoch)
		}
	}
	if best == nil {
		return nil, errors.New("every directory has a roster that was not written to all")
	}
	return best, nil
}

// mayHaveBeen reports whether a roster that is not settled may have been on all of its current members.
func (r *roster) mayHaveBeen(seen []*member) bool {
	for number, w := range r.rows {
		if m := r.has(number, seen); w.current && m != nil && (m.epoch < r.epoch || m.epoch == r.epoch && m.said != r.said) {
			return false
		}
	}
	return true
}
