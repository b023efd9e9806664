package bench

import (
	"bytes"
	"fmt"
	"hash/crc32"
)

const (
	// chainLength is how many snapshots the blob has that restores and diffs read: a month of daily ones.
	chainLength = 30
	// chainMax is its size. Where less data is stored in advance, it is as large as that.
	chainMax = 64 << 20
	// changeBytes is the size of the writes between two snapshots.
	changeBytes = 16 << 10
)

// changes returns how many writes change 1 % of a blob.
func changes(size int64) int { return max(1, int(size/100/changeBytes)) }

// chain is a blob with snapshots, and one that was written once.
type chain struct {
	path, fresh    string
	size           int64
	snapshots      []string    // oldest first
	oldest, newest fingerprint // of the first and the last
	once           fingerprint // of the other blob
}

// fingerprint is what is known of the content of a blob: of every 4 MiB a checksum and how it begins.
type fingerprint []struct {
	sum   uint32
	begin [stampBytes]byte
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (f *fingerprint) add(p []byte) {
	*f = append(*f, struct {
		sum   uint32
		begin [stampBytes]byte
	}{crc32.Checksum(p, castagnoli), [stampBytes]byte(p)})
}

func fingerprintOf(image []byte) fingerprint {
	var f fingerprint
	for off := 0; off < len(image); off += requestMax {
		f.add(image[off : off+requestMax])
	}
	return f
}

// makeChain makes the target's chain at the first call.
func (s *wireSession) makeChain(c *conn) error {
	t := s.target
	if t.chain != nil {
		return nil
	}
	k := &chain{path: t.blob("chain"), fresh: t.blob("fresh"), size: min(t.env.setBytes, chainMax)}
	buf := t.env.source.writeBuffer()
	defer t.env.source.returnWriteBuffer(buf)
	image := make([]byte, k.size)
	write := func(path string, off int64, size int) error {
		p := t.env.source.next(buf, size)
		copy(image[off:], p)
		return c.putPage(path, off, p)
	}
	for _, path := range []string{k.fresh, k.path} { // the chain last: its content is changed further
		if err := c.createPageBlob(path, k.size); err != nil {
			return err
		}
		for off := int64(0); off < k.size; off += requestMax {
			if err := write(path, off, requestMax); err != nil {
				return err
			}
		}
		if path == k.fresh {
			k.once = fingerprintOf(image)
		}
	}
	for i := range chainLength {
		for j := 0; i > 0 && j < changes(k.size); j++ {
			off := int64(scatter(uint64(i)<<32|uint64(j))%uint64(k.size/changeBytes)) * changeBytes
			if err := write(k.path, off, changeBytes); err != nil {
				return err
			}
		}
		name, err := c.snapshot(k.path)
		if err != nil {
			return err
		}
		k.snapshots = append(k.snapshots, name)
		if i == 0 {
			k.oldest = fingerprintOf(image)
		}
	}
	k.newest = fingerprintOf(image)
	t.chain = k
	return nil
}

// prepareRestore makes the chain and reads once, checking every byte, what will be read.
func prepareRestore(s *wireSession, c *conn) error {
	if err := s.makeChain(c); err != nil {
		return err
	}
	k := s.target.chain
	s.span = k.size
	path, snapshot, want := k.fresh, "", k.once
	switch s.workload.Version {
	case Oldest:
		path, snapshot, want = k.path, k.snapshots[0], k.oldest
	case Newest:
		path, snapshot, want = k.path, k.snapshots[len(k.snapshots)-1], k.newest
	}
	read := func(c *conn, off int64, p []byte) error {
		if snapshot == "" {
			return c.getRange(path, off, p)
		}
		return c.getSnapshotRange(path, snapshot, off, p)
	}
	s.request = func(w *wireWorker) (int, error) {
		_, off := w.place()
		p := w.readBuffer()[:requestMax]
		if err := read(w.conn, off, p); err != nil {
			return 0, at(off, err)
		}
		if begin := want[off/requestMax].begin; !s.target.o.Unchecked && !bytes.HasPrefix(p, begin[:]) {
			return 0, at(off, notWritten(p))
		}
		return len(p), nil
	}
	if s.target.o.Unchecked {
		return nil
	}
	p := s.target.env.source.readBuffer()
	defer s.target.env.source.returnReadBuffer(p)
	for off := int64(0); off < s.span; off += requestMax {
		if err := read(c, off, p); err != nil {
			return at(off, err)
		}
		if crc32.Checksum(p, castagnoli) != want[off/requestMax].sum {
			return fmt.Errorf("bytes [%d, %d) are not what was written", off, off+requestMax)
		}
	}
	return nil
}

// prepareDiff makes the chain, and sees whether there are differences to be had.
func prepareDiff(s *wireSession, c *conn) error {
	if err := s.makeChain(c); err != nil {
		return err
	}
	k := s.target.chain
	s.request = func(w *wireWorker) (int, error) {
		from := w.random.IntN(chainLength - 1)
		to := from + 1 + w.random.IntN(chainLength-1-from)
		body, err := w.conn.rangesDiff(k.path, k.snapshots[from], k.snapshots[to], w.readBuffer())
		if err == nil && !bytes.Contains(body, []byte("<PageRange>")) {
			err = fmt.Errorf("no difference from snapshot %s to %s", k.snapshots[from], k.snapshots[to])
		}
		return 0, err
	}
	return s.tryDiff(c, k.path, k.snapshots[0], k.snapshots[1], int64(changes(k.size))*changeBytes)
}
