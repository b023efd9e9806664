package replication

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/internal/invariant"
	"pagevault/replication/roster"
	"pagevault/replication/segment"
)

// A checkpoint is a set of files that stands for the records up to some LSN, so that segments which hold only such records
// can be dropped. The files lie on the keepers: of the current members the three with the lowest numbers, and those that will
// be among them when they have joined. What a checkpoint consists of, and which segments were dropped, is the business of
// one file on every member that is current or joining, CHECKPOINT, the manifest. It is replaced as a whole, and the order of
// what is done makes sure that after a crash either the old or the new one counts:
//
//  1. Files are written that no manifest names, synced, and their directory is synced, on all keepers.
//  2. The new manifest is written beside the old one and synced on all members.
//  3. It is renamed, and the directory synced, on one member after the other. From the first of these renames on the new one
//     counts after a crash, since it has the higher sequence number, and everything it names is there on all keepers.
//  4. When it is on the disks of all members, what only older ones name is removed: files of the checkpoint, segments.
//
// A member that fails at any of this is reported to the commit loop, and when that has gone on without it, so does this: the
// members of whom all is promised are those of the membership in effect. Where too few would be left to write, it is this
// that fails instead. A failure before the first rename leaves nothing behind. After it either of the two may count after a
// crash, so nothing is removed that one of them names; the next one has a higher number than both. The log itself does not
// fail: records can be appended as long as the disks take them, and that is found out when one is written.

// keeper is what the log knows about its checkpoint.
//
// Invariants: manifest is on the disks of all current and joining members. Nothing it names is removed while it is manifest,
// but by damage. No member joins but under writing.
type keeper struct {
	// writing is held by SaveCheckpoint, RestoreCheckpoint, Drop and the end of a member's catching up, one at a time, during
	// their I/O: they wait for each other only, and Close for them. It is taken before any other lock.
	writing sync.Mutex

	// stale may be on disk, and manifest does not name them: to be removed when the next one is on all members. Guarded by
	// writing.
	stale []segment.File

	// turning is held, for writing, from the first rename of a manifest until what it no longer names is gone, so that a
	// check of the members sees all of that or nothing.
	turning sync.RWMutex

	mu struct {
		sync.Mutex
		manifest  segment.Manifest // Sequence 0: there is none
		attempted uint64           // the highest sequence number that a manifest may have on any member
		lost      error            // a file of the checkpoint can be had from no member
		suspect   map[string]bool  // files, by FileName, that a member could not give as they were written
		whole     map[*member]bool // keepers that have all files of manifest, as far as is known. Changed under writing only
	}
}

func (k *keeper) current() segment.Manifest {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.mu.manifest
}

// settle waits for what is being written, which sees that the log is closing.
func (k *keeper) settle() {
	k.writing.Lock()
	defer k.writing.Unlock()
}

// Checkpoint describes the checkpoint that the members hold; ok is false if there is none.
func (l *Log) Checkpoint() (info CheckpointInfo, ok bool) {
	m := l.keeper.current()
	if m.LSN == 0 {
		return info, false
	}
	return CheckpointInfo{LSN: m.LSN, Bytes: m.Bytes(), Files: len(m.Files), Time: time.Unix(0, m.Created)}, true
}

