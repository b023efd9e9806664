package blobstore

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"pagevault/blobstore/immutable"
	"pagevault/blobstore/lease"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/sas"
	"pagevault/pagestore"
)

func exampleBlobRow() blobRow {
	return blobRow{
		typ:      PageBlob,
		volume:   259,
		size:     1 << 30,
		sequence: 7,
		etag:     ticksAt(goldenTime),
		created:  ticksAt(goldenTime.Add(-time.Hour)),
		props:    appendProps(nil, &HTTPHeaders{ContentType: "a/b"}, nil),
	}
}

func exampleBlobRows() map[string]blobRow {
	plain := exampleBlobRow()
	leased := plain
	leased.lease = lease.State{Phase: lease.PhaseHeld, ID: "01234567-89ab-cdef-0123-456789abcdef", Seconds: 15, Until: goldenTime}
	infinite := plain
	infinite.lease = lease.State{Phase: lease.PhaseHeld, ID: "a", Seconds: lease.Infinite}
	breaking := plain
	breaking.lease = lease.State{Phase: lease.PhaseBreaking, ID: "a", Seconds: lease.Infinite, Until: goldenTime}
	snapped := plain
	snapped.snaps = snapshotCount{frozenCount: frozenCount{all: 300}, volume: 2, last: snapshotID(ticksAt(goldenTime))}
	snapshot := plain
	snapshot.gen = 5
	tagged := plain
	tagged.tags = appendTags(nil, []header.Pair{{Name: "z", Value: ""}, {Name: "a", Value: "1"}})
	copied := plain
	copied.copy = (&CopyInfo{ID: guidA, Source: "http://a/b", Bytes: 1 << 30, Completed: goldenTime}).append(nil)
	pending := copied
	pending.state = (&copyState{status: CopyPending, copied: 4096}).append(nil)
	failed := copied
	failed.state = (&copyState{status: CopyFailed, copied: 512, description: "404"}).append(nil)
	incremental := copied
	incremental.state = (&copyState{copied: 1 << 30, incremental: &incrementalState{source: "a/c/b", volume: 260,
		last: snapshotID(ticksAt(goldenTime)), wanted: snapshotID(ticksAt(goldenTime)), made: snapshotID(ticksAt(goldenTime))}}).append(nil)
	elsewhere := copied
	elsewhere.state = (&copyState{status: CopyFailed, copied: 512, description: "404", incremental: &incrementalState{source: "//a/c/b",
		volume: pagestore.VolumeID(goldenTime.Unix()), wanted: snapshotID(ticksAt(goldenTime)), unsure: true}}).append(nil)
	both := copied
	both.gen, both.tags = 5, tagged.tags
	locked := plain
	locked.locks = immutable.State{Policy: immutable.Policy{Mode: immutable.Locked, Until: goldenTime.Truncate(time.Second).Add(time.Hour)}, Hold: true}
	held := plain
	held.locks.Hold = true
	tiered := plain
	tiered.tier, tiered.tiered = 10, ticksAt(goldenTime)
	marked := both
	marked.locks, marked.tier, marked.tiered = locked.locks, 80, ticksAt(goldenTime)
	marked.locks.Policy.Mode = immutable.Unlocked
	deleted := plain
	deleted.gone = deletion{ticksAt(goldenTime), ticksAt(goldenTime.Add(7 * day))}
	deletedSnapshot := deleted
	deletedSnapshot.gen = 5
	deletedSnapshots := snapped
	deletedSnapshots.snaps.gone, deletedSnapshots.snaps.latest = 3, deleted.gone.until
	deletedAll := deletedSnapshots
	deletedAll.gone = deleted.gone
	current := snapped
	current.version, current.versions = snapshotID(ticksAt(goldenTime)), frozenCount{all: 200}
	version := snapshot
	version.version = snapshotID(ticksAt(goldenTime))
	deletedVersion := version
	deletedVersion.gone, deletedVersion.tags = deleted.gone, tagged.tags
	vacant := blobRow{typ: PageBlob, vacant: true, etag: plain.etag, created: plain.created, snaps: snapped.snaps, props: plain.props}
	vacant.snaps.volume, vacant.versions = 0, frozenCount{all: 200, gone: 3, latest: deleted.gone.until}
	deletedWith := deletedAll
	deletedWith.versions = vacant.versions
	put := plain
	put.typ, put.sequence, put.size, put.blocks = BlockBlob, 0, 1000, blockState{next: 1}
	blocks := put
	blocks.blocks = blockState{count: 2, list: 40, next: 300, epoch: 1}
	staged := blocks
	staged.blocks.staged = stagedBlocks{n: 3, idLen: 8, touched: ticksAt(goldenTime), changes: 4}
	uncommitted := staged
	uncommitted.size, uncommitted.vacant, uncommitted.blocks.count, uncommitted.blocks.list = 0, true, 0, 0
	appended := put
	appended.typ, appended.blocks = AppendBlob, blockState{count: 300}
	sealed := appended
	sealed.blocks.sealed = true
	promised := pending
	promised.locks = locked.locks
	full := leased
	full.snaps = snapped.snaps
	full.size, full.sequence = math.MaxInt64, math.MaxInt64
	full.props = appendProps(nil, &HTTPHeaders{
		ContentType: "t", ContentEncoding: "e", ContentLanguage: "l", ContentDisposition: "d", CacheControl: "c",
		ContentMD5: []byte("0123456789abcdef"),
	}, []header.Pair{{Name: "Name", Value: "Value"}, {Name: "empty"}})
	return map[string]blobRow{"plain": plain, "leased": leased, "infinite lease": infinite, "breaking lease": breaking,
		"with snapshots": snapped, "snapshot": snapshot, "tagged": tagged, "copied": copied, "copy pending": pending, "copy failed": failed,
		"copied incrementally": incremental, "copied from elsewhere": elsewhere, "snapshot, all three": both, "everything": full, "locked and held": locked, "held": held,
		"with a tier": tiered, "snapshot, all four": marked, "copy pending, locked": promised,
		"deleted": deleted, "snapshot, deleted": deletedSnapshot, "with deleted snapshots": deletedSnapshots, "deleted, with snapshots": deletedAll,
		"current version": current, "previous version": version, "previous version, deleted": deletedVersion, "versions only": vacant,
		"deleted, with versions": deletedWith,
		"of blocks, put at once": put, "of blocks": blocks, "of blocks, others wait": staged, "blocks that wait": uncommitted,
		"appended to": appended, "appended to, sealed": sealed}
}

