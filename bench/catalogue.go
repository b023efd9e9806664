package bench

var (
	putNew     = &family{"put-%s-new", "Put Page SIZE, one after the other, data never seen before"}
	putDup     = &family{"put-%s-dup", "Put Page SIZE, one after the other, data already stored in another blob"}
	putRandom  = &family{"put-%s-random", "Put Page SIZE at random places, data never seen before"}
	getForward = &family{"get-%s", "Get Blob SIZE, one after the other"}
	getRandom  = &family{"get-%s-random", "Get Blob SIZE at random places"}
	mixed      = &family{"mixed-%s", "READS % Get Blob, the others Put Page, of SIZE at random places of one blob"}
)

// workloads is the list in the order of the report. Requests of 4 MiB are the largest Put Page there is and say what
// throughput is possible; 4 KiB at random places is what a virtual disk does; snapshots are what backups make of it.
var workloads = [...]Workload{
	putNew.of(Workload{Op: PutPage, Data: New}, 4<<20),
	putDup.of(Workload{Op: PutPage, Data: Seen}, 4<<20),
	putRandom.of(Workload{Op: PutPage, Data: New, Random: true}, 4<<10),
	putRandom.of(Workload{Op: PutPage, Data: New, Random: true, More: true}, 64<<10),
	getForward.of(Workload{Op: GetBlob, Data: Seen}, 4<<20),
	getRandom.of(Workload{Op: GetBlob, Data: Seen, Random: true}, 4<<10),
	mixed.of(Workload{Op: Mixed, Data: New, Random: true, Reads: 70, More: true}, 4<<10),
	{Name: "snapshot-chain", Op: SnapChain, Data: New, More: true, Random: true,
		About: "write 1 % of a blob in 16 KiB at random places, then Snapshot Blob; the chain grows as long as the run lasts"},
	{Name: "incremental", Op: Increment, Data: New, More: true, Random: true,
		About: "write 1 % of a blob, Snapshot Blob, Get Page Ranges Diff, and Get Blob of exactly what changed"},
	{Name: "diff", Op: DiffRanges, Data: Seen, More: true,
		About: "Get Page Ranges Diff of two of 30 snapshots, each 1 % from the one before"},
	{Name: "list-flat", Op: ListBlobs, Data: Seen, More: true,
		About: "List Blobs: all of many page blobs, up to 1,000 an answer"},
	{Name: "list-delimiter", Op: ListBlobs, Data: Seen, More: true, Folders: true,
		About: "List Blobs by delimiter: the folders of the same blobs"},
	{Name: "restore-oldest", Op: Restore, Data: Seen, More: true, Bytes: requestMax, Version: Oldest,
		About: "Get Blob 4 MiB, front to back, of the oldest of 30 snapshots, each 1 % from the one before"},
	{Name: "restore-newest", Op: Restore, Data: Seen, More: true, Bytes: requestMax, Version: Newest,
		About: "Get Blob 4 MiB, front to back, of the newest of the same snapshots"},
	{Name: "restore-fresh", Op: Restore, Data: Seen, More: true, Bytes: requestMax, Version: Fresh,
		About: "Get Blob 4 MiB, front to back, of a blob of the same size that was written once"},
	{Name: "many-small", Op: ManySmall, Data: New, More: true,
		About: "create a page blob of 1 MiB and put one page into it"},
	{Name: "put-1k-blob", Op: PutBlob, Data: New, More: true,
		About: "Put Blob of a block blob of 1 KiB, each under a new name, data never seen before"},
	{Name: "get-1k-blob", Op: GetWhole, Data: Seen, More: true, Random: true,
		About: "Get Blob of one of thousands of block blobs of 1 KiB"},
	{Name: "put-block-4m", Op: PutBlocks, Data: New, More: true,
		About: "a new block blob of 16 MiB: Put Block 4 MiB, four times, then Put Block List; data never seen before"},
	{Name: "get-block-4m", Op: GetBlocks, Data: Seen, More: true, Bytes: requestMax,
		About: "Get Blob 4 MiB, one after the other, of a block blob of blocks of 4 MiB"},
	{Name: "append-4k", Op: Append, Data: New, More: true,
		About: "Append Block 4 KiB to an append blob of each connection's own"},
}

// Workloads returns all workloads, in the order of the report.
func Workloads() []Workload { return append([]Workload(nil), workloads[:]...) }

// DefaultWorkloads returns those that a run does when nobody chooses, in the order of the report.
func DefaultWorkloads() []Workload {
	var list []Workload
	for _, w := range workloads {
		if !w.More {
			list = append(list, w)
		}
	}
	return list
}
