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
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/internal/clock"
	"pagevault/replication/segment"
)

// Problem is something that is not as it should be on one member.
type Problem struct {
	Member  int       // from 0; -1: about no member more than another
	Dir     string    // the member's directory; "" of none
	File    string    // in it; "": the directory itself
	Segment SegmentID // 0: File is no segment
	Offset  int64     // in File, where the first byte that is wrong or missing may be
	Reason  string
	// Lost says that no member that is there has the bytes as they were written, so that it cannot be put right.
	Lost bool
	// Unfinished says that a crash leaves things so, and the next Open puts them right; it is no damage. Only VerifyMembers
	// finds such.
	Unfinished bool
}

// String returns where and what.
func (p Problem) String() string {
	where := p.Dir
	if p.Member < 0 {
		where = "the log"
	}
	if p.File != "" {
		where += "/" + p.File
	}
	if p.Segment != 0 {
		where += fmt.Sprintf(" offset %d", p.Offset)
	}
	return where + ": " + p.Reason
}

// VerifyOptions configures a verification. The zero value is sound and reports nothing.
type VerifyOptions struct {
	BytesPerSecond int64 // how fast to read, all members together. 0: as fast as it goes
	// Progress is called every few MiB, and at the end with done == total, with bytes read and to be read in all.
	Progress func(done, total int64)
	// Report is called for every problem. Like Progress it is called by the goroutine that verifies.
	Report func(Problem)
}

// Verify reads all that every member holds and reports what is not as it was written: headers, every byte of every durable
// record, padding and footers, the files of the checkpoint, CHECKPOINT and MEMBER; files that are missing, files that should
// not be there, and copies that differ. It may run beside everything else: what is appended after it has begun is left for
// the next time, what is dropped meanwhile is no problem. Members that are not current are not read, which is reported as one
// problem of each, and so are segments that have fewer copies or shards than they should, all together as one problem. It
// changes nothing, but a file of the checkpoint that it finds damaged is written again with the next checkpoint. Problems are
// no error; an error says why it could not go on: that of ctx, or ErrClosed.
//
// Of a log that is open for reading only it reports what VerifyMembers does.
func (l *Log) Verify(ctx context.Context, o VerifyOptions) error {
	if l.Failed() == ErrReadOnly {
		return newVerification(ctx, o, l.now().members, l.o.Clock).offline(l)
	}
	v := l.newVerification(ctx, o)
	manifest := l.keeper.current()
	all := l.index.all()
	v.expect(all, &manifest)
	v.away()
	l.verifyDirectories(v)
	for i := range all {
		if err := v.sealedOrNot(&all[i]); err != nil {
			return err
		}
	}
	v.tellLacking()
	if err := v.checkpoint(&manifest); err != nil {
		return err
	}
	return v.finish()
}

// newVerification returns a verification of the members that are current just now.
func (l *Log) newVerification(ctx context.Context, o VerifyOptions) *verification {
	ms := l.now()
	v := newVerification(ctx, o, ms.members, l.o.Clock)
	v.log, v.store, v.keepers = l, l.store, ms.keepers()
	for i, m := range ms.members {
		v.absent[i] = m == nil || !ms.current.Has(i)
	}
	return v
}

// expect adds up what is to be read.
func (v *verification) expect(all []indexed, manifest *segment.Manifest) {
	for i := range all {
		v.total += v.bytesOf(&all[i])
	}
	for i := range v.keepers.All() {
		if !v.skips(i) {
			v.total += manifest.Bytes()
		}
	}
}

// away reports the members that are not read.
func (v *verification) away() {
	for _, s := range v.log.Members() {
		if s.State == Current {
			continue
		}
		reason := fmt.Sprintf("the member is %s and was not read", s.State)
		if s.Reason != "" {
			reason = fmt.Sprintf("the member is %s (%s) and was not read", s.State, s.Reason)
		}
		if v.o.Report != nil {
			v.o.Report(Problem{Member: s.Number, Dir: s.Dir, Reason: reason})
		}
	}
}

