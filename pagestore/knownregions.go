package pagestore

import (
	"encoding/binary"
	"sync/atomic"

	"pagevault/internal/digest"
	"pagevault/pagestore/pagemap"
)

// knownRegions keeps what fills regions that were found by their names, for content that comes again and again: finding
// one in the index takes two seeks, of its name and of its frame.
//
// What it has was true of the index when it was found, and can be used until stored blocks go: a name may be given to other runs
// meanwhile, but these still hold the same. So it lasts from one record that frees or moves frames to the next: the applier takes it away before such a record gets into the index, and
// puts an empty one in its place after that. A look-up that has got hold of one before may go on with it: it finds what it
// would have found then, or later, in the index, which is what look-ups promise. Whoever gets hold of the empty one finds
// nothing of what has gone. That somebody finds blocks which are about to go is the business of condemned, as it is with
// the index: a look-up takes note of these first and gets hold of what is known after that, because they are pardoned
// only when that was replaced.
//
// Every name has one slot, which the next one with the same takes. It is safe for concurrent use.
type knownRegions struct {
	slots [knownSlots]atomic.Pointer[knownRegion]
}

type knownRegion struct {
	name digest.Digest
	runs pagemap.Entry // not changed any more
}

const (
	knownSlots = 1 << 14 // 1 GiB of content; 2 MB, or 7 MB if all regions are in pieces
	knownRuns  = 16      // of a region that is kept, at most
)

func (k *knownRegions) slot(name *digest.Digest) *atomic.Pointer[knownRegion] {
	return &k.slots[binary.LittleEndian.Uint32(name[12:])%knownSlots] // names are uniform
}

// find returns what fills a region, which must not be changed; nil if that is not known. k may be nil.
func (k *knownRegions) find(name *digest.Digest) pagemap.Entry {
	if k == nil {
		return nil
	}
	if r := k.slot(name).Load(); r != nil && r.name == *name {
		return r.runs
	}
	return nil
}

// keep takes note of what fills a region. It does not keep runs. k may be nil.
func (k *knownRegions) keep(name *digest.Digest, runs pagemap.Entry) {
	if k != nil && len(runs) <= knownRuns {
		k.slot(name).Store(&knownRegion{*name, append(pagemap.Entry(nil), runs...)})
	}
}