// SaveCheckpoint makes files the checkpoint, which stands for the records [1, lsn]; it replaces the one
// there was. Files whose Key and Size an earlier checkpoint's file has are not copied again. When it returns nil, a crash
// cannot take the new checkpoint away. When it returns an error, the old one holds, but after a crash either of them may be
// found, whole; the log goes on, and SaveCheckpoint can be tried again. It reports a log that has failed or is closed, and an
// lsn that is not durable yet or less than that of the checkpoint there is. It may run beside everything else.
func (l *Log) SaveCheckpoint(lsn LSN, files []CheckpointFile) error {
	k := &l.keeper
	k.writing.Lock()
	defer k.writing.Unlock()
	if err := l.writable(); err != nil {
		return err
	}
	old := k.current()
	if _, through := l.index.end(); lsn == 0 || lsn > through || lsn < old.LSN {
		return fmt.Errorf("checkpoint of record %d: the last durable record is %d, the last checkpoint stands for %d", lsn, through, old.LSN)
	}
	next := segment.Manifest{Store: l.store, Sequence: k.nextSequence(), LSN: lsn, Created: l.o.Clock.Now().UnixNano(), Dropped: old.Dropped}
	reuse := k.reusable()
	var fresh []segment.File
	for i, f := range files {
		content := fileContent{f.Key, f.Size}
		row, ok := reuse[content]
		delete(reuse, content)
		if f.Key == "" || !ok {
			row = segment.File{Born: next.Sequence, Number: uint32(i + 1), Size: f.Size, Key: f.Key}
			fresh = append(fresh, row)
		}
		row.Name = f.Name
		next.Files = append(next.Files, row)
	}
	if err := next.Check(); err != nil {
		return fmt.Errorf("checkpoint of record %d: %w", lsn, err)
	}
	err := l.copyFiles(files, &next)
	if err == nil {
		err = l.spread(&next)
	}
	if err == nil {
		err = l.prepareManifest(&next)
	}
	if err != nil {
		k.setWhole(nil) // of what the manifest names
		k.stale = append(k.stale, l.removeFiles(fresh)...)
		return fmt.Errorf("checkpoint of record %d: %w", lsn, err)
	}
	return l.turnTo(&next, nil)
}

// nextSequence returns a number that no manifest has.
func (k *keeper) nextSequence() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mu.attempted++
	return k.mu.attempted
}

// fileContent is what two files have in common that need not be copied twice.
type fileContent struct {
	key  string
	size int64
}

// reusable returns the files that all members hold, as far as is known.
func (k *keeper) reusable() map[fileContent]segment.File {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := map[fileContent]segment.File{}
	for _, f := range k.mu.manifest.Files {
		if !k.mu.suspect[f.FileName()] {
			out[fileContent{f.Key, f.Size}] = f
		}
	}
	return out
}

// writable returns why no records and checkpoints can be written just now, or any more.
func (l *Log) writable() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.failed == nil && !l.mu.closing && l.mu.unavailable != nil {
		return l.mu.unavailable
	}
	return l.changeableLocked()
}

// changeable returns why the membership cannot be changed just now, or any more. Where only fewer members are current than are
// asked for, it can: that is how more become so.
func (l *Log) changeable() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changeableLocked()
}

func (l *Log) changeableLocked() error {
	switch {
	case l.mu.failed != nil:
		return l.mu.failed
	case l.mu.closing:
		return ErrClosed
	case l.mu.unavailable != nil && l.mu.halting:
		return l.mu.unavailable
	}
	return nil
}

// keepers returns the members that hold the files of checkpoints, or will when they have joined.
func (ms *membership) keepers() Set {
	lowest := func(s Set) (out Set) {
		for i := range s.All() {
			if out.Len() < checkpointCopies {
				out = out.With(i)
			}
		}
		return out
	}
	return lowest(ms.current) | lowest(ms.current|ms.joining)&ms.joining
}

// checkpointCopies is on how many members the files of a checkpoint lie: any two may be lost.
const checkpointCopies = 3

// written returns the members that are written: current and joining ones.
func (ms *membership) written() Set { return ms.current | ms.joining }

