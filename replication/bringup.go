package replication

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/replication/roster"
	"pagevault/replication/segment"
)

// Bringing up: a member that is behind, because it failed, was absent or was put in the place of another one, gets what it
// lacks while the log goes on, and then counts again.
//
//  1. What it holds of segments that are no more, and what nobody had acknowledged, is removed.
//  2. Its copies of sealed segments are compared with those of others as far as headers and footers tell, or record by record
//     if a sync had failed or damage was found; what it lacks is written. Its shards are read and checked.
//  3. It gets the manifest and joins: the open segment is sealed, and the next one is written by it, too.
//  4. It gets the segments that were sealed meanwhile, and the files of the checkpoint, if it is to keep them.
//  5. It is current.
//
// Whatever ends this, a failure or a crash, leaves a member that is behind, and files that are whole under their names: the next
// attempt goes on with those. It takes no more of the disks than custodian.pace allows.

// bringUp looks at the directory of a member that is not written and brings it up if it is the member. nil is also returned if
// there is nothing to do but to wait.
func (l *Log) bringUp(ctx context.Context, i int) error {
	t := l.seats.get(i)
	if t.home.Dir == "" || !l.letGo(i, &t) {
		return nil
	}
	m, err := l.comeBack(i, t.home)
	if m == nil || err != nil {
		return err
	}
	b := bringing{l: l, ctx: ctx, m: m, row: *l.now().roster.Row(i + 1)}
	l.seats.set(i, func(s *seat) { s.up, s.state, s.err = m, Behind, nil })
	err = b.run()
	if err != nil && !b.joined {
		if m.stop() {
			_ = m.release() // nothing there means anything
		}
		l.seats.set(i, func(s *seat) { s.up, s.err = nil, err })
	}
	return err
}

// letGo closes what is open of an incarnation that was left out. It reports whether nothing is any more: what hangs in its disk
// may still change it when that answers.
func (l *Log) letGo(i int, t *seat) bool {
	if t.out == nil {
		return true
	}
	if t.out.keeping.Load() > 0 || !t.out.stop() {
		return false
	}
	_ = t.out.release() // what it wrote does not count
	l.seats.set(i, func(s *seat) {
		if s.out == t.out {
			s.out = nil
		}
	})
	return true
}

// comeBack looks who is in the directory of member i, and opens it if it is the member; nil otherwise, and then the seat says
// what it is.
func (l *Log) comeBack(i int, home Member) (*member, error) {
	m := l.newMember(home, i)
	say := func(state State, reason string, err error) (*member, error) {
		l.seats.set(i, func(s *seat) {
			if s.state != state || s.reason != reason {
				*s = seat{home: s.home, state: state, reason: reason, since: l.o.Clock.Now()}
				defer l.kick(i, state, reason, err)
			}
			s.err = err
		})
		return nil, nil
	}
	if _, err := m.fs.Stat(m.dir); errors.Is(err, fs.ErrNotExist) {
		return say(Absent, "its directory is not there", nil)
	}
	f, err := m.look()
	row := l.now().roster.Row(i + 1)
	switch {
	case err != nil:
		return say(Absent, "its directory cannot be used", err)
	case row == nil && f.who != nil && segment.StoreID(f.who.Roster.Store) == l.store:
		return say(Absent, reasonFormer, nil)
	case row == nil:
		return say(Absent, "it is no member yet", nil)
	case f.unnamed != nil:
		return say(Absent, f.unnamed.Error(), nil)
	case f.who == nil && f.holds():
		return say(Absent, fmt.Sprintf("its directory has no %s file", segment.IdentityName), nil)
	case f.who == nil:
		return say(Absent, "its directory is empty", nil)
	case segment.StoreID(f.who.Roster.Store) != l.store:
		return say(Absent, "its directory belongs to another log", nil)
	case f.who.Roster.History != l.now().roster.History:
		return say(Foreign, "its directory has another history of the log", nil)
	case int(f.who.Number) != i+1:
		return say(Absent, fmt.Sprintf("its directory is that of member %d", f.who.Number), nil)
	case f.who.ID() != row.ID:
		return say(Absent, reasonFormer, nil)
	}
	if err := m.acquire(); err != nil {
		return say(Absent, "its directory cannot be used", errors.Join(err, m.release()))
	}
	m.id = row.ID
	l.seats.set(i, func(s *seat) {
		if s.state != Behind {
			s.state, s.reason, s.since = Behind, row.Reason.String(), l.o.Clock.Now()
			l.kick(i, Behind, s.reason, nil)
		}
	})
	return m, nil
}

