package blobstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"pagevault/pagestore"
)

// What stands in the way of a change of the members, for errors.Is. Any other error is a fault of a disk or of ours.
var (
	// ErrRefused marks changes that cannot be made as things are: a directory that is not empty, too few members left.
	ErrRefused = errors.New("refused")
	// ErrNotNow marks changes that can be made later: too few members can be written, others lack what the member holds, or the
	// store is being closed.
	ErrNotNow = errors.New("not now")
)

// ReplaceMember puts a directory in the place of a member, counted from 1, or makes it a member where there was none. dir is
// the account's own directory, and may be the one that the member had; with wipe what is in it of the store goes. It
// returns when the directory belongs to the store, which brings it up in the background.
func (a *Account) ReplaceMember(ctx context.Context, number int, dir string, wipe bool) error {
	return changeError(a.store.Log().Replace(ctx, number-1, pagestore.Member{Dir: dir}, wipe))
}

// MemberNeeded returns why ReplaceMember would refuse to give up what a member, counted from 1, holds. It changes nothing.
func (a *Account) MemberNeeded(number int) error {
	return changeError(a.store.Log().Needed(number - 1))
}

// RetireMember takes a member, counted from 1, out. What it alone holds is moved to the others first, for as long as ctx lives.
func (a *Account) RetireMember(ctx context.Context, number int) error {
	return changeError(a.store.Log().Retire(ctx, number-1))
}

// SetRedundancy has sealed segments kept in another way. It returns when the members know; what is sealed already is
// converted in the background.
func (a *Account) SetRedundancy(ctx context.Context, r Redundancy) error {
	return changeError(a.store.Log().SetRedundancy(ctx, r))
}

// changeError marks an error of a change of the members. What is neither a disk's fault nor a matter of time is refused.
func changeError(err error) error {
	var disk *pagestore.MemberError
	switch {
	case err == nil || errors.As(err, &disk):
		return err
	case errors.Is(err, pagestore.ErrUnavailable), errors.Is(err, pagestore.ErrNeeded), errors.Is(err, pagestore.ErrClosed), errors.Is(err, pagestore.ErrReadOnly),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &markedError{ErrNotNow, err}
	}
	return &markedError{ErrRefused, err}
}

// markedError is an error with a mark that its text does not show.
type markedError struct{ mark, err error }

func (e *markedError) Error() string   { return e.err.Error() }
func (e *markedError) Unwrap() []error { return []error{e.mark, e.err} }

// Redundancy is how sealed segments are kept: the zero value is whole copies, three or one a member if there are fewer;
// K and M are a Reed–Solomon code of K shards with data and M more, on K+M members.
type Redundancy = pagestore.Redundancy

// redundancyMax is the most shards there can be: one a member.
const redundancyMax = 64

// ParseRedundancy reads "3", which is copies, or "rs:K+M".
func ParseRedundancy(text string) (r Redundancy, err error) {
	if text == "3" {
		return Redundancy{}, nil
	}
	code, isCode := strings.CutPrefix(text, "rs:")
	k, m, isSum := strings.Cut(code, "+")
	if isCode && isSum {
		r.K, err = strconv.Atoi(k)
		if err == nil {
			r.M, err = strconv.Atoi(m)
		}
	}
	if !isCode || !isSum || err != nil || r.K < 1 || r.M < 1 || r.K+r.M > redundancyMax {
		return Redundancy{}, fmt.Errorf("%q is no redundancy: want 3, or rs:K+M with at most %d members together, such as rs:2+1", text, redundancyMax)
	}
	return r, nil
}