func exampleContainerRows() map[string]containerRow {
	plain := containerRow{id: 300, etag: ticksAt(goldenTime), created: ticksAt(goldenTime), meta: appendMetadata(nil, nil)}
	full := plain
	full.lease = lease.State{Phase: lease.PhaseHeld, ID: "a", Seconds: lease.Infinite}
	full.meta = appendMetadata(nil, []header.Pair{{Name: "k", Value: "v"}})
	public := plain
	public.public, public.policies = PublicBlobs, []byte{}
	shared := full
	shared.public = PublicContainer
	shared.policies = appendPolicies(nil, []sas.Policy{{ID: "p", Expiry: "2030-01-01T00:00:00.0000000Z", Permissions: "r"}, {ID: "q"}})
	worm := shared
	worm.immutable = true
	return map[string]containerRow{"plain": plain, "everything": full, "public": public, "shared": shared, "shared, immutable": worm}
}

func TestRowsGolden(t *testing.T) {
	var b strings.Builder
	blobs, containers := exampleBlobRows(), exampleContainerRows()
	for _, name := range []string{"plain", "everything", "public", "shared", "shared, immutable"} {
		row := containers[name]
		fmt.Fprintf(&b, "container, %-20s %x\n", name, row.append(nil))
	}
	for _, name := range []string{"plain", "leased", "infinite lease", "breaking lease", "with snapshots", "snapshot", "copied", "everything", "tagged", "snapshot, all three",
		"deleted", "snapshot, deleted", "with deleted snapshots", "deleted, with snapshots",
		"locked and held", "held", "with a tier", "snapshot, all four",
		"copy pending", "copy failed", "copied incrementally", "copied from elsewhere", "copy pending, locked",
		"current version", "previous version", "previous version, deleted", "versions only", "deleted, with versions",
		"of blocks, put at once", "of blocks", "of blocks, others wait", "blocks that wait", "appended to", "appended to, sealed"} {
		row := blobs[name]
		fmt.Fprintf(&b, "blob, %-25s %x\n", name, row.append(nil))
	}
	fmt.Fprintf(&b, "tomb of logs-1                  %x\n", appendTombRow(nil, "logs-1"))
	fmt.Fprintf(&b, "number 300                      %x\n", appendNumberRow(nil, 300))
	fmt.Fprintf(&b, "copy of generation 5 of 259     %x\n", (&copyRow{259, 5}).append(nil))
	fmt.Fprintf(&b, "pending copy in logs-1          %x\n", (&pendingJob{id: guidA, ref: BlobRef{Container: "logs-1"}}).row())
	fmt.Fprintf(&b, "totals                          %x\n", appendTotalsRow(nil, &Totals{1, 2, 300, 1 << 30}))
	container := containers["plain"]
	fmt.Fprintf(&b, "removed container               %x\n", (&removedRow{blobs["deleted"].gone, container}).append(nil))
	fmt.Fprintf(&b, "tag in logs-1                   %x\n", appendTagRow(nil, "logs-1"))
	fmt.Fprintf(&b, "block that waits                %x\n", (&stagedRow{slot: 300, size: 1000}).append(nil))
	fmt.Fprintf(&b, "sweep of a/b in container 1     %x\n", (&sweepRow{1, "a/b"}).append(nil))
	fmt.Fprintf(&b, "list of two blocks              %x\n", appendBlockList(nil, exampleExtents(), [][]byte{[]byte("aaa"), []byte("bbb")}))
	golden(t, "rows.golden", b.String())
}