// eachMember calls fn for all members of a set at the same time. Those that fail are left out of the log; the error is that
// of one that cannot be.
func (l *Log) eachMember(ms *membership, s Set, fn func(m *member) error) error {
	var errs []error
	for m, err := range l.onEach(ms, s, fn) {
		if err := l.goOnWithout(m, err); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// keeperPatience is how long a member may take for what others have done, or it alone is asked to do, before the log goes on
// without it: the sync of a file of many MiB on a disk that is busy may take seconds.
const keeperPatience = 30 * time.Second

// onEach calls fn for all members of a set at the same time and returns the errors of those that fail. It does not wait for a
// member that has left the log meanwhile: what it was asked to do may hang for ever, so fn must not touch anything that is
// used afterwards. A member that makes the others wait for long is reported, so that it leaves.
func (l *Log) onEach(ms *membership, s Set, fn func(m *member) error) map[*member]error {
	type outcome struct {
		m   *member
		err error
	}
	outcomes := make(chan outcome, len(ms.members))
	pending := map[*member]bool{}
	for _, m := range ms.each(s) {
		pending[m] = true
		m.keeping.Add(1)
		go func() {
			err := fn(m)
			m.keeping.Add(-1)
			outcomes <- outcome{m, err}
		}()
	}
	failed, asked := map[*member]error{}, len(pending)
	look := l.o.Clock.NewTimer(watchEvery)
	defer look.Stop()
	for began := l.o.Clock.Now(); len(pending) > 0; {
		select {
		case o := <-outcomes:
			if delete(pending, o.m); o.err != nil {
				failed[o.m] = o.err
			}
		case <-look.C():
			look.Reset(watchEvery)
			if asked == 1 || len(pending) < asked {
				l.hurry(pending, l.o.Clock.Now().Sub(began))
			}
			maps.DeleteFunc(pending, func(m *member, _ bool) bool { return !l.now().has(m) })
		}
	}
	return failed
}

// hurry reports members that have taken too long, if they can be spared.
func (l *Log) hurry(pending map[*member]bool, took time.Duration) {
	if took < keeperPatience {
		return
	}
	for m := range pending {
		if ms := l.now(); ms.has(m) && ms.spares(m) {
			l.memberFailed(m, roster.ReasonStalled, fmt.Errorf("what a checkpoint asked of it has not returned for %v", took.Round(time.Second)))
		}
	}
}

// spares reports whether the log can go on without a member that is written.
func (ms *membership) spares(m *member) bool {
	return !ms.current.Has(m.number) || ms.current.Len()-1 >= ms.least()
}

// goOnWithout has the commit loop leave out a member that has failed with err, and waits until it has. It returns err if the
// member cannot be spared, or what else keeps it from being left out.
func (l *Log) goOnWithout(m *member, err error) error {
	ms := l.now()
	if !ms.has(m) {
		return nil
	}
	if !ms.spares(m) {
		return err
	}
	l.memberFailed(m, failureReason(err), err)
	if wait := l.awaitMembership(func(ms *membership) bool { return !ms.has(m) }); wait != nil {
		return errors.Join(err, wait)
	}
	return nil
}

// least returns how many current members writing needs.
func (ms *membership) least() int { return cmp.Or(ms.roster.Least, ms.current.Len()) }

// awaitMembership waits until the membership is as wanted. The error says why it will not be.
func (l *Log) awaitMembership(wanted func(*membership) bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !wanted(l.now()) {
		switch {
		case l.mu.failed != nil:
			return l.mu.failed
		case l.mu.unavailable != nil:
			return l.mu.unavailable
		case l.mu.drained:
			return ErrClosed
		}
		l.durable.Wait()
	}
	return nil
}

// failureReason returns what kind of failure an operation on a member ended with.
func failureReason(err error) roster.Reason {
	failure := (*MemberError)(nil)
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return roster.ReasonNoSpace
	case errors.As(err, &failure) && strings.HasPrefix(failure.Op, "sync"):
		return roster.ReasonSync
	}
	return roster.ReasonWrite
}

// has reports whether m, this incarnation, is written.
func (ms *membership) has(m *member) bool {
	return ms.member(m.number) == m && ms.written().Has(m.number)
}

// copyFiles writes the files that were born with next to all keepers and syncs them and their directory.
func (l *Log) copyFiles(files []CheckpointFile, next *segment.Manifest) error {
	ms := l.now()
	keepers := ms.keepers()
	made := false
	for i := range next.Files {
		row := &next.Files[i]
		if row.Born != next.Sequence {
			continue
		}
		if !made {
			if err := l.eachMember(ms, keepers, (*member).makeCheckpointDir); err != nil {
				return err
			}
			made = true
		}
		if err := l.copyFile(ms, l.stillThere(ms, keepers), &files[i], row); err != nil {
			return err
		}
	}
	if !made {
		return nil
	}
	return l.eachMember(ms, l.stillThere(ms, keepers), (*member).syncCheckpointDir)
}

// stillThere returns the members of s, of ms, that are still written.
func (l *Log) stillThere(ms *membership, s Set) (out Set) {
	now := l.now()
	for i, m := range ms.each(s) {
		if now.has(m) {
			out = out.With(i)
		}
	}
	return out
}

// copyFile writes one file to all members of a set, syncs it and notes its checksum in row.
func (l *Log) copyFile(ms *membership, to Set, f *CheckpointFile, row *segment.File) error {
	src, err := f.Open()
	if err != nil {
		return fmt.Errorf("open %s: %w", f.Name, err)
	}
	defer src.Close() // it was only read
	p := pouring{l: l, row: row, out: map[*member]vfs.File{}}
	defer p.close()
	if err := p.create(ms, to); err != nil {
		return err
	}
	if err := p.pour(src, f); err != nil {
		return err
	}
	syncing := p.out
	p.out = nil
	return l.eachMember(ms, p.to, func(m *member) error {
		o := syncing[m]
		m.syncs.Add(1)
		if err := errors.Join(o.Sync(), o.Close()); err != nil {
			return m.fileError("sync", row, err)
		}
		return nil
	})
}

// pouring is the writing of one file to several members.
type pouring struct {
	l   *Log
	row *segment.File
	ms  *membership
	to  Set // the members of ms that out is of
	out map[*member]vfs.File
}

// create makes the file on all members of a set.
func (p *pouring) create(ms *membership, to Set) error {
	type made struct {
		m *member
		o vfs.File
	}
	files := make(chan made, len(ms.members))
	p.ms = ms
	err := p.l.eachMember(ms, to, func(m *member) error {
		o, err := m.fs.Create(m.checkpointPath(p.row.FileName()), writeCategory)
		if err != nil {
			return m.fileError("create", p.row, err)
		}
		files <- made{m, o}
		return nil
	})
	for len(files) > 0 {
		f := <-files
		p.out[f.m], p.to = f.o, p.to.With(f.m.number)
	}
	return err
}

// close gives up what was written; the file is removed.
func (p *pouring) close() {
	for _, o := range p.out {
		_ = o.Close() // an error came before
	}
}

// pour writes src, which must have the size that f says, to the files and notes its checksum in the row.
func (p *pouring) pour(src io.Reader, f *CheckpointFile) error {
	buf := make([]byte, min(copyBytes, f.Size+1))
	for done := int64(0); ; {
		if err := p.l.writable(); err != nil {
			return err
		}
		n, err := io.ReadFull(src, buf)
		done += int64(n)
		end := err == io.EOF || err == io.ErrUnexpectedEOF
		switch {
		case err != nil && !end:
			return fmt.Errorf("read %s: %w", f.Name, err)
		case done > f.Size, end && done < f.Size:
			return fmt.Errorf("read %s: it has %d bytes or more, not %d", f.Name, done, f.Size)
		}
		p.row.CRC = segment.Checksum(p.row.CRC, buf[:n])
		left, err := p.write(buf[:n])
		if err != nil || end {
			return err
		}
		if left {
			buf = make([]byte, len(buf))
		}
	}
}

// write writes b to all files. A member that fails is left out; it may still be writing b. left says that there was one.
func (p *pouring) write(b []byte) (left bool, err error) {
	out := maps.Clone(p.out)
	err = p.l.eachMember(p.ms, p.to, func(m *member) error {
		if err := m.writeTo(out[m], b); err != nil {
			return m.fileError("write", p.row, err)
		}
		return nil
	})
	to := p.l.stillThere(p.ms, p.to)
	for i, m := range p.ms.each(p.to &^ to) {
		delete(p.out, m) // its file stays open where something hangs
		p.to, left = p.to.Without(i), true
	}
	return left, err
}

// spread gives the files of next to the keepers that lack them, until all keepers that there are then have them all: those
// to which the fresh ones were written may have left the log since, and others come in their places.
func (l *Log) spread(next *segment.Manifest) error {
	k := &l.keeper
	for {
		ms := l.now()
		keepers, lacking, whole := ms.keepers(), Set(0), map[*member]bool{}
		for i, m := range ms.each(keepers) {
			if whole[m] = k.isWhole(m); !whole[m] {
				lacking = lacking.With(i)
			}
		}
		k.setWhole(whole)
		if lacking == 0 {
			return nil
		}
		for _, m := range ms.each(lacking) {
			_, err := l.completeFiles(context.Background(), nil, m, next.Files)
			if errors.Is(err, ErrCorrupt) {
				return err
			}
			if err == nil {
				whole[m] = true
				k.setWhole(whole)
				continue
			}
			if err := l.goOnWithout(m, err); err != nil {
				return err
			}
		}
	}
}

// isWhole reports whether a keeper has all files of the manifest, as far as is known.
func (k *keeper) isWhole(m *member) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.mu.whole[m]
}