// skips reports whether nothing of member i is read.
func (v *verification) skips(i int) bool { return i >= len(v.members) || v.absent[i] }

// holdersOf returns the members whose copy of a segment is to be read. A segment that no member is known to hold whole is
// looked for on all.
func (v *verification) holdersOf(s *indexed) (out Set) {
	for i := range v.members {
		if !v.absent[i] && (s.holders.Has(i) || s.holders == 0 && s.shards == nil) {
			out = out.With(i)
		}
	}
	return out
}

// bytesOf returns how much there is to read of a segment.
func (v *verification) bytesOf(s *indexed) int64 {
	n := s.length * int64(v.holdersOf(s).Len())
	for _, i := range s.shards {
		if i >= 0 && !v.skips(int(i)) {
			n += segment.ShardBytes(int(s.k), s.length)
		}
	}
	return n
}

// sealedOrNot verifies a segment of a log that is open.
func (v *verification) sealedOrNot(s *indexed) error {
	v.countLacking(s)
	w := wantedSegment{id: s.id, first: s.first, end: s.end, sealed: s.sealed, holders: v.holdersOf(s)}
	if w.holders != 0 {
		if _, err := v.segment(w); err != nil {
			return err
		}
	}
	if s.shards == nil {
		return nil
	}
	return v.shards(s)
}

// shards verifies the shards of a segment of a log that is open.
func (v *verification) shards(s *indexed) error {
	var found []Problem
	bad := map[int]bool{}
	for shard, i := range s.shards {
		if i < 0 || v.skips(int(i)) {
			bad[shard] = true
			continue
		}
		v.done += segment.ShardBytes(int(s.k), s.length) // at the same pace
	}
	l := cmp.Or(v.log, v.reading)
	err := l.checkShards(v.ctx, s.id, v.pace, func(m *member, shard int, off int64, why error) {
		bad[shard] = true
		if len(found) < shardProblemsMax {
			found = append(found, Problem{Member: m.number, File: segment.ShardName(s.id, shard), Segment: s.id, Offset: off, Reason: why.Error()})
		}
	})
	for _, p := range found {
		p.Lost = len(bad) > int(s.m) && s.holders == 0
		v.report(p)
	}
	if err != nil {
		return err
	}
	return v.spend(0)
}

// shardProblemsMax bounds what is reported of the shards of one segment.
const shardProblemsMax = 1 << 10

// countLacking notes a segment that has fewer copies or shards than it should.
func (v *verification) countLacking(s *indexed) {
	ms := v.log.now()
	want := min(cmp.Or(ms.roster.Copies, ms.current.Len()), ms.current.Len())
	have := (s.holders & ms.written()).Len()
	if s.holders == 0 {
		have = want // not known
	}
	if s.shards != nil {
		want, have = len(s.shards), 0
		for _, i := range s.shards {
			if i >= 0 && ms.written().Has(int(i)) {
				have++
			}
		}
	}
	if have < want {
		v.lacking, v.lackingBytes = v.lacking+1, v.lackingBytes+s.length
	}
}

// tellLacking reports what countLacking has noted.
func (v *verification) tellLacking() {
	if v.lacking > 0 && v.o.Report != nil {
		v.o.Report(Problem{Member: -1, Reason: fmt.Sprintf("%d segments of %d bytes have fewer copies or shards than they should", v.lacking, v.lackingBytes)})
	}
}

