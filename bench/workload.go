package bench

import (
	"fmt"
	"strconv"
	"strings"
)

// Op is what a workload asks of a target.
type Op uint8

const (
	PutPage    Op = iota // Put Page, update
	GetBlob              // Get Blob with a range
	Mixed                // Get Blob and Put Page on one blob
	SnapChain            // some Put Page, then Snapshot Blob
	Increment            // some Put Page, Snapshot Blob, Get Page Ranges Diff, Get Blob of what changed
	DiffRanges           // Get Page Ranges Diff of two snapshots
	Restore              // Get Blob of a snapshot
	ListBlobs            // List Blobs
	ManySmall            // Put Blob of a page blob, then Put Page
	PutBlob              // Put Blob of a small block blob
	GetWhole             // Get Blob of a small block blob
	PutBlocks            // some Put Block, then Put Block List
	GetBlocks            // Get Blob with a range of a blob of blocks
	Append               // Append Block
	Replay               // what a trace says
)

// Data is where the bytes of a workload come from.
type Data uint8

const (
	New  Data = iota // written: no 4 KiB of it was ever seen before, but for the share that Mix says
	Seen             // written: stored before, in another blob; read: what was stored before the run
)

// Version is which state of a blob with many snapshots Restore reads.
type Version uint8

const (
	Fresh  Version = iota // a blob that was written once, front to back
	Oldest                // its first snapshot
	Newest                // its last
)

// Workload is one kind of request, or a few that belong together, repeated.
type Workload struct {
	Name    string // as on the command line and in reports
	About   string // what one request is, for people
	Op      Op
	Data    Data
	Bytes   int  // of one request's pages, where it has a size: a power of two from 512 to 4 MiB
	Random  bool // at uniformly random multiples of Bytes; else one after the other
	Reads   int  // Mixed: percent of the requests that read
	Version Version
	Folders bool // ListBlobs: by delimiter; else flat
	More    bool // not among those that a run does when nobody chooses
	family  *family
	trace   *Trace
}

// grows reports whether the target has more to keep after each request, so that rounds have to be bounded.
func (w *Workload) grows() bool {
	switch w.Op {
	case PutPage:
		return w.Data == New
	case Mixed, SnapChain, Increment, ManySmall, PutBlob, PutBlocks, Append:
		return true
	}
	return false
}

// once reports whether a round goes through something that ends, without a warm-up and however long it takes.
func (w *Workload) once() bool { return w.Op == Replay }

// family is the workloads that differ in the size of their requests only.
type family struct {
	name  string // with %s for the size
	about string // with SIZE, and READS for the share of requests that read
}

// of returns the workload of the family with that size.
func (f *family) of(w Workload, size int) Workload {
	w.family, w.Bytes = f, size
	w.Name, w.About = fmt.Sprintf(f.name, SizeName(size)), strings.Replace(f.about, "SIZE", sizeText(size), 1)
	w.About = strings.Replace(w.About, "READS", strconv.Itoa(w.Reads), 1)
	return w
}

// WithReads returns w with another share of requests that read, if it is a mix.
func (w Workload) WithReads(percent int) Workload {
	if w.Op != Mixed {
		return w
	}
	w.Reads = percent
	return w.family.of(w, w.Bytes)
}

// WithBlockSizes returns the list with each workload whose requests have a size replaced by as many as there are sizes.
func WithBlockSizes(list []Workload, sizes []int) []Workload {
	var out []Workload
	for _, w := range list {
		if w.family == nil {
			out = append(out, w)
			continue
		}
		for _, n := range sizes {
			out = append(out, w.family.of(w, n))
		}
	}
	return withoutTwins(out)
}
