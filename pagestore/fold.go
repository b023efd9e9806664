package pagestore

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/pagestore/pagemap"
)

// A small write stores its pages as they come and puts one run more into the page map, or two where it splits one; it
// reads no content. So a region that is written page by page falls into pieces, up to one run for each of its 128 pages.
// Once its newest entry has more than foldRuns runs it is listed, and in the background it is folded: its content is
// read, cut into whole chunks again, which are named, so that they are found to be duplicates of others, and those that
// nobody has stored yet are stored together. What holds unchanged chunks keeps them. A region all of whose pages are
// valid has at most 16 runs after that; one with holes has one for each piece of a chunk between them.
//
// What a random write costs beside its content, as TestSmallWriteCost measures, for one copy that is not encrypted: a
// write of 512 bytes adds 71 bytes to the log, header included, and 32 to the rows of the index; one of 4 KiB, which has
// a name, 88 and 51. Sealing adds up to 25 bytes to the log. The rows last until the collection of garbage takes the
// frame away. What is written to the index for it is these rows, those of the frame that lost a block and of the segment,
// and the region's entry anew, of some 8 bytes for each run. An entry never has more than 128 runs, which is 1 to 1.6
// KiB, and not more than foldRuns for longer than the background takes to get there.

// foldRegions is how many regions are folded by one record: 2 MiB of content are read and perhaps stored.
const foldRegions = 32

const (
	// foldLooks is how many listed regions a step looks at: some milliseconds, when none of them is to be folded yet.
	foldLooks = 4096
	// maxFoldSeen bounds the regions that are remembered from one look at the list to the next, to some 2 MB. What is
	// beyond is folded at once.
	maxFoldSeen = 1 << 16
)

// folder remembers how far the folding of listed regions has come, and what they looked like.
type folder struct {
	mu struct {
		sync.Mutex        // held during a step
		next       []byte // key of the first row to look at; nil: the first of all

		before, now map[uint64]struct{} // hashes of listed entries: of the walk over the list before this one, and of this
	}
}

// settled reports whether a listed entry was there already at the walk over the list before this one, or cannot be
// remembered until the next. A region that is written all the time would else be folded again and again, mostly in vain.
func (f *folder) settled(r *folding) bool {
	h := r.hash()
	if _, ok := f.mu.before[h]; ok {
		return true
	}
	if len(f.mu.now) >= maxFoldSeen {
		return true
	}
	if f.mu.now == nil {
		f.mu.now = make(map[uint64]struct{})
	}
	f.mu.now[h] = struct{}{}
	return false
}

// walked ends a walk over the list.
func (f *folder) walked() { f.mu.before, f.mu.now = f.mu.now, nil }

// folding is one region that is being folded.
type folding struct {
	volume VolumeID
	no     uint64
	gen    Gen           // of its newest entry
	old    pagemap.Entry // that entry
	same   bool          // a fold would gain nothing; the region is just to be listed no more
	parts  [2]int        // of the content, [from, to)
}

// hash returns a number that is another one, nearly always, when the region has been written.
func (r *folding) hash() uint64 {
	h := fnv.New64a()
	var p [20]byte
	binary.LittleEndian.PutUint64(p[:], uint64(r.volume))
	binary.LittleEndian.PutUint64(p[8:], r.no)
	binary.LittleEndian.PutUint32(p[16:], uint32(r.gen))
	h.Write(p[:])
	h.Write(pagemap.AppendEntry(nil, r.old))
	return h.Sum64()
}

// foldStep folds some of the listed regions; if settled, only those that were not written since the walk over the list
// before this one. bytes is how much content it has read for that. more is false when it has reached the end of the list; the next call begins
// again. What is written while a region is being folded wins: the fold of that region is void.
//
// A region whose content cannot be read stays as it is and does not keep others from being folded; the error then names
// it, and more is as it would be.
func (s *Store) foldStep(ctx context.Context, settled bool) (more bool, bytes int, err error) {
	f := &s.folder.mu
	f.Lock()
	defer f.Unlock()
	if err := cmp.Or(ctx.Err(), s.unusable(), s.flight.settle()); err != nil {
		return false, 0, err
	}
	var ripe func(r *folding) bool
	if settled {
		ripe = s.folder.settled
	}
	j, err := s.planFold(f.next, ripe)
	if j == nil {
		return false, 0, err
	}
	if f.next = j.next; j.next == nil && settled {
		s.folder.walked()
	}
	return j.next != nil, len(j.data), errors.Join(err, s.fold(j))
}

// foldJob is one step of folding: regions with their content.
type foldJob struct {
	regions []folding
	data    []byte // the valid pages of those that are to be stored anew, one after the other
	next    []byte // key of the row where the next step begins; nil: the list has ended

	ripe func(r *folding) bool // which regions are folded; nil: all
}

// planFold reads the next regions that are listed at or after the key from. A region that cannot be read is left out; the
// error then says why. It returns nil if the list itself cannot be read. ripe says which regions are folded; nil: all.
func (s *Store) planFold(from []byte, ripe func(r *folding) bool) (*foldJob, error) {
	v, err := s.View()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	j := &foldJob{ripe: ripe}
	if err := j.choose(v.snap, from); err != nil {
		return nil, err
	}
	var failed error
	j.data = make([]byte, 0, len(j.regions)*pagemap.RegionBytes)
	j.regions = slices.DeleteFunc(j.regions, func(r folding) bool {
		if r.same {
			return false
		}
		n := len(j.data) + r.old.Pages().Count()*PageSize
		if err := v.readEntry(r.volume, r.no, r.old, j.data[len(j.data):n]); err != nil {
			failed = errors.Join(failed, fmt.Errorf("fold of region %d: %w", r.no, err))
			return true
		}
		j.data = j.data[:n]
		return false
	})
	return j, failed
}

