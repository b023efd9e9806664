package replication

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"pagevault/replication/segment"
)

// foundShard is a shard file as the listing of a directory shows it.
type foundShard struct{ member, shard int }

// foundShards is what the frames of the shard files of one segment say.
type foundShards struct {
	frame segment.Shard        // of any shard of the set
	at    []int8               // the member that has each shard, -1: none. nil: there is no set
	flaws map[foundShard]error // why a file does not count: damaged, of another set, there twice
}

// whole reports whether the segment can be had from the shards.
func (f *foundShards) whole() bool { return f.at != nil && f.count() >= f.frame.K }

// describe says how many shards there are of how many.
func (f *foundShards) describe() string {
	if f.at == nil {
		return fmt.Sprintf("%d files, none of them whole", len(f.flaws))
	}
	return fmt.Sprintf("%d of %d+%d", f.count(), f.frame.K, f.frame.M)
}

func (f *foundShards) count() (n int) {
	for _, i := range f.at {
		if i >= 0 {
			n++
		}
	}
	return n
}

// readShards reads the frames of shard files of a segment and says which make up a set: of several sets, which a conversion
// from one code to another may leave when a member is away, the one that has most shards beyond what it needs. An error is
// returned only for what must not be touched: a file of another log or format version.
func readShards(members []*member, store segment.StoreID, id SegmentID, files []foundShard) (foundShards, error) {
	out := foundShards{flaws: map[foundShard]error{}}
	frames := map[foundShard]segment.Shard{}
	for _, f := range files {
		s, err := members[f.member].readFrame(store, id, f.shard)
		if version := (*segment.VersionError)(nil); errors.As(err, &version) || errors.Is(err, segment.ErrForeign) {
			return out, fmt.Errorf("member %s: %s: %w", members[f.member].dir, segment.ShardName(id, f.shard), err)
		}
		if err != nil {
			out.flaws[f] = err
			continue
		}
		frames[f] = s
	}
	best := -1 << 30
	for _, f := range files {
		s, ok := frames[f]
		if !ok {
			continue
		}
		there := map[int]bool{}
		for _, other := range frames {
			if s.SameSet(&other) {
				there[other.Index] = true
			}
		}
		if spare := len(there) - s.K; spare > best {
			best, out.frame = spare, s
		}
	}
	if len(frames) > 0 {
		out.choose(files, frames)
	}
	return out, nil
}

// choose says which file is which shard of the set.
func (f *foundShards) choose(files []foundShard, frames map[foundShard]segment.Shard) {
	f.at = slices.Repeat([]int8{-1}, f.frame.K+f.frame.M)
	for _, file := range files {
		s, ok := frames[file]
		switch {
		case !ok:
		case !s.SameSet(&f.frame):
			f.flaws[file] = fmt.Errorf("it is one of %d+%d shards, of a set that is not used", s.K, s.M)
		case f.at[s.Index] >= 0:
			f.flaws[file] = errors.New("another member has this shard")
		default:
			f.at[s.Index] = int8(file.member)
		}
	}
}

// readFrame reads the frame of a shard file and compares the file's length with it.
func (m *member) readFrame(store segment.StoreID, id SegmentID, i int) (segment.Shard, error) {
	f, err := m.openShard(id, i)
	if err != nil {
		return segment.Shard{}, err
	}
	defer f.Close() // it was only read
	info, err := f.Stat()
	if err != nil {
		return segment.Shard{}, err
	}
	return segment.ReadShard(f, info.Size(), store, id, i)
}

// adoptShards looks at the shards that a member has which was away. Those that the index counts on, or has not, are read and
// checked, and then counted on; the others are removed: of segments that are no more, or are kept otherwise now, and those
// that somebody else has made meanwhile. Errors are those of the member, and that of ctx.
func (l *Log) adoptShards(ctx context.Context, m *member, p *pace) error {
	list, err := m.fs.List(m.dir)
	if err != nil {
		return &MemberError{Dir: m.dir, Op: "list", Err: err}
	}
	have := map[foundShard]SegmentID{}
	here := map[SegmentID][]int{}
	for _, name := range list {
		if id, i, ok := segment.ParseShardName(name); ok {
			here[id] = append(here[id], i)
			have[foundShard{m.number, i}] = id
		}
	}
	for _, id := range slices.Sorted(maps.Keys(here)) {
		for _, i := range here[id] {
			if err := l.adoptShard(ctx, m, id, i, p); err != nil {
				return err
			}
		}
	}
	l.index.keepShards(m.number, func(id SegmentID, i int) bool { return slices.Contains(here[id], i) })
	return nil
}

// adoptShard is adoptShards for one shard.
func (l *Log) adoptShard(ctx context.Context, m *member, id SegmentID, i int, p *pace) error {
	release, err := l.claim(ctx, id)
	if err != nil {
		return err
	}
	defer release()
	s, ok, _ := l.index.get(id)
	if !ok || i >= len(s.shards) || s.shards[i] >= 0 && int(s.shards[i]) != m.number {
		return m.removeShard(id, i)
	}
	x, err := l.newShardSet(&s, int(s.k), int(s.m))
	if err != nil {
		return err
	}
	x.shards[i] = shardCopy{src: shardFile{l: l, m: m, id: id, shard: i}, m: m}
	err = x.checkShard(ctx, i, p, nil)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		l.index.setShard(id, i, m.number)
		return nil
	}
	l.index.setShard(id, i, -1)
	return m.removeShard(id, i)
}