// setWhole notes which keepers have all files of the manifest. The caller holds writing.
func (k *keeper) setWhole(whole map[*member]bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mu.whole = maps.Clone(whole)
}

// completeFiles copies to the member what it lacks of files, from the members that have it. An error is the member's, that of
// ctx, or ErrCorrupt if nobody else has a file as it was written.
func (l *Log) completeFiles(ctx context.Context, p *pace, m *member, files []segment.File) (done []Repair, err error) {
	there, err := m.listFiles()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, &MemberError{Dir: m.dir, Op: "list " + segment.CheckpointDir, Err: err}
	}
	for i := range files {
		f := &files[i]
		size, ok := there[f.FileName()]
		if ok && size == f.Size {
			continue
		}
		reason := "the file is missing"
		if ok {
			reason = fmt.Sprintf("%d bytes, not %d", size, f.Size)
		}
		if err := p.spend(ctx, f.Size); err != nil {
			return done, err
		}
		if err := l.fetchFile(m, f); err != nil {
			return done, err
		}
		done = append(done, Repair{Member: m.number, File: segment.CheckpointDir + "/" + f.FileName(), Bytes: f.Size, Reason: reason})
	}
	return done, nil
}

// fetchFile copies a file to the member from the first other one that has it as it was written.
func (l *Log) fetchFile(m *member, f *segment.File) error {
	ms := l.now()
	first := error(nil)
	for _, from := range ms.readers() {
		if from == m {
			continue
		}
		bad, err := from.copyFileTo(m, f)
		if err != nil || bad == nil {
			return err
		}
		if ms.keepers().Has(from.number) && !l.keeper.replaced(f) {
			l.keeper.suspect(f)
		}
		if first == nil {
			first = bad
		}
	}
	return fmt.Errorf("%w: file %s of the checkpoint is whole on no member: %w", ErrCorrupt, f.Name, cmp.Or(first, errors.New("there is no other member")))
}

