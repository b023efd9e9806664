package pagestore

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"runtime"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/internal/digest"
	"pagevault/replication"
)

// The file of a summary lies beside the directory of the index and is called like it, with ".summary" behind. It only
// saves time: without it the names are read from the index. All numbers are little-endian.
//
//	magic        [8]   "PVNAMES" and the version, 1
//	store        [16]  id of the log
//	applied      u64   LSN: the names of every record up to here that the index holds are in the filters
//	held         u64   names that were added
//	gone         u64   of these, how many the index no longer holds, roughly
//	layers       u32   1..maxLayers
//	layers × (blocks u64 · room u64)
//	checksum     u32   CRC32C of the bytes before
//	layers × words     in pieces of 1 MiB, the last of each layer shorter, each followed by
//	                   CRC32C u32 of: the header's checksum u32 · number of the piece in the file u32 · the piece
//
// A file that was damaged, cut, or is of another store or version is not used.
const (
	summaryMagic      = "PVNAMES\x01"
	summaryHeadBytes  = 8 + 16 + 8 + 8 + 8 + 4
	summaryPieceBytes = 1 << 20
	maxLayers         = 64
)

// minSavedNames is how many names are worth a file: fewer are read from the index in a fraction of a second.
const minSavedNames = 1 << 16

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func summaryPath(o *Options) string { return o.Dir + ".summary" }