// verifyDirectories looks at what the members hold beside segments and files of the checkpoint.
func (l *Log) verifyDirectories(v *verification) {
	k := &l.keeper
	k.turning.RLock() // so that no manifest is being replaced and no segment removed
	defer k.turning.RUnlock()
	k.mu.Lock()
	manifest, attempted := k.mu.manifest, k.mu.attempted
	k.mu.Unlock()
	newest, _ := l.index.end()
	sealed := map[SegmentID]bool{}
	for _, s := range l.index.all() {
		sealed[s.id] = s.sealed
	}
	for i := range v.members {
		if v.absent[i] {
			continue
		}
		f, ok := v.look(i)
		if !ok {
			continue
		}
		v.identity(i, &f)
		switch m := f.manifest; {
		case f.damage != nil:
			v.report(Problem{Member: i, File: segment.ManifestName, Reason: f.damage.Error()})
		case m == nil && manifest.Sequence > 0:
			v.report(Problem{Member: i, File: segment.ManifestName, Reason: "the file is missing"})
		case m == nil:
		case m.Store != v.store:
			v.report(Problem{Member: i, File: segment.ManifestName, Reason: fmt.Sprintf("it is of log %v", m.Store)})
		case m.Sequence < manifest.Sequence || m.Sequence > attempted:
			v.report(Problem{Member: i, File: segment.ManifestName, Reason: fmt.Sprintf("it has number %d, not %d", m.Sequence, manifest.Sequence)})
		case m.Sequence == manifest.Sequence && !sameManifest(m, &manifest):
			v.report(Problem{Member: i, File: segment.ManifestName, Reason: "it says something else than was written"})
		}
		for _, x := range extraSegments(&f, newest, sealed) {
			v.report(Problem{Member: i, File: segment.Name(x.id, x.sealed), Segment: x.id, Reason: "the file should not be there"})
		}
		v.extraFiles(i, &f, &manifest)
	}
}

// extraSegment is a file of a segment that should not be there.
type extraSegment struct {
	id     SegmentID
	sealed bool // which of its two names it has
}

// extraSegments returns the files of segments up to newest that are not there any more, in order, and the unsealed ones of
// segments that are sealed. sealed has the segments that are there.
func extraSegments(f *found, newest SegmentID, sealed map[SegmentID]bool) (out []extraSegment) {
	for _, id := range slices.Sorted(maps.Keys(f.segments)) {
		n := f.segments[id]
		isSealed, there := sealed[id]
		if n.sealed && !there && id <= newest {
			out = append(out, extraSegment{id, true})
		}
		if n.open && id <= newest && (!there || isSealed) {
			out = append(out, extraSegment{id, false})
		}
	}
	return out
}

// VerifyMembers is Verify for members that nobody has open. It writes nothing and repairs nothing; it locks the members while
// it looks, so that nobody begins to change them. Members that do not belong together are refused as Open does, with
// ErrMembers; those that a process has open with ErrInUse. What Open would put right after a crash is reported as Unfinished.
// A log that was never used has no problems.
func VerifyMembers(ctx context.Context, members []Member, o VerifyOptions) (err error) {
	l, err := newLog(members, Options{Passive: true})
	if err != nil {
		return err
	}
	if err := l.identify(nil); err != nil {
		return err
	}
	for i := range l.given {
		unlock, err := l.given[i].m.lockToRead()
		if err != nil {
			return err
		}
		defer func() { _ = unlock.Close() }() // nothing was written
	}
	if err := l.identify(nil); err != nil {
		return err
	}
	if fresh, err := l.isNew(); err != nil {
		return err
	} else if fresh {
		return newVerification(ctx, o, nil, l.o.Clock).finish()
	}
	v, _, err := l.decide()
	if err != nil {
		return err
	}
	l.seat(v)
	l.files.init(l)
	defer l.files.close()
	return newVerification(ctx, o, l.now().members, l.o.Clock).offline(l)
}

// lockToRead keeps processes from opening the member. Where there is no LOCK file none has ever, and where it cannot be
// written, none can.
func (m *member) lockToRead() (io.Closer, error) {
	nothing := io.NopCloser(nil)
	name := m.path(segment.LockName)
	if _, err := m.fs.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return nothing, nil
	}
	lock, err := m.fs.Lock(name)
	switch {
	case err == nil:
		return lock, nil
	case errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission):
		return nothing, nil
	}
	return nil, fmt.Errorf("member %s is %w: stop it first, or have it verify: %w", m.dir, ErrInUse, err)
}