// kick tells that a member which is not written has become something else.
func (l *Log) kick(i int, to State, reason string, err error) {
	if tell := l.o.Events.MemberState; tell != nil {
		go tell(MemberChange{Number: i, From: Absent, To: to, Reason: reason, Err: err})
	}
}

// bringing is the work of bringing up one member.
type bringing struct {
	l      *Log
	ctx    context.Context
	m      *member
	row    roster.Row
	joined bool
	seen   map[SegmentID]bool // segments that were looked at
}

// full reports whether all that the member holds has to be read before it can be believed.
func (b *bringing) full() bool {
	return b.row.Reason == roster.ReasonSync || b.row.Reason == roster.ReasonDamaged
}

func (b *bringing) run() error {
	b.seen = map[SegmentID]bool{}
	f, err := b.m.look()
	if err != nil {
		return err
	}
	if err := b.clean(&f); err != nil {
		return err
	}
	b.l.index.forgetMember(b.m.number)
	b.measure(&f)
	if err := b.segments(&f); err != nil {
		return err
	}
	if err := b.l.adoptShards(b.ctx, b.m, b.l.custodian.pace); err != nil {
		return err
	}
	if b.full() {
		if err := b.m.wipeFiles(); err != nil {
			return err
		}
	}
	if err := b.files(b.l.custodian.pace); err != nil && !errors.Is(err, errNotNow) {
		return err
	}
	if err := b.join(); err != nil {
		return err
	}
	err = b.finish()
	if failure := (*MemberError)(nil); errors.As(err, &failure) && failure.Dir == b.m.dir {
		b.l.memberFailed(b.m, failureReason(err), err)
	} else if err != nil {
		b.l.memberFailed(b.m, roster.ReasonAbsent, err) // begin anew
	}
	return err
}

