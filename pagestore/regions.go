package pagestore

import "pagevault/pagestore/pagemap"

// firstRegion returns the number of the first region that pages touches and the pages [from, to) of it.
func firstRegion(pages Range) (no uint64, from, to int) {
	no = uint64(pages.Start / pagemap.RegionPages)
	base := PageNo(no * pagemap.RegionPages)
	return no, int(pages.Start - base), int(min(pages.End-base, pagemap.RegionPages))
}

// regionRange returns the numbers [first, end) of the regions that pages touches.
func regionRange(pages Range) (first, end uint64) {
	if pages.Start >= pages.End {
		return 0, 0
	}
	return uint64(pages.Start / pagemap.RegionPages), uint64((pages.End-1)/pagemap.RegionPages) + 1
}

// regionPart returns the pages [from, to) of region no that lie in pages.
func regionPart(pages Range, no uint64) (from, to int) {
	base := PageNo(no * pagemap.RegionPages)
	if pages.Start > base {
		from = int(min(pages.Start-base, pagemap.RegionPages))
	}
	if pages.End > base {
		to = int(min(pages.End-base, pagemap.RegionPages))
	}
	return from, max(from, to)
}
