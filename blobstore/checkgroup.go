package blobstore

import (
	"slices"

	"pagevault/blobstore/immutable"
	"pagevault/pagestore"
)

// Blobs are checked by group, a blob with its snapshots and previous versions, since they share volumes and the blob counts
// the others. What is known of a group is forgotten when the next one begins.

// blobGroup is a blob with its snapshots and previous versions.
type blobGroup struct {
	at      blobName
	any     bool // rows were read
	base    *blobRow
	volumes []groupVolume
	newest  snapshotID

	snaps, versions frozenCount // of the rows that were read

	broken bool // a row of it is damaged, so that counts mean nothing
}

// groupVolume is a volume that a group uses.
type groupVolume struct {
	id     pagestore.VolumeID
	head   bool            // the blob itself does
	gens   []pagestore.Gen // of snapshots and versions
	sizes  []int64         // of the same
	blocks bool            // it is one of a block or append blob
}

func (g *blobGroup) volume(id pagestore.VolumeID) *groupVolume {
	for i := range g.volumes {
		if g.volumes[i].id == id {
			return &g.volumes[i]
		}
	}
	g.volumes = append(g.volumes, groupVolume{id: id})
	return &g.volumes[len(g.volumes)-1]
}

// checkBlob takes the row of a blob or a snapshot.
func (c *checker) checkBlob(key, value []byte) {
	at, err := parseBlobName(key)
	if err != nil {
		c.damagedRow(key, err)
		return
	}
	g := &c.group
	if g.any && (g.at.container != at.container || g.at.name != at.name) {
		c.endGroup()
	}
	g.any, g.at.container, g.at.name = true, at.container, at.name
	row, err := decodeBlobRow(value)
	if err == nil {
		_, _, err = decodeProps(row.props)
	}
	if err == nil {
		_, err = row.copyInfo()
	}
	if err == nil && (row.gen == pagestore.GenHead) != (at.snapshot == 0) {
		err = badRow("blob (a generation that does not go with the key)", value)
	}
	if err == nil && at.snapshot != 0 && row.version != 0 && row.version != at.snapshot {
		err = badRow("blob (a version id that does not go with the key)", value)
	}
	if err == nil && (row.typ == PageBlob && row.size%PageSize != 0 || row.volume == 0 && !row.vacant) {
		err = badRow("blob (size or volume)", value)
	}
	if err != nil {
		g.broken = true
		c.damagedRow(key, err)
		return
	}
	at = at.of(&row)
	if at.snapshot == 0 && row.gone.at == 0 {
		err = c.checkTags(&at, row.tags)
	} else {
		_, err = decodeTags(row.tags)
	}
	if err == nil && row.gone.at != 0 {
		err = c.checkGone(&at, key, row.gone)
	}
	if err != nil {
		c.damagedRow(key, err)
	}
	row.props, row.tags, row.copy, row.state = nil, nil, nil, nil
	if at.snapshot == 0 && row.staging() {
		c.checkStaging(&at, &row)
	}
	c.checkBlockList(&at, &row)
	if state, there := c.containers[at.container]; there && !state.immutable && row.locks != (immutable.State{}) {
		c.report(c.blobProblem(pagestore.SeverityError, KindProtectionUnnoted, &at, 0,
			"it is protected, and the row of its container does not say that it has immutable storage"))
	}
	if row.vacant {
		g.base = &row
		if row.volume != 0 {
			v := g.volume(row.volume)
			v.head, v.blocks = true, true
		}
		return
	}
	v := g.volume(row.volume)
	v.blocks = row.typ != PageBlob
	if at.snapshot != 0 {
		c.summary.Snapshots++
		c.totals.Snapshots++
		g.newest = at.snapshot
		f := &g.snaps
		if row.version != 0 {
			f = &g.versions
		}
		f.all++
		if row.gone.at != 0 {
			f.keep(row.gone.until)
		}
		v.gens, v.sizes = append(v.gens, row.gen), append(v.sizes, row.size)
	} else {
		c.summary.Blobs++
		c.totals.Blobs++
		c.totals.ProvisionedBytes += uint64(row.size)
		g.base, v.head = &row, true
	}
}

// checkTags checks that a search finds the blob by each of its tags.
func (c *checker) checkTags(at *blobName, encoded []byte) error {
	tags, err := decodeTags(encoded)
	for _, t := range tags {
		value, ok, err := c.view.Get(appendTagKey(nil, t.Name, t.Value, at.container, at.name))
		if err != nil {
			return err
		}
		if container, err := decodeTagRow(value); !ok || err == nil && container != c.containers[at.container].name {
			c.report(c.blobProblem(pagestore.SeverityError, KindTagMissing, at, 0,
				"a search for its tag %q = %q does not find it", t.Name, t.Value))
		}
	}
	return err
}

// checkTag checks that the blob of a row of a tag is there and has the tag.
func (c *checker) checkTag(key, value []byte) {
	t, err := parseTagKey(key)
	if err == nil {
		_, err = decodeTagRow(value)
	}
	if err != nil {
		c.damagedRow(key, err)
		return
	}
	row, ok, err := c.view.Get(appendBlobKey(nil, t.container, t.name, 0))
	if err == nil && ok {
		blob, e := decodeBlobRow(row)
		tags, e2 := decodeTags(blob.tags)
		if e != nil || e2 != nil {
			return // reported with the blob
		}
		if v, has := tagSet(tags).Get(t.key); has && v == t.value && blob.gone.at == 0 {
			return
		}
	}
	c.report(c.blobProblem(pagestore.SeverityError, KindTagStale, &blobName{container: t.container, name: t.name}, 0,
		"a search for the tag %q = %q finds it, and it does not have that", t.key, t.value))
}

