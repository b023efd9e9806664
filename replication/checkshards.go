package replication

import (
	"context"
	"errors"
	"fmt"

	"pagevault/replication/placement"
	"pagevault/replication/segment"
)

// checkShard reads shard i, all of it, and returns what is wrong with it, or the error of ctx. With report every block that
// is wrong is told, with its offset in the file, and the first is returned.
func (x *shardSet) checkShard(ctx context.Context, i int, p *pace, report func(off int64, err error)) error {
	if report == nil {
		report = func(int64, error) {}
	}
	if err := x.look(i); err != nil {
		report(0, err)
		return err
	}
	var first error
	for off := int64(0); off < x.bytes; off += columnBytes {
		n := int(min(columnBytes, x.bytes-off))
		if err := p.spend(ctx, int64(n)); err != nil {
			return err
		}
		if err := x.block(i, off, n); err != nil {
			report(segment.ShardFrameBytes+off, err)
			if first == nil {
				first = err
			}
		}
	}
	return first
}

// check reads all shards of the set and compares them with their checksums and with each other. It returns those that are
// not whole, missing ones included, and reports why, once or several times each, with an offset in the file. differ says that
// all are whole and do not belong together. The error is that of ctx.
func (x *shardSet) check(ctx context.Context, p *pace, report func(i int, off int64, err error)) (bad Set, differ bool, err error) {
	all := setOf(len(x.shards))
	for i := range all.All() {
		if err := x.look(i); err != nil {
			bad = bad.With(i)
			report(i, 0, err)
		}
	}
	for off := int64(0); off < x.bytes; off += columnBytes {
		n := int(min(columnBytes, x.bytes-off))
		reading := all
		for i := range all.All() {
			if x.shards[i].flaw != nil {
				reading = reading.Without(i)
			}
		}
		if err := p.spend(ctx, int64(n)*int64(reading.Len())); err != nil {
			return bad, false, err
		}
		got := x.blocks(reading, off, n)
		for i := range (reading &^ got).All() {
			bad = bad.With(i)
			report(i, segment.ShardFrameBytes+off, x.shards[i].why)
		}
		if got != all || differ {
			continue
		}
		ok, err := x.parity()
		if err != nil {
			return bad, false, err
		}
		if !ok {
			differ = true
			report(x.code.K, segment.ShardFrameBytes+off, errShardsDiffer)
		}
	}
	return bad, differ, ctx.Err()
}

var errShardsDiffer = errors.New("parity is not that of the data shards, though every checksum is right")

// checkShards reads the shards of a segment, all of each, and reports what is wrong with which, with an offset in the file.
// Missing ones are not reported for members that are not there. A segment that has no shards, or is dropped meanwhile, has no
// problems. The error is that of ctx.
func (l *Log) checkShards(ctx context.Context, id SegmentID, p *pace, report func(m *member, shard int, off int64, err error)) error {
	s, ok, _ := l.index.get(id)
	if !ok || s.shards == nil {
		return nil
	}
	x, err := l.shardsOf(&s)
	if err != nil {
		return err
	}
	x.failed = nil
	_, _, err = x.check(ctx, p, func(i int, off int64, why error) {
		now, ok, _ := l.index.get(id)
		if m := x.shards[i].m; m != nil && ok && i < len(now.shards) && int(now.shards[i]) == m.number {
			report(m, i, off, why)
		}
	})
	return err
}

// healShards reads the shards of a segment and writes those anew that are not whole, each on the member that has it. It
// returns what was written. Errors: a *CorruptError if fewer than K are whole and there is no copy, or if the shards are
// whole and do not belong together, and those of makeShardsClaimed.
func (l *Log) healShards(ctx context.Context, id SegmentID, p *pace) ([]Repair, error) {
	release, err := l.claim(ctx, id)
	if err != nil {
		return nil, err
	}
	defer release()
	s, ok, _ := l.index.get(id)
	if !ok || s.shards == nil {
		return nil, nil
	}
	x, err := l.shardsOf(&s)
	if err != nil {
		return nil, err
	}
	x.failed = nil
	why := make([]error, len(x.shards))
	bad, differ, err := x.check(ctx, p, func(i int, _ int64, err error) {
		if why[i] == nil {
			why[i] = err
		}
	})
	if err != nil {
		return nil, err
	}
	if differ {
		return nil, &CorruptError{At: Position{Segment: id}, Reason: errShardsDiffer.Error()}
	}
	var where []placement.At
	var repairs []Repair
	frame := segment.Shard{K: x.code.K, M: x.code.M, Trailer: segment.Trailer{Length: uint32(s.length)}}
	for i := range bad.All() {
		if m := x.shards[i].m; m != nil {
			where = append(where, placement.At{Shard: i, Member: m.number})
			repairs = append(repairs, Repair{Member: m.number, Segment: id, File: segment.ShardName(id, i), Bytes: frame.FileBytes(), Reason: why[i].Error()})
		}
	}
	if len(where) == 0 {
		return nil, nil
	}
	if err := l.makeShardsClaimed(ctx, id, x.code.K, x.code.M, where, p); err != nil {
		return nil, fmt.Errorf("heal segment %d: %w", id, err)
	}
	for _, at := range where {
		x.shards[at.Shard].m.repaired.Add(1)
	}
	return repairs, nil
}
