package bench

import (
	"fmt"
	"strings"
)

// Op is what a workload asks of a target.
type Op uint8

const (
	PutPage Op = iota // Put Page, update
	GetBlob           // Get Blob with a range
)

// Data is where the bytes of a workload come from.
type Data uint8

const (
	New  Data = iota // written: no 4 KiB of it was ever seen before
	Seen             // written: stored before, in another blob; read: what was stored before the run
)

// Workload is one kind of request, repeated.
type Workload struct {
	Name   string // as on the command line and in reports
	About  string // what one request is, for people
	Op     Op
	Data   Data
	Bytes  int  // of one request's pages; a power of two from 4 KiB to 4 MiB
	Random bool // at uniformly random multiples of Bytes; else one after the other
}

// workloads is the list in the order of the report. Requests of 4 MiB are the largest Put Page there is and say what
// throughput is possible; 4 KiB at random places is what a virtual disk does.
var workloads = [...]Workload{
	{Name: "put-4m-new", About: "Put Page 4 MiB, one after the other, data never seen before", Op: PutPage, Data: New, Bytes: 4 << 20},
	{Name: "put-4m-dup", About: "Put Page 4 MiB, one after the other, data already stored in another blob", Op: PutPage, Data: Seen, Bytes: 4 << 20},
	{Name: "put-4k-random", About: "Put Page 4 KiB at random places, data never seen before", Op: PutPage, Data: New, Bytes: 4 << 10, Random: true},
	{Name: "get-4m", About: "Get Blob 4 MiB, one after the other", Op: GetBlob, Data: Seen, Bytes: 4 << 20},
	{Name: "get-4k-random", About: "Get Blob 4 KiB at random places", Op: GetBlob, Data: Seen, Bytes: 4 << 10, Random: true},
}

// Workloads returns all workloads, in the order of the report.
func Workloads() []Workload { return append([]Workload(nil), workloads[:]...) }

// WorkloadsNamed returns the named workloads in the order of the report, each once. The error names the first unknown
// name and lists what there is.
func WorkloadsNamed(names []string) ([]Workload, error) {
	wanted := make(map[string]bool)
	for _, n := range names {
		wanted[n] = true
	}
	var list []Workload
	var known []string
	for _, w := range workloads {
		known = append(known, w.Name)
		if wanted[w.Name] {
			list = append(list, w)
			delete(wanted, w.Name)
		}
	}
	for _, n := range names {
		if wanted[n] {
			return nil, fmt.Errorf("no workload %q: there are %s", n, strings.Join(known, ", "))
		}
	}
	return list, nil
}
