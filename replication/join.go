package replication

import (
	"errors"
	"io/fs"

	"pagevault/replication/segment"
)

// errNotNow says that files of the checkpoint were replaced while they were copied.
var errNotNow = errors.New("the checkpoint was replaced meanwhile")

// files gives the member the files of the checkpoint, if it is to keep them, without keeping others from the checkpoint: the rest
// is for who holds keeper.writing.
func (b *bringing) files(p *pace) error {
	k := &b.l.keeper
	manifest := k.current()
	if len(manifest.Files) == 0 || !b.keeps() {
		return nil
	}
	if err := b.m.makeCheckpointDir(); err != nil {
		return err
	}
	if _, err := b.l.completeFiles(b.ctx, p, b.m, manifest.Files); err != nil {
		if now := k.current(); errors.Is(err, ErrCorrupt) && now.Sequence != manifest.Sequence {
			return errNotNow
		}
		if errors.Is(err, ErrCorrupt) {
			return nil // nobody has it: the next checkpoint makes it anew
		}
		return err
	}
	return nil
}

// keeps reports whether the member will be one of those that keep the files of checkpoints.
func (b *bringing) keeps() bool {
	ms := *b.l.now()
	ms.joining = ms.joining.With(b.m.number)
	return ms.keepers().Has(b.m.number)
}

// join has the member written from now on.
func (b *bringing) join() error {
	k := &b.l.keeper
	k.writing.Lock()
	defer k.writing.Unlock()
	if err := b.l.changeable(); err != nil {
		return err
	}
	f, err := b.m.look() // what was dropped since is to go
	if err == nil {
		err = b.clean(&f)
	}
	if err == nil {
		err = b.manifest(&f)
	}
	if err == nil {
		err = b.m.syncDir()
	}
	if err != nil {
		return err
	}
	b.m.failed.Store(nil)
	b.m.start()
	if err := b.l.join(b.m); err != nil {
		return err
	}
	b.joined = true
	return nil
}

// manifest gives the member the manifest, and removes from the directory of the checkpoint what that does not name.
func (b *bringing) manifest(f *found) error {
	manifest := b.l.keeper.current()
	if manifest.Sequence == 0 {
		if f.manifest == nil && f.damage == nil {
			return nil
		}
		return b.m.fs.Remove(b.m.path(segment.ManifestName))
	}
	if err := b.m.prepareManifest(manifest.Append(nil)); err != nil {
		return err
	}
	if err := b.m.placeManifest(); err != nil {
		return err
	}
	for _, name := range strangers(f, &manifest) {
		if err := b.m.fs.Remove(b.m.checkpointPath(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &MemberError{Dir: b.m.dir, Op: "remove " + name, Err: err}
		}
	}
	return nil
}

// finish gives a member that has joined what it still lacks, and has it count.
func (b *bringing) finish() error {
	if err := b.segments(nil); err != nil {
		return err
	}
	k := &b.l.keeper
	k.writing.Lock()
	defer k.writing.Unlock()
	if err := b.files(nil); err != nil {
		return err
	}
	b.l.custodian.joined(b.m)
	if err := b.l.admit(b.m); err != nil {
		return err
	}
	for id := range b.doubtful {
		b.l.noteStrays(id)
		b.l.Heal(id)
	}
	return nil
}