// choose lists regions.
func (j *foldJob) choose(from reader, key []byte) error {
	it, err := newRowIter(from, rowScattered)
	if err != nil {
		return err
	}
	defer it.Close()
	entries, err := newRowIter(from, rowMap)
	if err != nil {
		return err
	}
	defer entries.Close()
	var volume VolumeID
	skip, looks := false, 0
	if key == nil {
		key = []byte{rowScattered}
	}
	for ok := it.SeekGE(key); ok; ok = it.Next() {
		id, no, err := decodeScatteredKey(it.Key())
		if err != nil {
			return fmt.Errorf("%w: index: %w", ErrCorrupt, err)
		}
		if looks++; len(j.regions) == foldRegions || looks > foldLooks {
			j.next = slices.Clone(it.Key())
			return nil
		}
		if id != volume {
			volume = id
			if skip, err = unfoldable(from, id); err != nil {
				return err
			}
		}
		if !skip {
			if err := j.add(entries, id, no); err != nil {
				return err
			}
		}
	}
	return it.Error()
}

// unfoldable reports whether the regions of a volume are not worth folding: it was dropped, or a pass over it is due,
// which may take away much of what they hold.
func unfoldable(from reader, id VolumeID) (bool, error) {
	var row volumeRow
	live, err := readVolume(from, id, &row)
	if err != nil || !live {
		return true, err
	}
	_, due, err := readPass(from, id)
	return due, err
}

// add adds a region with its newest entry.
func (j *foldJob) add(entries *pebble.Iterator, id VolumeID, no uint64) error {
	prefix := appendMapKey(nil, id, no, ^Gen(0))
	if !entries.SeekGE(prefix) || decodeRowVolume(entries.Key()) != id {
		return entries.Error()
	}
	found, g, err := decodeMapKey(entries.Key())
	if err != nil {
		return fmt.Errorf("%w: index: %w", ErrCorrupt, err)
	}
	if found != no {
		return nil
	}
	value, err := entries.ValueAndErr()
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	r := folding{volume: id, no: no, gen: g}
	if r.old, err = pagemap.DecodeEntry(nil, value); err != nil {
		return fmt.Errorf("%w: index: volume %d region %d generation %d: %w", ErrCorrupt, id, no, g, err)
	}
	if j.ripe != nil && !j.ripe(&r) {
		return nil
	}
	r.same = pieces(r.old.Pages()) > len(r.old)*3/4
	j.regions = append(j.regions, r)
	return nil
}

// pieces returns how many pieces of chunks there are in a set of pages: the most runs that a fold leaves behind.
func pieces(pages pagemap.Bitmap) (n int) {
	for from, to := pages.Next(0); from < pagemap.RegionPages; from, to = pages.Next(to) {
		n += (to-1)/pagemap.ChunkPages - from/pagemap.ChunkPages + 1
	}
	return n
}

// readEntry fills dst with the valid pages of an entry of a region, one after the other.
func (v *View) readEntry(vol VolumeID, no uint64, e pagemap.Entry, dst []byte) error {
	r := v.s.readers.Get().(*extentReader)
	defer r.release()
	r.s, r.vol, r.first, r.dst, r.decoder.Ring = v.s, vol, PageNo(no*pagemap.RegionPages), dst, v.s.ring
	to := 0
	for _, run := range e {
		from := to
		to += int(run.Pages) * PageSize
		if run.Frame != pagemap.ZeroFrame {
			r.add(from, to, run, 0)
		}
	}
	if err := r.locate(v.p); err != nil {
		return err
	}
	return r.read(r.extents)
}

// fold stores the content of the regions anew and replaces their entries.
func (s *Store) fold(j *foldJob) error {
	if len(j.regions) == 0 {
		return nil
	}
	var spans []span
	for i := range j.regions {
		r := &j.regions[i]
		r.parts[0] = len(spans)
		if !r.same {
			pages := r.old.Pages()
			for from, to := pages.Next(0); from < pagemap.RegionPages; from, to = pages.Next(to) {
				spans = append(spans, span{r.no, uint8(from), uint8(to)})
			}
		}
		r.parts[1] = len(spans)
	}
	c, err := s.prepareSpans(j.data, spans)
	if err != nil {
		return err
	}
	defer c.Release()
	return s.Update(func(tx *Tx) error {
		tx.ops = append(tx.ops, txOp{content: c, folds: j.regions})
		return nil
	})
}

// folds adds the folds of a content whose frames are in meta.
func (b *builder) folds(meta []byte, o *txOp) []byte {
	var entry pagemap.Entry
	for i := range o.folds {
		f := &o.folds[i]
		if f.same {
			meta = appendFoldOp(meta, f.volume, f.no, f.gen, f.old, f.old)
			continue
		}
		entry = entry[:0]
		for k := f.parts[0]; k < f.parts[1]; k++ {
			_, runs := b.part(o.content, &o.content.parts[k])
			b.refer(runs)
			for _, r := range runs {
				entry = entry.Append(r)
			}
		}
		meta = appendFoldOp(meta, f.volume, f.no, f.gen, f.old, entry)
	}
	return meta
}
