package pagestore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"strings"

	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/replication"
)

// A checkpoint is a copy of the index on every member of the log. It stands for the records that the index had applied:
// whoever loses the index begins with it and applies the rest, and segments whose records are all in it can be dropped
// once nothing else refers to them. It is as good as the truth then, so nothing becomes one that was not read and checked.
//
// Dir.checkpoint holds it while it is made: Pebble links its tables there, which never change, so that they stay while
// they are copied.
const checkpointSuffix = ".checkpoint"

// incarnationFile is a file in the directory of the index that names this life of its Pebble database: 16 random bytes.
// Pebble numbers its tables, and a table's number names the same bytes only within one life. An index that is made anew
// has no such file, and gets another name with its first checkpoint.
const incarnationFile = "INCARNATION"

// checkpoint copies the index as it is now to the members, as far as they do not have its files from the checkpoint
// before, and returns the record up to which it goes. It is for one goroutine at a time. read, if not nil, is asked before
// bytes are read: it may wait, and may say that there is no more time.
func (s *Store) checkpoint(ctx context.Context, read func(n int) error) (replication.LSN, error) {
	s.keepSummary() // one that is older than what was dropped would be of no use
	dir := s.o.Dir + checkpointSuffix
	lsn, err := s.saveCheckpoint(ctx, dir, read)
	return lsn, errors.Join(err, s.removeTemporary(dir))
}

func (s *Store) removeTemporary(dir string) error {
	if err := s.o.FS.RemoveAll(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (s *Store) saveCheckpoint(ctx context.Context, dir string, read func(n int) error) (replication.LSN, error) {
	if err := s.removeTemporary(dir); err != nil {
		return 0, err
	}
	if err := s.flushIndex(ctx); err != nil {
		return 0, err
	}
	if err := s.db.Checkpoint(dir); err != nil {
		return 0, fmt.Errorf("index %s: %w", s.o.Dir, err)
	}
	st, ok, err := peekState(&s.o, dir)
	if err == nil && ok {
		err = checkState(&st, s.log.StoreID(), s.log.Stats().Last) // s.state may be behind the index
	} else if err == nil {
		err = errors.New("it holds nothing")
	}
	if err != nil {
		return 0, fmt.Errorf("checkpoint of the index %s: %w", s.o.Dir, err)
	}
	files, err := s.checkpointFiles(dir, read)
	if err != nil {
		return 0, err
	}
	return st.applied, s.log.SaveCheckpoint(st.applied, files)
}

// flushIndex waits until everything that was applied when it was called is in tables.
func (s *Store) flushIndex(ctx context.Context) error {
	done, err := s.db.AsyncFlush()
	if err != nil {
		return err
	}
	select {
	case <-done:
		return s.indexFailure()
	case <-s.broken: // it may never end
		return s.indexFailure()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// checkpointFiles describes the files of a checkpoint in dir.
func (s *Store) checkpointFiles(dir string, read func(n int) error) ([]replication.CheckpointFile, error) {
	life, err := s.incarnation()
	if err != nil {
		return nil, err
	}
	names, err := s.o.FS.List(dir)
	if err != nil {
		return nil, err
	}
	var files []replication.CheckpointFile
	for _, name := range names {
		path := s.o.FS.PathJoin(dir, name)
		info, err := s.o.FS.Stat(path)
		if err != nil {
			return nil, err
		}
		f := replication.CheckpointFile{Name: name, Size: info.Size()}
		if strings.HasSuffix(name, ".sst") {
			f.Key, err = s.tableKey(path, life)
			f.Open = func() (io.ReadCloser, error) { return s.openTable(path, read) }
		} else {
			f.Key, err = s.contentKey(path)
			f.Open = func() (io.ReadCloser, error) { return s.o.FS.Open(path) }
		}
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// tableTail is how much of the end of a table is part of its key. It holds the table's own index and properties, so that
// a directory that somebody has put back to an older state, and that gives a number out twice, is not trusted blindly.
const tableTail = 16 << 10

// tableKey names the bytes of a table.
func (s *Store) tableKey(path string, life [16]byte) (string, error) {
	f, err := s.o.FS.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	tail := make([]byte, min(info.Size(), tableTail))
	if _, err := f.ReadAt(tail, info.Size()-int64(len(tail))); err != nil && err != io.EOF {
		return "", err
	}
	return fmt.Sprintf("%x %s %08x", life, s.o.FS.PathBase(path), crc32.Checksum(tail, castagnoli)), nil
}

// contentKey names the bytes of a small file.
func (s *Store) contentKey(path string) (string, error) {
	f, err := s.o.FS.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return s.o.FS.PathBase(path)[:min(8, len(s.o.FS.PathBase(path)))] + " " + hex.EncodeToString(h.Sum(nil)), nil
}

// incarnation returns the name of the present life of the database, giving it one if it has none.
func (s *Store) incarnation() (life [16]byte, err error) {
	path := s.o.FS.PathJoin(s.o.Dir, incarnationFile)
	f, err := s.o.FS.Open(path)
	if err == nil {
		_, err = io.ReadFull(f, life[:])
		if err = errors.Join(err, f.Close()); err == nil {
			return life, nil
		}
	}
	if _, err := rand.Read(life[:]); err != nil {
		return life, err
	}
	return life, writeWhole(s.o.FS, path, func(w io.Writer) error {
		_, err := w.Write(append([]byte(nil), life[:]...))
		return err
	})
}

// openTable opens a table for being copied to the members, having checked every block of it.
func (s *Store) openTable(path string, read func(n int) error) (io.ReadCloser, error) {
	if read != nil {
		info, err := s.o.FS.Stat(path)
		if err != nil {
			return nil, err
		}
		if err := read(int(info.Size())); err != nil {
			return nil, err
		}
	}
	if err := s.checkTable(path); err != nil {
		err = fmt.Errorf("table %s of the index is damaged: %w", s.o.FS.PathBase(path), err)
		markDamaged(&s.o, err)
		return nil, err
	}
	f, err := s.o.FS.Open(path, vfs.SequentialReadsOption)
	if err != nil || read == nil {
		return f, err
	}
	return &askingFile{f, read}, nil
}

// askingFile asks before it is read.
type askingFile struct {
	vfs.File
	read func(n int) error
}

func (f *askingFile) Read(p []byte) (int, error) {
	if err := f.read(len(p)); err != nil {
		return 0, err
	}
	return f.File.Read(p)
}

// checkTable reads every block of a table and compares its checksum.
func (s *Store) checkTable(path string) error {
	f, err := s.o.FS.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	p := pebbleOptions(&s.o, nil, func(error) {}, func(error) {})
	p.EnsureDefaults()
	r, err := sstable.NewReader(context.Background(), readable, p.MakeReaderOptions())
	if err != nil {
		return err // it has closed readable
	}
	return errors.Join(r.ValidateBlockChecksums(), r.Close())
}