// offline is VerifyMembers for who holds the locks, with a log whose directories were looked at. Only what the log can be started
// from is read.
func (v *verification) offline(l *Log) error {
	v.store, v.reading = l.store, l
	v.keepers = l.now().keepers()
	all := make([]found, len(v.members))
	for i, m := range v.members {
		v.absent[i] = m == nil || !l.now().current.Has(i)
		if v.absent[i] {
			continue
		}
		f, ok := v.look(i)
		all[i], v.absent[i] = f, !ok
	}
	v.strangers(l)
	manifest := v.manifests(all)
	ids := v.plan(all, manifest)
	next := LSN(1)
	for _, w := range ids {
		if r, ok := manifest.DroppedSegment(w.id - 1); ok && w.id > 1 {
			next = r.Last + 1
		}
		w.first = next
		s, sharded := v.sharded(all, w.id)
		if sharded {
			next = s.first + LSN(s.count)
			if err := v.shards(s); err != nil {
				return err
			}
			if !w.any() {
				continue
			}
			w.elsewhere = true
		} else if !w.any() {
			w.elsewhere = false
		}
		after, err := v.segment(w)
		if err != nil {
			return err
		}
		if !sharded {
			next = after
		}
	}
	if through := LSN(l.now().roster.Through); next > 0 && next <= through && v.o.Report != nil {
		v.o.Report(Problem{Member: -1, Lost: true, Reason: fmt.Sprintf("record %d was durable once, and the records end with %d", through, next-1)})
	}
	if err := v.checkpoint(manifest); err != nil {
		return err
	}
	return v.finish()
}

// strangers reports the directories that were given and are not read.
func (v *verification) strangers(l *Log) {
	for _, s := range l.Members() {
		if s.State == Current || v.o.Report == nil {
			continue
		}
		p := Problem{Member: s.Number, Dir: s.Dir, Reason: fmt.Sprintf("the member is %s and was not read: %s", s.State, s.Reason)}
		for i := range l.given {
			if g := &l.given[i]; g.m.dir == s.Dir && g.stands == 0 && (g.unnamed != nil || g.holds()) {
				p.File, p.Reason = segment.IdentityName, s.Reason
			}
		}
		if s.Err != nil {
			p.Reason += ": " + s.Err.Error()
		}
		v.o.Report(p)
	}
}

// sharded returns what the shards of a segment say it is, if there are enough of them to have it from.
func (v *verification) sharded(all []found, id SegmentID) (*indexed, bool) {
	var files []foundShard
	for i := range all {
		for _, shard := range all[i].shards[id] {
			files = append(files, foundShard{i, shard})
		}
	}
	f, err := readShards(v.members, v.store, id, files)
	if err != nil {
		for _, file := range files {
			v.report(Problem{Member: file.member, File: segment.ShardName(id, file.shard), Segment: id, Reason: err.Error()})
		}
		return nil, false
	}
	for file, why := range f.flaws {
		v.report(Problem{Member: file.member, File: segment.ShardName(id, file.shard), Segment: id, Reason: why.Error()})
	}
	if !f.whole() {
		return nil, false
	}
	t := &f.frame.Trailer
	s := indexed{id: id, first: t.First, count: int(t.Count), end: int64(t.End), length: int64(t.Length), data: f.frame.Data, sealed: true,
		shards: f.at, k: uint8(f.frame.K), m: uint8(f.frame.M)}
	v.reading.index.replace(s)
	return &s, true
}

// replace puts a segment in the place of what is known of it.
func (x *index) replace(s indexed) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if i, ok := x.findLocked(s.id); ok {
		x.mu.segments[i] = s
	} else {
		x.mu.segments = slices.Insert(x.mu.segments, i, s)
	}
}