// clean removes from the member what the log does not have, or has in another way: unsealed segments, dropped ones and those that
// were never acknowledged, temporary files.
func (b *bringing) clean(f *found) error {
	remove := func(name string) error {
		if err := b.m.fs.Remove(b.m.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &MemberError{Dir: b.m.dir, Op: "remove " + name, Err: err}
		}
		return nil
	}
	for _, id := range slices.Sorted(maps.Keys(f.segments)) {
		n := f.segments[id]
		if n.open {
			if err := remove(segment.Name(id, false)); err != nil {
				return err
			}
		}
		if n.sealed && !b.l.index.holds(id) {
			if err := remove(segment.Name(id, true)); err != nil {
				return err
			}
		}
	}
	for _, name := range f.temps {
		if _, ours := tempOf(name); ours || name == segment.IdentityName+segment.TempSuffix || name == segment.ManifestName+segment.TempSuffix {
			if err := remove(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// measure notes how much the member should hold.
func (b *bringing) measure(f *found) {
	want := int64(0)
	for _, s := range b.l.index.all() {
		if s.sealed && (b.wants(&s) || f.segments[s.id].sealed) {
			want += s.length
		}
	}
	b.m.want.Store(want)
	b.m.have.Store(0)
}

// wants reports whether the member should have a copy of a segment.
func (b *bringing) wants(s *indexed) bool { return s.shards == nil && b.l.everywhere() }

// segments gives the member what it should have of the segments that are sealed now.
func (b *bringing) segments(f *found) error {
	for _, s := range b.l.index.all() {
		if !s.sealed || b.seen[s.id] {
			continue
		}
		if err := b.segment(&s, f != nil && f.segments[s.id].sealed); err != nil {
			return err
		}
		b.seen[s.id] = true
	}
	return nil
}

// segment looks at the member's copy of one segment, if it has one, and writes it if it should have one and the copy is not
// sound. A copy that is not wanted stays where it is sound: it may be the only one.
func (b *bringing) segment(s *indexed, has bool) error {
	wants := b.wants(s)
	if !has && !wants {
		return nil
	}
	defer b.m.have.Add(s.length)
	if has {
		err := b.sound(s)
		switch {
		case b.ctx.Err() != nil:
			return b.ctx.Err()
		case err == nil:
			b.l.index.setHolder(s.id, b.m.number, true)
			return nil
		case !wants:
			return b.discard(s)
		}
	}
	err := b.l.rewriteCopy(b.ctx, s.id, b.m, b.l.custodian.pace)
	switch {
	case errors.Is(err, ErrDropped):
		return nil
	case errors.Is(err, ErrCorrupt): // it has what can be had
		b.l.Heal(s.id)
		return nil
	}
	return err
}

// discard removes a copy that is not sound and not wanted, if the segment can be had without it.
func (b *bringing) discard(s *indexed) error {
	if s.holders.Without(b.m.number)&b.l.now().current == 0 && s.shards == nil {
		return nil
	}
	if err := b.m.fs.Remove(b.m.path(segment.Name(s.id, true))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &MemberError{Dir: b.m.dir, Op: "remove", Segment: s.id, Err: err}
	}
	return nil
}

// sound returns what is wrong with the member's copy of a segment, as far as header and footer tell, or every record.
func (b *bringing) sound(s *indexed) error {
	file, err := b.m.openSegment(s.id, true)
	if err != nil {
		return err
	}
	patient := newPatientFile(file, b.l.o.Clock)
	defer patient.Close() // it was only read
	info, err := file.Stat()
	if err != nil {
		return err
	}
	here := segment.NewReader(patient, info.Size(), b.l.store, s.id)
	there := segment.NewReader(&anySource{log: b.l, s: *s}, s.length, b.l.store, s.id)
	header, trailer, err := ends(here)
	if err != nil {
		return err
	}
	wantHeader, wantTrailer, err := ends(there)
	switch {
	case err != nil:
		return fmt.Errorf("nobody can tell: %w", err)
	case header != wantHeader || trailer != wantTrailer || info.Size() != s.length:
		return fmt.Errorf("%w: it is not the copy that others have", segment.ErrDamaged)
	case b.full():
		return b.readAll(here, file, s)
	}
	return nil
}

// ends returns header and footer of a segment.
func ends(r *segment.Reader) (h segment.Header, t segment.Trailer, err error) {
	if h, err = r.Header(); err != nil {
		return h, t, err
	}
	if t, err = r.Trailer(); err == nil {
		err = r.CheckTable(&t)
	}
	return h, t, err
}

// readAll reads every record of a copy, from the disk.
func (b *bringing) readAll(r *segment.Reader, file vfs.File, s *indexed) error {
	dropCached(file, 0, s.length)
	off := int64(segment.HeaderBytes)
	for n := range s.count {
		h, err := r.Record(off)
		if err == nil && h.LSN != s.first+LSN(n) {
			err = fmt.Errorf("%w: record %d where %d should be", segment.ErrDamaged, h.LSN, s.first+LSN(n))
		}
		if err == nil {
			err = b.l.custodian.pace.spend(b.ctx, h.Bytes())
		}
		if err != nil {
			return err
		}
		off = h.End()
	}
	return nil
}

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
	return b.l.admit(b.m)
}

// seize keeps the custodian from a member, ends what it does about it, and waits for that; free lets it go on.
func (c *custodian) seize(ctx context.Context, i int) (free func(), err error) {
	for {
		c.mu.Lock()
		t := c.tendedLocked(i)
		if t.bringing == nil {
			mine := make(chan struct{})
			t.bringing, t.stop = mine, func() {}
			c.mu.Unlock()
			return sync.OnceFunc(func() {
				c.mu.Lock()
				t.bringing, t.rest = nil, backoff{}
				c.mu.Unlock()
				close(mine)
				c.l.wakeCustodian()
			}), nil
		}
		busy, stop := t.bringing, t.stop
		c.mu.Unlock()
		stop()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.ctx.Done():
			return nil, ErrClosed
		}
	}
}

// startBringUp brings a member up that is not written, unless that is under way or was tried a moment ago.
func (c *custodian) startBringUp(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tendedLocked(i)
	if t.bringing != nil || c.l.o.Clock.Now().Before(t.rest.until) || c.ctx.Err() != nil {
		return
	}
	ctx, stop := context.WithCancel(c.ctx)
	done := make(chan struct{})
	t.bringing, t.stop = done, stop
	c.running.Go(func() {
		err := c.l.bringUp(ctx, i)
		stop()
		c.mu.Lock()
		if t.bringing = nil; err != nil {
			t.rest.failed(c.l.o.Clock.Now())
		} else {
			t.rest = backoff{}
		}
		c.mu.Unlock()
		close(done)
	})
}