// readers returns the members from which files of a checkpoint can be had, the best first: the keepers, then whoever may have
// some from a time when they were keepers.
func (ms *membership) readers() (out []*member) {
	keepers := ms.keepers()
	for _, s := range []Set{keepers, ms.written() &^ keepers, setOf(len(ms.members)) &^ ms.written()} {
		for _, m := range ms.each(s) {
			out = append(out, m)
		}
	}
	return out
}

// writeTo writes p to a file of the member.
func (m *member) writeTo(f vfs.File, p []byte) error {
	if invariant.Enabled {
		p = slices.Clone(p) // see writeBuffers
	}
	n, err := f.Write(p)
	m.written.Add(int64(n))
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}

func (m *member) checkpointPath(name string) string {
	return m.fs.PathJoin(m.dir, segment.CheckpointDir, name)
}

func (m *member) fileError(op string, f *segment.File, err error) error {
	return &MemberError{Dir: m.dir, Op: fmt.Sprintf("%s %s/%s", op, segment.CheckpointDir, f.FileName()), Err: err}
}

// makeCheckpointDir makes the directory of the checkpoint's files if it is not there, durably.
func (m *member) makeCheckpointDir() error {
	err := m.fs.MkdirAll(m.checkpointPath(""), 0o755)
	if err == nil {
		err = m.syncDir()
	}
	if err != nil {
		return &MemberError{Dir: m.dir, Op: "make directory " + segment.CheckpointDir, Err: err}
	}
	return nil
}

