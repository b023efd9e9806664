package blobstore

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"pagevault/pagestore"
)

// TestChangeError shows what stands in the way of a change of the members, by the error of the log.
func TestChangeError(t *testing.T) {
	f := func(err, want error) {
		t.Helper()
		got := changeError(err)
		if !errors.Is(got, err) || got != nil && got.Error() != err.Error() {
			t.Errorf("%v became %v", err, got)
		}
		for _, mark := range []error{ErrRefused, ErrNotNow} {
			if errors.Is(got, mark) != (mark == want) {
				t.Errorf("%v: is %v: %v", err, mark, errors.Is(got, mark))
			}
		}
	}
	f(nil, nil)
	f(errors.New("the directory is not empty"), ErrRefused)
	f(fmt.Errorf("member 2: %w", pagestore.ErrUnavailable), ErrNotNow)
	f(pagestore.ErrClosed, ErrNotNow)
	f(context.Canceled, ErrNotNow)
	f(fmt.Errorf("member 2: %w", &pagestore.MemberError{Dir: "d", Op: "write", Err: errors.New("input/output error")}), nil)
}

// TestScrubState shows what an account tells of a scrub.
func TestScrubState(t *testing.T) {
	f := newFixture(t)
	if s := f.ScrubState(); s.Running || s.Finished != nil || s.AgeSeconds != 0 {
		t.Errorf("before the first: %+v", s)
	}
	last := ScrubProgress{}
	s, err := f.Scrub(t.Context(), ScrubOptions{Progress: func(p *ScrubProgress) { last = *p }, Found: func(p *ScrubProblem) { t.Errorf("found %+v", p) }})
	if err != nil || !s.Complete || s.Account != "acct" || s.Bytes == 0 || s.Problems+s.Healed+s.Unhealable+len(s.NotRead) != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	if last.Account != "acct" || last.Bytes != last.Total || last.Total != s.Bytes {
		t.Errorf("the last progress is %+v of %+v", last, s)
	}
	if s := f.ScrubState(); s.Running || s.Started == nil || s.Finished == nil || f.Health().Scrub.Finished == nil {
		t.Errorf("after it: %+v", s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := f.Scrub(ctx, ScrubOptions{}); !errors.Is(err, context.Canceled) || s.Complete || s.Error == "" {
		t.Errorf("one that is stopped: %+v, %v", s, err)
	}
}
