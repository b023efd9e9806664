package replication

import (
	"fmt"
	"slices"
	"time"

	"pagevault/replication/placement"
)

// Needed returns why a member, counted from 0, must not be given up for an empty directory just now: ErrNeeded if sealed
// segments could not be had without what it holds, or, of a current one, if something of what it holds lacks a copy or a shard
// already, as while another member is filled. So whoever replaces one disk after the other loses nothing. Of a member that is
// not written only its directory counts, and only if that answers: who wants to give up a disk all the same takes it away first.
func (l *Log) Needed(number int) error {
	ms := l.now()
	if m := ms.member(number); m != nil && ms.has(m) {
		return l.spareable(ms, number)
	}
	only := l.missing(ms)
	if len(only) == 0 {
		return nil
	}
	f := l.answered(ms, number)
	if f == nil {
		return nil
	}
	var lost figure
	for _, s := range only {
		if f.segments[s.id].sealed || len(f.shards[s.id]) > 0 {
			lost.add(&s)
		}
	}
	return lost.needed(number)
}

// figure counts segments.
type figure struct {
	segments int
	bytes    int64
}

func (f *figure) add(s *indexed) {
	f.segments++
	f.bytes += s.length
}

func (f *figure) String() string {
	return fmt.Sprintf("%d bytes in %d sealed segments", f.bytes, f.segments)
}

// needed returns the error if f, which is what cannot be had without a member, is not nothing.
func (f *figure) needed(number int) error {
	if f.segments == 0 {
		return nil
	}
	return fmt.Errorf("%w: without what is on member %d, %v could not be had: wait until another member that is filled or out has them, "+
		"or retire member %d, which moves them first; if its disk is lost anyway, take it away", ErrNeeded, number+1, f, number+1)
}

// spareable returns why a member that is written must not be given up for an empty directory, by what the index knows.
func (l *Log) spareable(ms *membership, number int) error {
	a, rest := l.policy(), ms.written().Without(number)
	waiting := l.healer.pending()
	var lost, short figure
	for s := range l.index.each() {
		if !s.sealed || !s.holders.Has(number) && !slices.Contains(s.shards, int8(number)) {
			continue
		}
		row := placed(s)
		switch {
		case placement.Survives(&row, rest) < 0:
			lost.add(s)
		case waiting[s.id] || placement.Lacks(&row, a.members, a.policy) > 0:
			short.add(s)
		}
	}
	if err := lost.needed(number); err != nil || short.segments == 0 || !ms.current.Has(number) {
		return err
	}
	return fmt.Errorf("%w: of what is on member %d, %v lack a copy or a shard: wait until all are whole again, or bring back the members that are out; "+
		"if its disk is lost anyway, take it away", ErrNeeded, number+1, &short)
}

// missing returns the sealed segments that cannot be had from the members that are written.
func (l *Log) missing(ms *membership) (out []indexed) {
	for s := range l.index.each() {
		if row := placed(s); s.sealed && placement.Survives(&row, ms.written()) < 0 {
			out = append(out, *s)
		}
	}
	return out
}

// answerWithin is how long a directory may take to be listed before its disk counts as lost: a disk that spins up takes less.
const answerWithin = 10 * time.Second

// answered looks what is in the directory of a member that is not written. nil: it is not the member's, or does not answer.
func (l *Log) answered(ms *membership, number int) *found {
	t, row := l.seats.get(number), ms.roster.Row(number+1)
	if row == nil || t.home.Dir == "" {
		return nil
	}
	m, done := l.newMember(t.home, number), make(chan *found, 1)
	go func() {
		if f, err := m.look(); err == nil {
			done <- &f
		}
		close(done)
	}()
	patience := l.o.Clock.NewTimer(answerWithin)
	defer patience.Stop()
	select {
	case f := <-done:
		if f == nil || f.who == nil || f.who.ID() != row.ID || f.who.Roster.History != ms.roster.History {
			return nil
		}
		return f
	case <-patience.C():
		return nil // the disk hangs
	}
}
