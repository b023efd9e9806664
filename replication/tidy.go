package replication

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"

	"pagevault/replication/segment"
)

// What a checkpoint consists of is put right here while the log is open: files that a member lacks because it became a keeper
// after they were written, and files and manifests that turn out to be damaged or missing.

// tidyCheckpoint puts the checkpoint right if there is a reason to believe that it is not. It is a job of the custodian.
func (l *Log) tidyCheckpoint(ctx context.Context) (did bool, err error) {
	if l.writable() != nil || l.Available() != nil || !l.keeper.untidy(l.now()) {
		return false, nil
	}
	done, err := l.healCheckpoint(ctx, false)
	return len(done) > 0, err
}

// untidy reports whether a keeper may lack a file that others have.
func (k *keeper) untidy(ms *membership) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.mu.manifest.Sequence == 0 || k.mu.lost != nil {
		return false
	}
	for _, m := range ms.each(ms.keepers()) {
		if !k.mu.whole[m] {
			return true
		}
	}
	return len(k.mu.suspect) > 0
}

// healCheckpoint compares the manifest and the files of the checkpoint on all members that should have them with what was
// written, and writes those that are missing or different again. Of files of which nobody has complained only the length is
// looked at, unless all are to be read. Each repair is told to Events.Healed. The error is ErrCorrupt if a file can be had
// from nobody, that of ctx, of the log, or of a member that cannot be spared.
func (l *Log) healCheckpoint(ctx context.Context, full bool) ([]Repair, error) {
	checked, bad, err := l.damagedFiles(ctx, full)
	if err != nil {
		return nil, err
	}
	k := &l.keeper
	k.writing.Lock()
	defer k.writing.Unlock()
	if err := l.writable(); err != nil {
		return nil, err
	}
	manifest := k.current()
	if manifest.Sequence == 0 {
		return nil, nil
	}
	h := checkpointHealing{l: l, ctx: ctx, manifest: &manifest, bad: bad, whole: map[*member]bool{}}
	ms := l.now()
	for i, m := range ms.each(ms.written()) {
		if err := h.member(m, ms.keepers().Has(i)); err != nil {
			return h.done, err
		}
	}
	k.setWhole(h.whole)
	k.cleared(checked)
	return h.done, nil
}

// damagedFiles reads the files of the checkpoint on every keeper, those that are suspect or all of them, and returns their
// names and which are not as they were written, by member and FileName. A checkpoint may be saved meanwhile.
func (l *Log) damagedFiles(ctx context.Context, full bool) (checked map[string]bool, bad map[*member]map[string]bool, err error) {
	k, ms := &l.keeper, l.now()
	k.mu.Lock()
	manifest, suspect := k.mu.manifest, maps.Clone(k.mu.suspect)
	k.mu.Unlock()
	checked, bad = map[string]bool{}, map[*member]map[string]bool{}
	for i := range manifest.Files {
		f := &manifest.Files[i]
		if !full && !suspect[f.FileName()] {
			continue
		}
		checked[f.FileName()] = true
		for _, m := range ms.each(ms.keepers()) {
			if err := l.custodian.pace.spend(ctx, f.Size); err != nil {
				return nil, nil, err
			}
			flaw, err := m.readFile(f, func(string, io.Reader) error { return ctx.Err() })
			if err != nil {
				return nil, nil, err
			}
			if flaw == nil {
				continue
			}
			if bad[m] == nil {
				bad[m] = map[string]bool{}
			}
			bad[m][f.FileName()] = true
		}
	}
	return checked, bad, nil
}

// checkpointHealing is the work of one healCheckpoint, for who holds keeper.writing.
type checkpointHealing struct {
	l        *Log
	ctx      context.Context
	manifest *segment.Manifest
	bad      map[*member]map[string]bool // see damagedFiles
	whole    map[*member]bool
	done     []Repair
}

// member puts right what one member holds. One that fails is left out of the log.
func (h *checkpointHealing) member(m *member, keeper bool) error {
	err := h.turn(m)
	if err == nil && keeper {
		err = h.files(m)
	}
	if err == nil && !keeper {
		err = m.wipeFiles()
	}
	if err == nil {
		h.whole[m] = keeper
		return nil
	}
	if errors.Is(err, ErrCorrupt) || h.ctx.Err() != nil {
		return err
	}
	return h.l.goOnWithout(m, err)
}

// turn gives the member the manifest if it has another, or none.
func (h *checkpointHealing) turn(m *member) error {
	var held found
	_, err := m.fs.Stat(m.path(segment.ManifestName))
	if err == nil {
		err = m.readManifest(&held)
	}
	reason := ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		reason = "the file is missing"
	case err != nil:
		return &MemberError{Dir: m.dir, Op: "read " + segment.ManifestName, Err: err}
	case held.damage != nil:
		reason = held.damage.Error()
	case !sameManifest(held.manifest, h.manifest):
		reason = fmt.Sprintf("number %d of the file where %d should be", held.manifest.Sequence, h.manifest.Sequence)
	default:
		return nil
	}
	b := h.manifest.Append(nil)
	if err := m.prepareManifest(b); err != nil {
		return err
	}
	if err := m.placeManifest(); err != nil {
		return err
	}
	h.healed(m, Repair{Member: m.number, File: segment.ManifestName, Bytes: int64(len(b)), Reason: reason})
	return nil
}

// files gives the member the files that it lacks, and good ones for those that are bad.
func (h *checkpointHealing) files(m *member) error {
	for i := range h.manifest.Files {
		f := &h.manifest.Files[i]
		if !h.bad[m][f.FileName()] {
			continue
		}
		// The copy takes the place of the bad file when it is whole.
		if err := h.l.fetchFile(m, f); err != nil {
			return h.l.lost(err)
		}
		h.healed(m, Repair{Member: m.number, File: segment.CheckpointDir + "/" + f.FileName(), Bytes: f.Size, Reason: "the file was damaged"})
	}
	done, err := h.l.completeFiles(h.ctx, h.l.custodian.pace, m, h.manifest.Files)
	for _, r := range done {
		h.healed(m, r)
	}
	return h.l.lost(err)
}

// lost notes, if err is ErrCorrupt, that a file of the checkpoint can be had from nobody, and returns err.
func (l *Log) lost(err error) error {
	if errors.Is(err, ErrCorrupt) {
		l.keeper.mu.Lock()
		l.keeper.mu.lost = err
		l.keeper.mu.Unlock()
	}
	return err
}

func (h *checkpointHealing) healed(m *member, r Repair) {
	m.repaired.Add(1)
	h.done = append(h.done, r)
	if h.l.o.Events.Healed != nil {
		h.l.o.Events.Healed(r)
	}
}

// cleared notes that files which may have been suspect were read, and written again where they were bad.
func (k *keeper) cleared(checked map[string]bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.DeleteFunc(k.mu.suspect, func(name string, _ bool) bool { return checked[name] })
}

// wipeFiles removes all files of checkpoints.
func (m *member) wipeFiles() error {
	list, err := m.fs.List(m.checkpointPath(""))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &MemberError{Dir: m.dir, Op: "list " + segment.CheckpointDir, Err: err}
	}
	for _, name := range list {
		if !isCheckpointFile(name) {
			continue
		}
		if err := m.fs.Remove(m.checkpointPath(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &MemberError{Dir: m.dir, Op: "remove " + segment.CheckpointDir + "/" + name, Err: err}
		}
	}
	return nil
}