// saveSummary writes the file of the summary, if it is worth one. What it holds is true of the store at applied, and not of
// an older state: names that had left the index when the summary was filled anew are not in it. A crash leaves the old file
// or the new one.
func (s *Store) saveSummary(applied replication.LSN) error {
	set := s.names.cur.Load() // knows every name up to applied: names come before the state that tells of them
	if !s.names.ready.Load() || set.saved.Load() == uint64(applied) && applied != 0 {
		return nil
	}
	path := summaryPath(&s.o)
	if set.held.Load() < s.o.minSavedNames {
		if err := s.o.FS.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	if err := writeWhole(s.o.FS, path, func(w io.Writer) error {
		return set.write(w, s.log.StoreID(), applied)
	}); err != nil {
		return err
	}
	set.saved.Store(uint64(applied))
	return nil
}

// writeWhole makes path hold what write writes, or, if anything goes wrong, what it did before: a temporary file is
// written and synced, then renamed, then the directory is synced.
func writeWhole(fs vfs.FS, path string, write func(w io.Writer) error) error {
	temp := path + ".tmp"
	f, err := fs.Create(temp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<16)
	err = write(w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, fs.Remove(temp))
	}
	if err := fs.Rename(temp, path); err != nil {
		return err
	}
	return syncDir(fs, fs.PathDir(path))
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// write writes the file of the set. Names may be added meanwhile.
func (s *nameSet) write(w io.Writer, store [16]byte, applied replication.LSN) error {
	layers := *s.layers.Load()
	head := append([]byte(summaryMagic), store[:]...)
	for _, n := range [...]uint64{uint64(applied), s.held.Load(), s.gone.Load()} {
		head = binary.LittleEndian.AppendUint64(head, n)
	}
	head = binary.LittleEndian.AppendUint32(head, uint32(len(layers)))
	for _, l := range layers {
		head = binary.LittleEndian.AppendUint64(head, uint64(len(l.words)/blockWords))
		head = binary.LittleEndian.AppendUint64(head, uint64(max(l.room.Load(), 0)))
	}
	sum := crc32.Checksum(head, castagnoli)
	head = binary.LittleEndian.AppendUint32(head, sum)
	if _, err := w.Write(head); err != nil {
		return err
	}
	piece, buf := uint32(0), make([]byte, 0, summaryPieceBytes+4)
	for _, l := range layers {
		for from := 0; from < len(l.words); from += summaryPieceBytes / 8 {
			buf = buf[:0]
			for i := from; i < min(from+summaryPieceBytes/8, len(l.words)); i++ {
				buf = binary.LittleEndian.AppendUint64(buf, atomic.LoadUint64(&l.words[i]))
			}
			buf = binary.LittleEndian.AppendUint32(buf, pieceChecksum(sum, piece, buf))
			if _, err := w.Write(buf); err != nil {
				return err
			}
			piece++
		}
		runtime.KeepAlive(l)
	}
	return nil
}

func pieceChecksum(head, piece uint32, p []byte) uint32 {
	var seed [8]byte
	binary.LittleEndian.PutUint32(seed[:], head)
	binary.LittleEndian.PutUint32(seed[4:], piece)
	return crc32.Update(crc32.Checksum(seed[:], castagnoli), castagnoli, p)
}

// loadSummary reads the file of the summary. It returns nil without an error if there is none.
func loadSummary(o *Options, store [16]byte) (*nameSet, error) {
	f, err := o.FS.Open(summaryPath(o), vfs.SequentialReadsOption)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	set := &nameSet{}
	if err := set.read(f, info.Size(), store); err != nil {
		return nil, fmt.Errorf("%s: %w", summaryPath(o), err)
	}
	return set, nil
}

// read reads the file of a set of the given length. set.saved is then how far it goes.
func (s *nameSet) read(r io.Reader, size int64, store [16]byte) error {
	head := make([]byte, summaryHeadBytes)
	if _, err := io.ReadFull(r, head); err != nil {
		return err
	}
	switch {
	case string(head[:7]) != summaryMagic[:7]:
		return errors.New("is not a file of names")
	case string(head[:8]) != summaryMagic:
		return fmt.Errorf("has version %d, this build reads version %d", head[7], summaryMagic[7])
	case string(head[8:24]) != string(store[:]):
		return fmt.Errorf("belongs to store %x, the log to store %x", head[8:24], store)
	}
	n := int(binary.LittleEndian.Uint32(head[48:]))
	if n < 1 || n > maxLayers {
		return fmt.Errorf("is damaged: %d filters", n)
	}
	head = append(head, make([]byte, n*16+4)...)
	if _, err := io.ReadFull(r, head[summaryHeadBytes:]); err != nil {
		return err
	}
	end := len(head) - 4
	sum := binary.LittleEndian.Uint32(head[end:])
	if crc32.Checksum(head[:end], castagnoli) != sum {
		return fmt.Errorf("is damaged: %w", errChecksum)
	}
	layers, err := layersOf(head[summaryHeadBytes:end], size-int64(len(head)))
	if err != nil {
		return err
	}
	piece, buf := uint32(0), make([]byte, summaryPieceBytes+4)
	for _, l := range layers {
		if piece, err = l.read(r, sum, piece, buf); err != nil {
			return err
		}
	}
	s.saved.Store(binary.LittleEndian.Uint64(head[24:]))
	s.held.Store(binary.LittleEndian.Uint64(head[32:]))
	s.gone.Store(binary.LittleEndian.Uint64(head[40:]))
	s.layers.Store(&layers)
	return nil
}

// layersOf makes the layers that a header lists. size is that of what follows the header.
func layersOf(list []byte, size int64) ([]*layer, error) {
	for p, left := list, uint64(size); ; p = p[16:] {
		if len(p) == 0 {
			if left != 0 {
				return nil, fmt.Errorf("is damaged: %d bytes too long", left)
			}
			break
		}
		blocks, room := binary.LittleEndian.Uint64(p), binary.LittleEndian.Uint64(p[8:])
		bytes := blocks * blockWords * 8
		pieces := (bytes + summaryPieceBytes - 1) / summaryPieceBytes
		if blocks == 0 || blocks > math.MaxUint32 || room > math.MaxInt64 || bytes+4*pieces > left {
			return nil, fmt.Errorf("is cut or damaged: a filter of %d blocks in %d bytes", blocks, left)
		}
		left -= bytes + 4*pieces
	}
	var layers []*layer
	for p := list; len(p) > 0; p = p[16:] {
		l := newLayerOf(binary.LittleEndian.Uint64(p))
		l.room.Store(int64(binary.LittleEndian.Uint64(p[8:])))
		layers = append(layers, l)
	}
	return layers, nil
}

// read reads the words of a layer, whose first piece has the given number, and returns the number of the next layer's.
func (l *layer) read(r io.Reader, sum, piece uint32, buf []byte) (uint32, error) {
	defer runtime.KeepAlive(l)
	for words := l.words; len(words) > 0; piece++ {
		n := min(summaryPieceBytes, 8*len(words))
		if _, err := io.ReadFull(r, buf[:n+4]); err != nil {
			return 0, err
		}
		if binary.LittleEndian.Uint32(buf[n:]) != pieceChecksum(sum, piece, buf[:n]) {
			return 0, fmt.Errorf("is damaged: MiB %d: %w", piece, errChecksum)
		}
		for i := range n / 8 { // nobody else knows of the words yet
			words[i] = binary.LittleEndian.Uint64(buf[8*i:])
		}
		words = words[n/8:]
	}
	return piece, nil
}

// startSummary loads the summary of an index in the state st, as far as the file beside it helps, and adds the names of
// records behind the file's. What it cannot use, it removes: in time it could be mistaken for something true.
func (s *Store) startSummary(st *state) error {
	s.names.init(st.Chunks + st.Chunks/16)
	if st.applied == 0 { // the index is empty: every name will be added as it is applied
		s.names.ready.Store(true)
		return nil
	}
	set, err := loadSummary(&s.o, s.log.StoreID())
	if err == nil && set == nil {
		return nil
	}
	if err == nil {
		err = s.forward(set, st.applied)
	}
	if err != nil {
		s.summaryLost(fmt.Errorf("fingerprints are read from the index: %w", err))
		if err := s.o.FS.Remove(summaryPath(&s.o)); err != nil {
			return fmt.Errorf("removing what cannot be used: %w", err)
		}
		return nil
	}
	s.names.cur.Store(set)
	s.names.ready.Store(true)
	return nil
}

// forward adds the names of the records from where the set was saved up to applied.
func (s *Store) forward(set *nameSet, applied replication.LSN) error {
	saved := replication.LSN(set.saved.Load())
	if saved > s.log.LastLSN() {
		return fmt.Errorf("%s: names of %d records, the log has %d", summaryPath(&s.o), saved, s.log.LastLSN())
	}
	if saved > applied {
		return fmt.Errorf("%s: names as of record %d, the index has %d: those that have left it since may be missing", summaryPath(&s.o), saved, applied)
	}
	var d commitDecoder
	err := s.log.Replay(saved+1, func(r *replication.Record) error {
		if r.LSN > applied {
			return io.EOF
		}
		return d.eachName(r.Meta, set.add)
	})
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return err
}

// eachName calls fn for every name that a record after the first brings.
func (d *commitDecoder) eachName(meta []byte, fn func(name *digest.Digest)) error {
	if err := d.reset(meta); err != nil {
		return err
	}
	for d.next() {
		if d.op.kind == opFrame {
			for i := range d.op.frame.chunks {
				fn(&d.op.frame.chunks[i].name)
			}
		}
		for d.region() {
			if d.reg.name != nil {
				fn(d.reg.name)
			}
		}
	}
	return d.err
}

// keepSummary saves the summary as it is now.
func (s *Store) keepSummary() {
	if err := s.saveSummary(s.state.Load().applied); err != nil {
		s.summaryLost(fmt.Errorf("fingerprints are not kept for the next start: %w", err))
	}
}

func (s *Store) summaryLost(err error) {
	if f := s.o.Events.SummaryLost; f != nil {
		f(err)
	}
}
