package replication

import "fmt"

// readMember fills p with the bytes at a position from one member, counted from 0, and no other.
func readMember(l *Log, member int, p []byte, at Position) error {
	m := l.now().member(member)
	if m == nil {
		return fmt.Errorf("no member %d", member)
	}
	if _, err := l.locate(len(p), at); err != nil {
		return err
	}
	return l.readFile(fileKey{member: m, segment: at.Segment}, p, int64(at.Offset))
}
