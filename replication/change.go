package replication

import (
	"context"
	"errors"
)

// errNotYet is what changes of the membership say until they are written.
var errNotYet = errors.New("not built yet")

// Replace puts a directory in the place of a member, counted from 0, or makes it a member where there was none. The directory
// must be empty or not be there; with wipe what is in it of this log goes. It may be the one that the member had. Replace
// returns when the directory belongs to the log; it is brought up in the background then.
func (l *Log) Replace(ctx context.Context, number int, home Member, wipe bool) error { return errNotYet }

// Retire takes a member, counted from 0, out of the log. Where the others are enough, what it alone holds is moved to them
// first, and Retire returns when that is done and the member is gone; it goes on being moved only as long as ctx lives.
func (l *Log) Retire(ctx context.Context, number int) error { return errNotYet }

// SetRedundancy has sealed segments kept in another way from now on. It returns when the members know; those that there are
// are converted in the background.
func (l *Log) SetRedundancy(ctx context.Context, r Redundancy) error { return errNotYet }