// manifests compares the members' manifests and returns the one that counts.
func (v *verification) manifests(all []found) *segment.Manifest {
	newest, err := newestManifest(v.members, all)
	for i, f := range all {
		p := Problem{Member: i, File: segment.ManifestName}
		switch {
		case v.absent[i]:
			continue
		case f.damage != nil:
			p.Reason, p.Lost = f.damage.Error(), newest.Sequence == 0
		case f.manifest == nil && newest.Sequence > 0:
			p.Reason, p.Unfinished = "the file is missing", len(newest.Dropped) == 0
		case f.manifest == nil:
			continue
		case err != nil:
			p.Reason = err.Error()
		case f.manifest.Sequence < newest.Sequence:
			p.Reason, p.Unfinished = fmt.Sprintf("it has number %d, another member's has %d", f.manifest.Sequence, newest.Sequence), true
		default:
			continue
		}
		v.report(p)
	}
	return newest
}

// plan says which segments there should be and reports what there should not be.
func (v *verification) plan(all []found, manifest *segment.Manifest) (out []wantedSegment) {
	last := SegmentID(0)
	for i, f := range all {
		for _, id := range slices.Sorted(maps.Keys(f.segments)) {
			n := f.segments[id]
			if _, dropped := manifest.DroppedSegment(id); dropped {
				v.report(Problem{Member: i, File: segment.Name(id, n.sealed), Segment: id, Reason: "the segment was dropped", Unfinished: true})
				continue
			}
			last = max(last, id)
			if n.open && n.sealed {
				v.report(Problem{Member: i, File: segment.Name(id, false), Segment: id, Reason: "the segment is there under both names", Unfinished: true})
			}
		}
		for id := range f.shards {
			if _, dropped := manifest.DroppedSegment(id); !dropped {
				last = max(last, id)
			}
		}
		v.extraFiles(i, &f, manifest)
	}
	if n := len(manifest.Dropped); n > 0 && manifest.Dropped[n-1].To > last {
		last = manifest.Dropped[n-1].To
	}
	for id := SegmentID(1); id <= last && id != 0; id++ {
		if r, dropped := manifest.DroppedSegment(id); dropped {
			id = r.To
			continue
		}
		w := wantedSegment{id: id, end: -1, isLast: id == last, names: make([]names, len(all)), elsewhere: !v.reading.everywhere()}
		for i := range all {
			if v.absent[i] {
				continue
			}
			w.names[i] = all[i].segments[id]
			if info, err := v.members[i].fs.Stat(v.members[i].path(segment.Name(id, w.names[i].sealed))); err == nil {
				v.total += info.Size()
			}
		}
		out = append(out, w)
	}
	v.total += manifest.Bytes() * int64(v.keepers.Len())
	return out
}

// extraFiles reports what lies in the directory of the checkpoint beside its files.
func (v *verification) extraFiles(i int, f *found, manifest *segment.Manifest) {
	for _, name := range strangers(f, manifest) {
		if v.log == nil || !v.log.keeper.mayBe(name) {
			v.report(Problem{Member: i, File: segment.CheckpointDir + "/" + name, Reason: "the file is not of the checkpoint", Unfinished: true})
		}
	}
}

// strangers returns the files in the directory of the checkpoint that it does not name, in order.
func strangers(f *found, manifest *segment.Manifest) (out []string) {
	named := map[string]bool{}
	for k := range manifest.Files {
		named[manifest.Files[k].FileName()] = true
	}
	for _, name := range slices.Sorted(maps.Keys(f.files)) {
		if !named[name] && isCheckpointFile(name) {
			out = append(out, name)
		}
	}
	return out
}

// verification is one run of Verify or VerifyMembers.
type verification struct {
	ctx     context.Context
	o       VerifyOptions
	members []*member
	absent  []bool // members of which nothing can be read
	store   segment.StoreID
	log     *Log // nil: nobody has the members open
	reading *Log // by which shards are read, if log is nil
	keepers Set  // members that have the files of the checkpoint
	pace    *pace
	clock   clock.Clock
	cold    bool // read from the disks, not from the operating system's memory

	done, told, total int64
	lacking           int // segments with fewer copies or shards than they should have
	lackingBytes      int64
	stopped           error
}

