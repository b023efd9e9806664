package replication

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"pagevault/replication/segment"
)

// newestManifest returns the manifest that counts: of those that are whole, the one with the highest sequence number. That
// is right also if a damaged one had a higher: either all members had that one, or what the others name is still there. With
// no manifest on any member it returns one that says nothing. What it returns with an error is the best there is for looking
// further.
func newestManifest(members []*member, all []found) (*segment.Manifest, error) {
	newest, of := &segment.Manifest{}, -1
	for i, f := range all {
		switch {
		case f.manifest == nil:
		case of < 0 || f.manifest.Sequence > newest.Sequence:
			newest, of = f.manifest, i
		case f.manifest.Sequence == newest.Sequence && !sameManifest(f.manifest, newest):
			return newest, fmt.Errorf("%w: %s and %s hold different files %s with the sequence number %d",
				ErrCorrupt, members[of].dir, members[i].dir, segment.ManifestName, newest.Sequence)
		}
	}
	if of >= 0 {
		return newest, nil
	}
	for i, f := range all {
		if f.damage != nil {
			return newest, fmt.Errorf("%w: no member holds a whole file %s, which says what was dropped; that of %s: %w",
				ErrCorrupt, segment.ManifestName, members[i].dir, f.damage)
		}
	}
	return newest, nil
}

func sameManifest(a, b *segment.Manifest) bool { return bytes.Equal(a.Append(nil), b.Append(nil)) }

// recoverCheckpoint makes all members hold the manifest, and the keepers the files it names, and then removes what it does not name: a
// crash between two steps leaves something that the next Open repairs in the same way. A file of the checkpoint that no
// member has is no reason to refuse the log, which may do without; whoever needs it is told.
func (l *Log) recoverCheckpoint(manifest *segment.Manifest, all []found, done *Recovery) error {
	l.keeper.mu.attempted = manifest.Sequence
	l.keeper.mu.manifest = *manifest
	for i := range manifest.Files {
		if err := l.mendFile(&manifest.Files[i], all, done); err != nil {
			return err
		}
	}
	if manifest.Sequence > 0 {
		if err := l.mendManifests(manifest, all, done); err != nil {
			return err
		}
	}
	for i, m := range l.present {
		if err := m.removeLeftovers(manifest, &all[i], done); err != nil {
			return err
		}
	}
	return nil
}

// mendFile gives a file of the checkpoint to the keepers that do not have it in its length.
func (l *Log) mendFile(f *segment.File, all []found, done *Recovery) error {
	name, keepers := f.FileName(), l.now().keepers()
	for i, m := range l.present {
		size, ok := all[i].files[name]
		if ok && size == f.Size || !keepers.Has(m.number) {
			continue
		}
		reason := "the file is missing"
		if ok {
			reason = fmt.Sprintf("%d bytes, not %d", size, f.Size)
		}
		bad := fmt.Errorf("%s", reason)
		copied := false
		for j, from := range l.present {
			if size, ok := all[j].files[name]; !ok || size != f.Size || copied {
				continue
			}
			var err error
			if bad, err = from.copyFileTo(m, f); err != nil {
				return err
			}
			copied = bad == nil
		}
		if !copied {
			l.keeper.suspect(f)
			l.keeper.mu.lost = fmt.Errorf("%w: file %s of the checkpoint on every member: %w", ErrCorrupt, f.Name, bad)
			return nil
		}
		done.Repaired = append(done.Repaired, Repair{Member: m.number, File: segment.CheckpointDir + "/" + name, Bytes: f.Size, Reason: reason})
	}
	return nil
}

// copyFileTo copies a file of the checkpoint to another member, where it appears whole or not at all. bad says why the copy
// here is not what was written.
func (m *member) copyFileTo(to *member, f *segment.File) (bad, err error) {
	if err := to.makeCheckpointDir(); err != nil {
		return nil, err
	}
	temp := to.checkpointPath(f.FileName() + segment.TempSuffix)
	out, err := to.fs.Create(temp, writeCategory)
	if err != nil {
		return nil, to.fileError("create", f, err)
	}
	bad, err = m.readFile(f, func(_ string, r io.Reader) error {
		buf := make([]byte, min(copyBytes, f.Size+1))
		for {
			n, err := r.Read(buf)
			if n > 0 {
				if err := to.writeTo(out, buf[:n]); err != nil {
					return err
				}
			}
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
	if err == nil && bad == nil {
		to.syncs.Add(1)
		err = out.Sync()
	}
	err = errors.Join(err, out.Close())
	if bad != nil {
		return bad, nil // the unfinished copy is overwritten, or removed as a leftover
	}
	if err == nil {
		err = to.fs.Rename(temp, to.checkpointPath(f.FileName()))
	}
	if err != nil {
		return nil, to.fileError("write", f, err)
	}
	return nil, to.syncCheckpointDir()
}

// mendManifests gives the manifest to the members that have another or none.
func (l *Log) mendManifests(manifest *segment.Manifest, all []found, done *Recovery) error {
	b := manifest.Append(nil)
	for i, m := range l.present {
		reason := ""
		switch f := &all[i]; {
		case f.damage != nil:
			reason = f.damage.Error()
		case f.manifest == nil:
			reason = "the file is missing"
		case f.manifest.Sequence != manifest.Sequence:
			reason = fmt.Sprintf("number %d of the file, another member has number %d", f.manifest.Sequence, manifest.Sequence)
		default:
			continue
		}
		if err := m.prepareManifest(b); err != nil {
			return err
		}
		if err := m.placeManifest(); err != nil {
			return err
		}
		done.Repaired = append(done.Repaired, Repair{Member: m.number, File: segment.ManifestName, Bytes: int64(len(b)), Reason: reason})
	}
	return nil
}

// removeLeftovers removes segments that were dropped and files that are not the checkpoint's.
func (m *member) removeLeftovers(manifest *segment.Manifest, f *found, done *Recovery) error {
	for id, n := range f.segments {
		if _, dropped := manifest.DroppedSegment(id); !dropped {
			continue
		}
		for _, sealed := range []bool{false, true} {
			if sealed && !n.sealed || !sealed && !n.open {
				continue
			}
			if err := m.fs.Remove(m.path(segment.Name(id, sealed))); err != nil {
				return &MemberError{Dir: m.dir, Op: "remove", Segment: id, Err: err}
			}
			done.Dropped++
		}
	}
	for id, shards := range f.shards {
		if _, dropped := manifest.DroppedSegment(id); !dropped {
			continue
		}
		for _, i := range shards {
			if err := m.removeShard(id, i); err != nil {
				return err
			}
			done.Dropped++
		}
	}
	named := make(map[string]bool, len(manifest.Files))
	for i := range manifest.Files {
		named[manifest.Files[i].FileName()] = true
	}
	list, err := m.fs.List(m.checkpointPath(""))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &MemberError{Dir: m.dir, Op: "list " + segment.CheckpointDir, Err: err}
	}
	for _, name := range list {
		if !isCheckpointFile(name) || named[name] {
			continue
		}
		if err := m.fs.Remove(m.checkpointPath(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &MemberError{Dir: m.dir, Op: "remove " + segment.CheckpointDir + "/" + name, Err: err}
		}
	}
	return nil
}

// isCheckpointFile reports whether name is one that a file of a checkpoint may have, or the copy of one that is being made.
func isCheckpointFile(name string) bool {
	_, _, ours := segment.ParseFileName(strings.TrimSuffix(name, segment.TempSuffix))
	return ours
}