func (m *member) syncCheckpointDir() error {
	if err := m.syncPath(m.checkpointPath("")); err != nil {
		return &MemberError{Dir: m.dir, Op: "sync directory " + segment.CheckpointDir, Err: err}
	}
	return nil
}

// prepareManifest writes next beside the manifest of every member that is written and syncs it.
func (l *Log) prepareManifest(next *segment.Manifest) error {
	b := next.Append(nil)
	if len(b) > segment.ManifestBytesMax {
		return fmt.Errorf("%s of %d bytes, the limit is %d", segment.ManifestName, len(b), segment.ManifestBytesMax)
	}
	ms := l.now()
	return l.eachMember(ms, ms.written(), func(m *member) error { return m.prepareManifest(b) })
}

func (m *member) prepareManifest(b []byte) error {
	if invariant.Enabled {
		b = slices.Clone(b) // see writeBuffers
	}
	f, err := m.fs.Create(m.path(segment.ManifestName+segment.TempSuffix), writeCategory)
	if err == nil {
		m.syncs.Add(1)
		err = writeAndClose(f, b)
	}
	if err != nil {
		return &MemberError{Dir: m.dir, Op: "write " + segment.ManifestName, Err: err}
	}
	m.written.Add(int64(len(b)))
	return nil
}

// placeManifest gives the prepared manifest its name. A nil error promises that a crash cannot bring the old one back.
func (m *member) placeManifest() error {
	if err := m.fs.Rename(m.path(segment.ManifestName+segment.TempSuffix), m.path(segment.ManifestName)); err != nil {
		return &MemberError{Dir: m.dir, Op: "rename " + segment.ManifestName, Err: err}
	}
	if err := m.syncDir(); err != nil {
		return &MemberError{Dir: m.dir, Op: "sync directory for " + segment.ManifestName, Err: err}
	}
	return nil
}

// turnTo makes next, which is prepared, the manifest of all members, and removes what it no longer names: files, and the
// segments in dropped.
func (l *Log) turnTo(next *segment.Manifest, dropped []SegmentID) error {
	k := &l.keeper
	k.turning.Lock()
	defer k.turning.Unlock()
	ms := l.now()
	for i := range ms.each(ms.written()) {
		if err := l.eachMember(ms, Set(0).With(i), (*member).placeManifest); err != nil {
			// It counts after a crash if it is on one member, so its files must stay until the next one is everywhere.
			k.stale = append(k.stale, born(next)...)
			k.setWhole(nil)
			return err
		}
	}
	k.mu.Lock()
	old := k.mu.manifest
	k.mu.manifest = *next
	if k.mu.lost != nil && !namesAny(next, k.mu.suspect) {
		k.mu.lost = nil
	}
	k.mu.suspect = namedOf(next, k.mu.suspect)
	k.mu.Unlock()
	gone := k.stale
	k.stale = nil
	gone = append(gone, notIn(old.Files, next.Files)...)
	k.stale = l.removeFiles(gone)
	l.index.remove(dropped)
	l.files.forget(dropped)
	return l.removeSegments(dropped)
}

// born returns the files that were written for m.
func born(m *segment.Manifest) (out []segment.File) {
	for _, f := range m.Files {
		if f.Born == m.Sequence {
			out = append(out, f)
		}
	}
	return out
}

func namesAny(m *segment.Manifest, files map[string]bool) bool {
	return slices.ContainsFunc(m.Files, func(f segment.File) bool { return files[f.FileName()] })
}

// namedOf returns those of files that m names.
func namedOf(m *segment.Manifest, files map[string]bool) map[string]bool {
	out := map[string]bool{}
	for i := range m.Files {
		if name := m.Files[i].FileName(); files[name] {
			out[name] = true
		}
	}
	return out
}

// notIn returns the files of a that b does not have.
func notIn(a, b []segment.File) (out []segment.File) {
	has := make(map[string]bool, len(b))
	for i := range b {
		has[b[i].FileName()] = true
	}
	for i := range a {
		if !has[a[i].FileName()] {
			out = append(out, a[i])
		}
	}
	return out
}