func exampleExtents() []extent {
	return []extent{{start: 0, slot: 300, size: 1000}, {start: 1000, slot: 1<<40 + 1, size: BlockMax}}
}

// TestBlockListDamaged: a list that says something else than a list can is damaged.
func TestBlockListDamaged(t *testing.T) {
	list := appendBlockList(nil, exampleExtents(), [][]byte{[]byte("aaa"), []byte("bbb")})
	extents, ids, err := decodeBlockList(list, 2)
	if err != nil || !reflect.DeepEqual(extents, exampleExtents()) || string(ids[1]) != "bbb" {
		t.Fatalf("%+v %q, %v", extents, ids, err)
	}
	spoil := func(what string, p []byte, count int) {
		t.Helper()
		if _, _, err := decodeBlockList(p, count); !errors.Is(err, pagestore.ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for n := range list {
		spoil(fmt.Sprintf("%d bytes", n), list[:n], 2)
	}
	spoil("a byte too many", append(list[:len(list):len(list)], 0), 2)
	spoil("more blocks", list, 3)
	spoil("fewer blocks", list, 1)
	for i := range extentBytes * 2 {
		if i >= 6 && i < 12 || i >= 22 && i < 28 || i >= 28 { // any place will do, and so will any length of the last
			continue
		}
		p := append([]byte(nil), list...)
		p[i] ^= 0x40
		spoil(fmt.Sprintf("byte %d", i), p, 2)
	}
}

func TestRowsRoundTrip(t *testing.T) {
	for name, want := range exampleBlobRows() {
		got, err := decodeBlobRow(want.append(nil))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, err, want)
		}
	}
	for name, want := range exampleContainerRows() {
		got, err := decodeContainerRow(want.append(nil))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, err, want)
		}
	}
	for _, marks := range []string{"", "00", "08", "01", "0101" + "15dfc0108a77de", "0103" + "15dfc0108a77de08", "0101" + "15dfc0108a77de0800",
		"0101" + "0000000000000000", "0100" + "15dfc0108a77de08", "04" + "05" + "15dfc0108a77de08", "04" + "0a" + "0000000000000000"} {
		p, err := hex.DecodeString(marks)
		ok(t, err)
		if r := (blobRow{}); r.decodeMarks(p) == nil {
			t.Errorf("marks %s: read as %+v %v", marks, r.locks, r.tier)
		}
	}
	h := HTTPHeaders{ContentType: "t", CacheControl: "c", ContentMD5: []byte("m")}
	meta := []header.Pair{{Name: "B", Value: ""}, {Name: "a", Value: "1"}}
	gotH, gotMeta, err := decodeProps(appendProps(nil, &h, meta))
	if err != nil || !reflect.DeepEqual(gotH, h) || !reflect.DeepEqual(gotMeta, meta) {
		t.Errorf("got %+v %+v %v", gotH, gotMeta, err)
	}
}