func newVerification(ctx context.Context, o VerifyOptions, members []*member, c clock.Clock) *verification {
	return &verification{ctx: ctx, o: o, members: members, absent: make([]bool, len(members)), keepers: setOf(len(members)), clock: c,
		pace: newPace(c, o.BytesPerSecond, sleepBy(c), nil)}
}

// sleepBy returns a function that waits by a clock for some time, or until a context ends, whose error it returns.
func sleepBy(c clock.Clock) func(context.Context, time.Duration) error {
	return func(ctx context.Context, d time.Duration) error {
		t := c.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C():
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (v *verification) report(p Problem) {
	m := v.members[p.Member]
	if p.Dir = m.dir; v.log != nil && !v.log.now().has(m) {
		return // it has left meanwhile
	}
	if v.o.Report != nil {
		v.o.Report(p)
	}
}

// look lists the member's directory; ok is false if that cannot be done, which is reported.
func (v *verification) look(i int) (f found, ok bool) {
	f, err := v.members[i].look()
	if err != nil {
		v.report(Problem{Member: i, Reason: err.Error()})
		return found{}, false
	}
	if f.unnamed != nil {
		v.report(Problem{Member: i, File: segment.IdentityName, Reason: f.unnamed.Error()})
	}
	return f, true
}

// identity checks the MEMBER file of a log that is open.
func (v *verification) identity(i int, f *found) {
	p := Problem{Member: i, File: segment.IdentityName}
	switch who := f.who; {
	case who == nil && f.unnamed != nil:
		return
	case who == nil:
		p.Reason = "the file is missing"
	case segment.StoreID(who.Roster.Store) != v.store || int(who.Number) != i+1 || who.ID() != v.members[i].id:
		p.Reason = fmt.Sprintf("it names member %d of log %v", who.Number, segment.StoreID(who.Roster.Store))
	default:
		return
	}
	v.report(p)
}

// spend waits until n more bytes may be read. It returns an error when the verification is to end, which is kept in stopped.
func (v *verification) spend(n int) error {
	if v.stopped != nil {
		return v.stopped
	}
	if v.stopped = v.ctx.Err(); v.stopped != nil {
		return v.stopped
	}
	if v.log != nil {
		if v.stopped = v.log.open4read(); v.stopped != nil {
			return v.stopped
		}
	}
	if v.stopped = v.pace.spend(v.ctx, int64(n)); v.stopped != nil {
		return v.stopped
	}
	v.done += int64(n)
	if v.done-v.told >= progressBytes {
		v.tell(min(v.done, v.total))
		v.told = v.done
	}
	return nil
}

// progressBytes is how much is read between two calls of Progress: at a full disk's speed, some hundred a second.
const progressBytes = 4 << 20

func (v *verification) tell(done int64) {
	if v.o.Progress != nil {
		v.o.Progress(done, v.total)
	}
}

func (v *verification) finish() error {
	if err := v.spend(0); err != nil {
		return err
	}
	v.tell(v.total)
	return nil
}

// pacedFile is a file that is read no faster than the verification may, in long pieces, and from the disk if cold. It is not
// safe for concurrent use.
type pacedFile struct {
	v     *verification
	file  vfs.File
	src   *patientFile
	size  int64
	piece []byte // of the file from from on
	from  int64
	pos   int64 // of Read
}

// pieceBytes is how much a verification reads at once: at that length a disk that turns spends little time on seeking.
const pieceBytes = 1 << 20

func (v *verification) paced(f vfs.File, size int64) *pacedFile {
	return &pacedFile{v: v, file: f, src: newPatientFile(f, v.clock), size: size}
}

func (f *pacedFile) Close() error { return f.src.Close() }

func (f *pacedFile) Read(p []byte) (int, error) {
	n, err := f.ReadAt(p[:max(0, min(int64(len(p)), f.size-f.pos))], f.pos)
	f.pos += int64(n)
	if err == nil && n == 0 && len(p) > 0 {
		return f.beyond(p)
	}
	return n, err
}

// beyond reads behind the size that the file had, where there should be nothing.
func (f *pacedFile) beyond(p []byte) (int, error) {
	if err := f.v.spend(0); err != nil {
		return 0, err
	}
	n, err := f.src.ReadAt(p[:1], f.pos)
	f.pos += int64(n)
	return n, err
}

func (f *pacedFile) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) && err == nil {
		at := off + int64(n)
		if at < f.from || at >= f.from+int64(len(f.piece)) {
			if err = f.load(at, len(p)-n); err != nil {
				return n, err
			}
			if len(f.piece) == 0 {
				return n, io.EOF
			}
		}
		n += copy(p[n:], f.piece[at-f.from:])
	}
	return n, err
}

