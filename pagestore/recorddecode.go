package pagestore

import (
	"errors"
	"fmt"
	"math"

	"pagevault/internal/digest"
	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// op is one decoded operation of a commit. Only the fields of its kind are set; slices point into the Meta.
type op struct {
	kind       opKind
	volume     VolumeID
	source     VolumeID // copy
	gen        Gen      // freeze, thaw, fold; copy: of source
	pages      Range    // write, clear; truncate: [from, maxPages)
	key, value []byte
	frame      frame // frame, move, free; its slices are reused by the next of the same decoder

	region  uint64          // fold; reap, copy: the first
	old     pagemap.Entry   // fold; reused by the next of the same decoder
	runs    pagemap.Entry   // fold; the same
	end     uint64          // reap, copy: after the last
	due     replication.LSN // reap
	session uint32
	salt    [32]byte
}

// region is one decoded region of a write.
type region struct {
	no       uint64 // of the volume
	from, to int    // pages of the region that are written
	name     *digest.Digest
	runs     pagemap.Entry // reused by the next region of the same decoder
}

// commitDecoder reads the operations of a commit. After a write operation its regions must be read with region until
// that returns false.
type commitDecoder struct {
	p    []byte
	err  error
	left Range // pages of the current write whose regions were not read yet
	op   op
	reg  region
	name digest.Digest
}

// reset starts decoding p.
func (d *commitDecoder) reset(p []byte) error {
	d.err, d.left = nil, Range{}
	if len(p) == 0 || p[0] != recordCommit {
		return errors.New("not a commit")
	}
	d.p = p[1:]
	return nil
}

func (d *commitDecoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
	d.p = nil
}

func (d *commitDecoder) byte() byte {
	if len(d.p) == 0 {
		d.fail("record ends within an operation")
		return 0
	}
	b := d.p[0]
	d.p = d.p[1:]
	return b
}

func (d *commitDecoder) uvarint() uint64 {
	v, n := pagemap.Uvarint(d.p)
	if n == 0 {
		d.fail("record ends within a number, or the number is malformed")
		return 0
	}
	d.p = d.p[n:]
	return v
}

func (d *commitDecoder) bytes(n uint64) []byte {
	if n > uint64(len(d.p)) {
		d.fail("record ends within an operation: %d bytes wanted, %d left", n, len(d.p))
		return nil
	}
	b := d.p[:n:n]
	d.p = d.p[n:]
	return b
}

// next decodes the next operation into d.op. It returns false at the end and on an error, which d.err holds.
func (d *commitDecoder) next() bool {
	if d.left.Start < d.left.End {
		d.fail("regions of a write were not read")
	}
	if d.err != nil || len(d.p) == 0 {
		return false
	}
	f, old, runs := d.op.frame, d.op.old, d.op.runs
	d.op = op{kind: opKind(d.byte()), frame: f, old: old, runs: runs}
	switch d.op.kind {
	case opFrame, opMove:
		d.frame(d.op.kind == opMove)
	case opFree:
		d.free()
	case opWrite:
		d.op.volume = VolumeID(d.uvarint())
		first := d.uvarint()
		d.setPages(first, first+d.uvarint())
		d.left = d.op.pages
	case opClear:
		d.op.volume = VolumeID(d.uvarint())
		start := d.uvarint()
		d.setPages(start, d.uvarint())
	case opTruncate:
		d.op.volume = VolumeID(d.uvarint())
		d.setPages(d.uvarint(), uint64(maxPages))
	case opCreate, opDrop:
		d.op.volume = VolumeID(d.uvarint())
	case opFreeze, opThaw:
		d.op.volume = VolumeID(d.uvarint())
		d.op.gen = d.generation()
	case opSet:
		d.op.key = d.bytes(d.uvarint())
		d.op.value = d.bytes(d.uvarint())
	case opDelete:
		d.op.key = d.bytes(d.uvarint())
	case opSession:
		if d.op.session = d.number32("session"); d.op.session == 0 {
			d.fail("session without number")
		}
		copy(d.op.salt[:], d.bytes(uint64(len(d.op.salt))))
	case opFold:
		d.fold()
	case opReap:
		d.op.volume = VolumeID(d.uvarint())
		d.op.region, d.op.end = d.uvarint(), d.uvarint()
		d.op.due = replication.LSN(d.uvarint())
		if d.op.region >= d.op.end || d.op.end > maxRegions {
			d.fail("reap of regions [%d,%d)", d.op.region, d.op.end)
		}
	case opCopy:
		d.op.volume, d.op.source, d.op.gen = VolumeID(d.uvarint()), VolumeID(d.uvarint()), d.generation()
		d.op.region, d.op.end = d.uvarint(), d.uvarint()
		if d.op.region >= d.op.end || d.op.end > maxRegions || d.op.volume == d.op.source {
			d.fail("copy of regions [%d,%d) of volume %d to volume %d", d.op.region, d.op.end, d.op.source, d.op.volume)
		}
	default:
		d.fail("operation of unknown kind %d", d.op.kind)
	}
	return d.err == nil
}

func (d *commitDecoder) generation() Gen {
	g := d.number32("generation")
	if g == 0 {
		d.fail("generation 0")
	}
	return Gen(g)
}

func (d *commitDecoder) number32(what string) uint32 {
	n := d.uvarint()
	if n > math.MaxUint32 {
		d.fail("%s %d", what, n)
	}
	return uint32(n)
}

// fold decodes a fold, whose runs must cover the pages of the entry they replace.
func (d *commitDecoder) fold() {
	o := &d.op
	o.volume = VolumeID(d.uvarint())
	o.region, o.gen = d.uvarint(), d.generation()
	if o.region >= maxRegions {
		d.fail("fold of region %d", o.region)
	}
	old := d.bytes(d.uvarint())
	n := int(d.byte())
	if d.err != nil {
		return
	}
	var err error
	if o.old, err = pagemap.DecodeEntry(o.old[:0], old); err != nil {
		d.fail("fold of region %d: %w", o.region, err)
		return
	}
	start := d.p
	for ; n > 0; n-- {
		if _, d.p, err = pagemap.DecodeRun(d.p); err != nil {
			d.fail("fold of region %d: %w", o.region, err)
			return
		}
	}
	if o.runs, err = pagemap.DecodeEntry(o.runs[:0], start[:len(start)-len(d.p)]); err != nil {
		d.fail("fold of region %d: %w", o.region, err)
	} else if len(o.runs) == 0 || o.runs.Pages() != o.old.Pages() {
		d.fail("fold of region %d: pages %v become %v", o.region, o.old.Pages(), o.runs.Pages())
	}
}

func (d *commitDecoder) setPages(start, end uint64) {
	if start >= end || end > uint64(maxPages) {
		d.fail("pages [%d,%d) out of bounds", start, end)
		return
	}
	d.op.pages = Range{PageNo(start), PageNo(end)}
}

// region decodes the next region of the current write into d.reg. It returns false when there is none left and on an
// error, which d.err holds.
func (d *commitDecoder) region() bool {
	if d.err != nil || d.left.Start >= d.left.End {
		return false
	}
	r := &d.reg
	r.no, r.from, r.to = firstRegion(d.left)
	r.name, r.runs = nil, r.runs[:0]
	switch flags := d.byte(); flags {
	case 0:
	case regionHasDigest:
		if r.to-r.from != pagemap.RegionPages {
			d.fail("region %d has a digest and only pages [%d,%d)", r.no, r.from, r.to)
		}
		copy(d.name[:], d.bytes(digest.Size))
		r.name = &d.name
	default:
		d.fail("region %d has unknown flags %#x", r.no, flags)
	}
	d.runs(r)
	d.left.Start += PageNo(r.to - r.from)
	return d.err == nil
}

// runs decodes the runs of r, which must cover its pages without a gap.
func (d *commitDecoder) runs(r *region) {
	at := r.from
	for n := d.byte(); n > 0 && d.err == nil; n-- {
		run, rest, err := pagemap.DecodeRun(d.p)
		if err != nil {
			d.fail("region %d: %w", r.no, err)
			return
		}
		if int(run.First) != at {
			d.fail("region %d: run %v, want one from page %d", r.no, run, at)
			return
		}
		at, d.p = run.End(), rest
		if k := len(r.runs); k > 0 && r.runs[k-1].ContinuedBy(run) {
			d.fail("region %d: run %v continues the one before", r.no, run)
			return
		}
		r.runs = append(r.runs, run)
	}
	if at != r.to {
		d.fail("region %d: runs end at page %d, want %d", r.no, at, r.to)
	}
}