// endGroup checks the group that was read last and forgets it.
func (c *checker) endGroup() {
	g := &c.group
	defer func() { c.group = blobGroup{} }()
	if !g.any {
		return
	}
	state, there := c.containers[g.at.container]
	if !there {
		c.report(c.blobProblem(pagestore.SeverityError, KindContainerMissing, &g.at, 0,
			"its container, of id %d, is neither there nor being removed", uint64(g.at.container)))
	}
	for i := range g.volumes {
		c.checkVolume(g, &g.volumes[i], state.tomb)
	}
	if !state.tomb && !g.broken {
		c.checkCounts(g)
	}
}

// checkCounts compares what the blob says of its snapshots with what there is.
func (c *checker) checkCounts(g *blobGroup) {
	if g.base == nil {
		c.report(c.blobProblem(pagestore.SeverityError, KindBlobMissing, &g.at, 0, "%d snapshots of a blob that does not exist", g.snaps.all+g.versions.all))
		return
	}
	own := uint64(len(g.volume(g.base.volume).gens))
	newest := max(g.newest, g.base.version)
	if s := &g.base.snaps; s.all != g.snaps.all || s.volume != own || s.last < newest {
		c.report(c.blobProblem(pagestore.SeverityError, KindSnapshotCount, &g.at, g.base.volume,
			"it counts %d snapshots, %d of its present volume, the last %q; there are %d, %d, the last %q",
			s.all, s.volume, s.last, g.snaps.all, own, newest))
	}
	if v := g.base.versions.all; v != g.versions.all || g.base.vacant && v == 0 && g.snaps.all == 0 && g.base.volume == 0 {
		c.report(c.blobProblem(pagestore.SeverityError, KindSnapshotCount, &g.at, g.base.volume,
			"it counts %d previous versions; there are %d", v, g.versions.all))
	}
	c.checkGoneCounts(g)
}

// checkVolume checks a volume of a group: that it is there, that nobody else has it, and which generations it has.
func (c *checker) checkVolume(g *blobGroup, v *groupVolume, tomb bool) {
	if !c.claimed.add(v.id) {
		c.report(c.blobProblem(pagestore.SeverityError, KindVolumeShared, &g.at, v.id, "volume %d is that of another blob too", v.id))
	}
	if !v.head {
		c.counted.add(v.id)
		if !tomb {
			c.compareCounter(g, v)
		}
	}
	if c.view.Ranges(v.id, pagestore.GenHead, pagestore.Range{}, nil) != nil {
		// Of a deleted container, what only snapshots use goes with the first of them; see bury.
		if !tomb || v.head {
			c.report(c.blobProblem(pagestore.SeverityError, KindVolumeMissing, &g.at, v.id, "volume %d, which holds its pages, is not there", v.id))
		}
		return
	}
	c.compareGenerations(g, v, tomb)
	if v.blocks {
		return // what lies where in it is said by lists
	}
	if v.head {
		c.checkSize(g, v.id, pagestore.GenHead, g.base.size)
	}
	for i, gen := range v.gens {
		c.checkSize(g, v.id, gen, v.sizes[i])
	}
}

// compareCounter compares the row that counts the snapshots of a volume with these.
func (c *checker) compareCounter(g *blobGroup, v *groupVolume) {
	value, ok, err := c.view.Get(appendVolumeKey(nil, v.id))
	if err == nil && ok {
		var n uint64
		if n, err = decodeNumberRow(value); err == nil && n == uint64(len(v.gens)) || err != nil {
			return // a damaged row is reported in its turn
		}
		c.report(c.blobProblem(pagestore.SeverityError, KindSnapshotCount, &g.at, v.id,
			"volume %d has %d snapshots, its row counts %d", v.id, len(v.gens), n))
		return
	}
	c.report(c.blobProblem(pagestore.SeverityError, KindSnapshotCount, &g.at, v.id,
		"volume %d has %d snapshots and no row that counts them", v.id, len(v.gens)))
}

// compareGenerations compares the generations that snapshots show with those that the volume keeps.
func (c *checker) compareGenerations(g *blobGroup, v *groupVolume, tomb bool) {
	want := slices.Sorted(slices.Values(v.gens))
	missing := func(gen pagestore.Gen) {
		c.report(c.blobProblem(pagestore.SeverityError, KindGenMissing, &g.at, v.id, "generation %d of volume %d, which a snapshot shows, is not there", gen, v.id))
	}
	err := c.view.Frozen(v.id, func(gen pagestore.Gen) bool {
		for len(want) > 0 && want[0] < gen {
			missing(want[0])
			want = want[1:]
		}
		if len(want) > 0 && want[0] == gen {
			want = want[1:]
		} else if !tomb && !c.held[copyRow{v.id, gen}] {
			c.report(c.blobProblem(pagestore.SeverityWarning, KindGenLeaked, &g.at, v.id, "generation %d of volume %d is kept for no snapshot", gen, v.id))
		}
		return true
	})
	if err != nil {
		return // the store below has reported the row
	}
	for _, gen := range want {
		missing(gen)
	}
}

// checkSize reports valid pages behind the end of a blob: they would show if it grew.
func (c *checker) checkSize(g *blobGroup, v pagestore.VolumeID, gen pagestore.Gen, size int64) {
	first := true
	_ = c.view.Ranges(v, gen, pagestore.Range{Start: pageNo(size), End: pagestore.AllPages.End}, func(r pagestore.Range) bool {
		if first {
			c.report(c.blobProblem(pagestore.SeverityError, KindPagesBeyond, &g.at, v,
				"it ends at byte %d, and its pages from byte %d on are valid", size, int64(r.Start)*PageSize))
		}
		first = false
		return false
	}) // an error is one of the store below, which has reported it
}