// TestRowsCutShort: a row without its end is damaged, wherever it is cut before its opaque tail.
func TestRowsCutShort(t *testing.T) {
	check := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, pagestore.ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", what, err)
		}
	}
	for name, row := range exampleBlobRows() {
		props := len(row.props)
		p := row.append(nil)
		for n := range len(p) - props {
			_, err := decodeBlobRow(p[:n])
			check(fmt.Sprintf("blob row, %s, %d bytes", name, n), err)
		}
		for n := range props {
			_, _, err := decodeProps(row.props[:n])
			check(fmt.Sprintf("properties, %s, %d bytes", name, n), err)
		}
		_, _, err := decodeProps(append(row.props[:props:props], 0))
		check("properties with a byte too many", err)
	}
	for name, row := range exampleContainerRows() {
		p := row.append(nil)
		for n := range len(p) - len(row.meta) {
			_, err := decodeContainerRow(p[:n])
			check(fmt.Sprintf("container row, %s, %d bytes", name, n), err)
		}
	}
	for n := range 3 {
		_, err := decodeNumberRow(appendNumberRow(nil, 300)[:n])
		check("number row", err)
	}
}

// FuzzRows: any bytes are refused, or read as a row that is the same after it was written and read again.
func FuzzRows(f *testing.F) {
	for _, row := range exampleBlobRows() {
		f.Add(row.append(nil))
	}
	for _, row := range exampleContainerRows() {
		f.Add(row.append(nil))
	}
	gone := exampleBlobRows()["deleted"].gone
	f.Add((&removedRow{gone, exampleContainerRows()["shared"]}).append(nil))
	f.Add(appendNumberRow(nil, 300))
	f.Add([]byte{rowVersion})
	f.Fuzz(func(t *testing.T, p []byte) {
		if err := checkVersioningRow(p); (err == nil) != (len(p) == 1 && p[0] == rowVersion) {
			t.Errorf("versioning: %x, %v", p, err)
		}
		if row, err := decodeBlobRow(p); err == nil {
			again, err := decodeBlobRow(row.append(nil))
			if err != nil || !reflect.DeepEqual(again, row) {
				t.Errorf("blob: %+v, then %+v, %v", row, again, err)
			}
			if h, meta, err := decodeProps(row.props); err == nil {
				h2, meta2, err := decodeProps(appendProps(nil, &h, meta))
				if err != nil || !reflect.DeepEqual(h2, h) || !reflect.DeepEqual(meta2, meta) {
					t.Errorf("properties: %+v %+v, then %+v %+v, %v", h, meta, h2, meta2, err)
				}
			}
		} else if !errors.Is(err, pagestore.ErrCorrupt) {
			t.Errorf("blob: %v", err)
		}
		if row, err := decodeContainerRow(p); err == nil {
			again, err := decodeContainerRow(row.append(nil))
			if err != nil || !reflect.DeepEqual(again, row) {
				t.Errorf("container: %+v, then %+v, %v", row, again, err)
			}
			decodeMetadata(row.meta)
			if policies, err := decodePolicies(row.policies); err == nil && string(appendPolicies(nil, policies)) != string(row.policies) {
				t.Errorf("policies: %x, then %+v", row.policies, policies)
			}
		}
		if row, err := decodeRemovedRow(p); err == nil {
			again, err := decodeRemovedRow(row.append(nil))
			if err != nil || !reflect.DeepEqual(again, row) {
				t.Errorf("removed container: %+v, then %+v, %v", row, again, err)
			}
		}
		decodeNumberRow(p)
	})
}