// load reads the piece at off, at least the want bytes that there are.
func (f *pacedFile) load(off int64, want int) error {
	n := max(0, min(int64(max(want, pieceBytes)), f.size-off))
	if f.from, f.piece = off, f.piece[:0]; n == 0 {
		return f.v.spend(0)
	}
	if int64(cap(f.piece)) < n {
		f.piece = make([]byte, n)
	}
	if err := f.v.spend(int(n)); err != nil {
		return err
	}
	if f.v.cold {
		dropCached(f.file, off, n)
		defer dropCached(f.file, off, n) // and leave the memory to those who read the same more than once a week
	}
	got, err := f.src.ReadAt(f.piece[:n], off)
	f.piece = f.piece[:got]
	if got > 0 && (err == io.EOF || got >= want) {
		err = nil
	}
	return err
}

// checkpoint reads the files of the checkpoint on every member.
func (v *verification) checkpoint(manifest *segment.Manifest) error {
	buf := make([]byte, copyBytes)
	for k := range manifest.Files {
		f := &manifest.Files[k]
		whole, bad := 0, []Problem(nil)
		for i, m := range v.members {
			if v.absent[i] || !v.keepers.Has(i) {
				continue
			}
			err := v.checkpointFile(m, f, buf)
			if v.stopped != nil {
				return v.stopped
			}
			if err == nil {
				whole++
				continue
			}
			bad = append(bad, Problem{Member: i, File: segment.CheckpointDir + "/" + f.FileName(), Reason: err.Error()})
		}
		if v.log != nil && (len(bad) == 0 || v.log.keeper.replaced(f)) {
			continue
		}
		for _, p := range bad {
			if v.log != nil {
				v.log.keeper.suspect(f)
			}
			p.Lost = whole == 0
			v.report(p)
		}
	}
	return nil
}

func (v *verification) checkpointFile(m *member, f *segment.File, buf []byte) error {
	file, err := m.fs.Open(m.checkpointPath(f.FileName()))
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("the file is missing")
	}
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		_ = file.Close() // it was only opened
		return err
	}
	src := v.paced(file, info.Size())
	defer src.Close() // it is only read
	r := &checkedReader{src: src, left: f.Size, want: f.CRC}
	for {
		if _, err := r.Read(buf); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// replaced reports whether the checkpoint no longer has the file.
func (k *keeper) replaced(f *segment.File) bool {
	m := k.current()
	return !slices.ContainsFunc(m.Files, func(g segment.File) bool { return g.Born == f.Born && g.Number == f.Number })
}

// mayBe reports whether a file, by its name, may be one that a checkpoint needs which is being saved, or that was replaced just
// now.
func (k *keeper) mayBe(name string) bool {
	born, _, _ := segment.ParseFileName(strings.TrimSuffix(name, segment.TempSuffix))
	k.mu.Lock()
	defer k.mu.Unlock()
	return born >= k.mu.manifest.Sequence
}