// removeFiles removes files of checkpoints from all members that are written and returns those that could not be removed. They
// do no harm: the next checkpoint or the next Open tries again.
func (l *Log) removeFiles(files []segment.File) (left []segment.File) {
	if len(files) == 0 {
		return nil
	}
	ms := l.now()
	failed := l.onEach(ms, ms.written(), func(m *member) error {
		var errs []error
		for i := range files {
			err := m.fs.Remove(m.checkpointPath(files[i].FileName()))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	})
	if len(failed) > 0 {
		return files
	}
	return nil
}

// RestoreCheckpoint calls fn with every file of the checkpoint, in the order in which SaveCheckpoint got them. If r turns out
// to be damaged or cannot be read, r.Read returns an error; fn should return it, and is then called again for the same name
// with the bytes of the next member, so it must begin anew. What fn does not read is read and checked after it. If no member
// has the bytes that were written the error is ErrCorrupt. An error of fn itself ends the restoring. It must not be called by
// fn, nor may SaveCheckpoint and Drop. Without a checkpoint it does nothing.
func (l *Log) RestoreCheckpoint(fn func(name string, r io.Reader) error) error {
	k := &l.keeper
	k.writing.Lock()
	defer k.writing.Unlock()
	m := k.current()
	for i := range m.Files {
		if err := l.restoreFile(&m.Files[i], fn); err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) restoreFile(f *segment.File, fn func(name string, r io.Reader) error) error {
	var first error
	ms := l.now()
	for _, m := range ms.readers() {
		if err := l.open4read(); err != nil {
			return err
		}
		bad, err := m.readFile(f, fn)
		if err != nil {
			return err
		}
		if bad == nil {
			return nil
		}
		if ms.keepers().Has(m.number) {
			m.readErrors.Add(1)
			l.keeper.suspect(f)
		}
		if first == nil {
			first = bad
		}
	}
	err := fmt.Errorf("%w: file %s of the checkpoint on every member: %w", ErrCorrupt, f.Name, first)
	l.keeper.mu.Lock()
	l.keeper.mu.lost = err
	l.keeper.mu.Unlock()
	return err
}

// suspect notes that a member does not have f as it was written, so that the next checkpoint copies it again.
func (k *keeper) suspect(f *segment.File) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.mu.suspect == nil {
		k.mu.suspect = map[string]bool{}
	}
	k.mu.suspect[f.FileName()] = true
}

// open4read returns ErrClosed once the log is closed.
func (l *Log) open4read() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closing {
		return ErrClosed
	}
	return nil
}

// readFile calls fn with the member's copy of f. bad says why the copy is not what was written; err is fn's own.
func (m *member) readFile(f *segment.File, fn func(name string, r io.Reader) error) (bad, err error) {
	file, err := m.fs.Open(m.checkpointPath(f.FileName()))
	if err != nil {
		return m.fileError("open", f, err), nil
	}
	defer file.Close() // it is only read
	r := &checkedReader{src: file, left: f.Size, want: f.CRC}
	err = fn(f.Name, r)
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	if r.bad != nil {
		return m.fileError("read", f, r.bad), nil
	}
	return nil, err
}

// checkedReader reads a file that must have a certain length and checksum. io.EOF comes only if both are right.
type checkedReader struct {
	src  io.Reader
	left int64
	crc  uint32
	want uint32
	end  bool
	bad  error
}

func (r *checkedReader) Read(p []byte) (int, error) {
	if r.bad != nil {
		return 0, r.bad
	}
	if r.end {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := r.src.Read(p)
	r.crc = segment.Checksum(r.crc, p[:n])
	r.left -= int64(n)
	switch {
	case r.left < 0:
		r.bad = fmt.Errorf("%w: %d bytes too long", segment.ErrDamaged, -r.left)
	case err == nil:
		return n, nil
	case err != io.EOF:
		r.bad = err
	case r.left > 0:
		r.bad = fmt.Errorf("%w: %d bytes too short", segment.ErrDamaged, r.left)
	case r.crc != r.want:
		r.bad = fmt.Errorf("%w: checksum %08x, wanted %08x", segment.ErrDamaged, r.crc, r.want)
	default:
		r.end = true
		if n > 0 {
			return n, nil
		}
		return 0, io.EOF
	}
	return 0, r.bad
}
