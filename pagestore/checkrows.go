package pagestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/internal/digest"
	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// rows checks every row of the index by itself and against the rows it leads to. Counts and totals are left to counts,
// content to frames.
func (c *checker) rows() error {
	c.phase("rows")
	c.sessions = map[uint32]bool{}
	tables := []struct {
		row   byte
		check func() error
	}{
		{rowState, c.countRows}, // read already
		{rowHeader, c.checkHeader},
		{rowSession, c.checkSessions}, // before the frames, which refer to them
		{rowFrame, c.checkFrames},
		{rowSegment, c.checkSegments},
		{rowChunk, c.checkChunks},
		{rowRegion, c.checkRegions},
		{rowBack, c.checkBacks},
		{rowVolume, c.checkVolumes},
		{rowGeneration, c.checkGenerations},
		{rowMap, c.checkMaps},
		{rowScattered, c.checkScattered},
		{rowChange, c.checkChanges},
		{rowPass, c.checkPasses},
		{rowUser, nil}, // for whoever they are of
	}
	var known []byte
	for _, t := range tables {
		known = append(known, t.row)
		if t.check != nil {
			if err := t.check(); err != nil {
				return err
			}
		}
	}
	if err := c.otherRows(known); err != nil {
		return err
	}
	c.checkSummary()
	return nil
}

// checkSummary reads the saved summary of names of a store that nobody has open: in an open one it is about to be replaced.
func (c *checker) checkSummary() {
	if !c.s.readOnly {
		return
	}
	if _, err := loadSummary(&c.s.o, c.s.log.StoreID()); err != nil {
		c.found(Problem{Kind: KindSummaryWrong, Severity: SeverityWarning, Text: fmt.Sprintf("the next start reads the names from the index instead: %v", err)})
	}
}

// table calls check for every row of a kind, and reports the row if that returns an error.
func (c *checker) table(row byte, check func(key, value []byte) error) error {
	return c.each([]byte{row}, func(key, value []byte) error {
		if err := check(key, value); err != nil {
			c.errorf(KindRowDamaged, "row %x: %v", key, err)
		}
		return c.row()
	})
}

func (c *checker) countRows() error {
	return c.table(rowState, func(key, _ []byte) error { return wantKey(key, stateKey) })
}

func wantKey(key, want []byte) error {
	if !bytes.Equal(key, want) {
		return fmt.Errorf("want key %x", want)
	}
	return nil
}

// otherRows reports rows of kinds that do not exist, one problem for each kind.
func (c *checker) otherRows(known []byte) error {
	for row := 0; row <= math.MaxUint8; row++ {
		if slices.Contains(known, byte(row)) {
			continue
		}
		n := 0
		var first []byte
		err := c.each([]byte{byte(row)}, func(key, _ []byte) error {
			if n++; n == 1 {
				first = bytes.Clone(key)
			}
			return c.row()
		})
		if err != nil {
			return err
		}
		if n > 0 {
			c.errorf(KindRowUnknown, "%d rows of kind %q, which this build does not know; the first is %x", n, byte(row), first)
		}
	}
	return nil
}

// checkHeader checks the header against that of the log, if the log still has it.
func (c *checker) checkHeader() error {
	return c.table(rowHeader, func(key, value []byte) error {
		if err := wantKey(key, headerKey); err != nil {
			return err
		}
		_, err := decodeGenesis(value)
		return err
	})
}

func (c *checker) checkSessions() error {
	return c.table(rowSession, func(key, value []byte) error {
		n, err := decodeSessionKey(key)
		if err != nil {
			return err
		}
		if _, err := decodeSessionRow(value); err != nil {
			return err
		}
		c.sessions[n] = true
		if uint64(n) >= c.state.nextSession {
			c.errorf(KindNextID, "session %d is there, and %d would be given out next", n, c.state.nextSession)
		}
		return nil
	})
}

func (c *checker) checkFrames() error {
	var f frameRow
	return c.table(rowFrame, func(key, value []byte) error {
		id, err := decodeFrameKey(key)
		if err != nil {
			return err
		}
		if err := decodeFrameRow(&f, value); err != nil {
			c.found(Problem{Kind: KindRowDamaged, Severity: SeverityError, Frame: id, Text: fmt.Sprintf("its row: %v", err)})
			return nil
		}
		f.id = id
		c.checkFrame(&f)
		return nil
	})
}

// checkFrame checks a row of a frame but for its counts.
func (c *checker) checkFrame(f *frameRow) {
	p := Problem{Severity: SeverityError, Frame: f.id, At: f.at, Length: int64(f.stored)}
	if f.id >= c.state.nextFrame {
		p.Kind, p.Text = KindNextID, fmt.Sprintf("frame %d would be given out next", c.state.nextFrame)
		c.found(p)
	}
	if f.session != 0 && !c.sessions[f.session] {
		p.Kind, p.Text = KindSessionMissing, fmt.Sprintf("it was sealed in session %d, of which there is no row", f.session)
		c.found(p)
	}
	if s, ok := c.segments[f.at.Segment]; !ok {
		p.Kind, p.Text = KindFramePosition, "its row names a segment that the log does not have"
		c.found(p)
	} else if int64(f.at.Offset)+int64(f.stored) > s.Bytes {
		p.Kind, p.Text = KindFramePosition, fmt.Sprintf("its row names a place behind the end of the segment, which has %d bytes", s.Bytes)
		c.found(p)
	}
}

// checkSegments checks that what is listed can be there. Their totals are left to counts.
func (c *checker) checkSegments() error {
	return c.table(rowSegment, func(key, value []byte) error {
		id, err := decodeSegmentKey(key)
		if err != nil {
			return err
		}
		if _, err := decodeSegmentRow(value); err != nil {
			return err
		}
		if _, ok := c.segments[id]; !ok {
			c.found(Problem{Kind: KindSegmentTotals, Severity: SeverityError, At: replication.Position{Segment: id},
				Text: "frames are said to lie in a segment that the log does not have"})
		}
		return nil
	})
}

// holds reports whether the index has the blocks that pages [from, to) of a frame lie in, and why not.
func (c *checker) holds(f *frameRow, id pagemap.FrameID, from, to int) (why string) {
	var key [1 + 8]byte
	c.get(appendFrameKey(key[:0], id), func(value []byte) {
		switch {
		case value == nil:
			why = "a frame that is not there"
		case decodeFrameRow(f, value) != nil: // reported in its turn
		case to > int(f.pages):
			why = fmt.Sprintf("pages [%d,%d) of a frame of %d", from, to, f.pages)
		case blockSpan(from, to)&^f.present != 0:
			why = fmt.Sprintf("pages [%d,%d) of a frame that has lost them", from, to)
		}
	})
	return why
}

// checkChunks checks that each name of a chunk leads to pages that are there.
func (c *checker) checkChunks() error {
	var f frameRow
	return c.table(rowChunk, func(key, value []byte) error {
		name, err := decodeNameKey(key)
		if err != nil {
			return err
		}
		at, err := decodeChunkRow(value)
		if err != nil {
			return err
		}
		c.summary.Chunks++
		if why := c.holds(&f, at.frame, int(at.off), int(at.off)+pagemap.ChunkPages); why != "" {
			c.found(Problem{Kind: KindChunkDangling, Severity: SeverityError, Frame: at.frame, Text: fmt.Sprintf("the name %x leads to %s", name[:], why)})
		}
		return nil
	})
}

// regionFirst returns the frame of the first run that is not zeros.
func regionFirst(runs pagemap.Entry) pagemap.FrameID {
	for _, r := range runs {
		if r.Frame != pagemap.ZeroFrame {
			return r.Frame
		}
	}
	return pagemap.ZeroFrame
}

// checkRegions checks that each name of a region is listed with the frame it begins in. What its runs lead to may have
// gone: whoever uses the name looks.
func (c *checker) checkRegions() error {
	var runs pagemap.Entry
	return c.table(rowRegion, func(key, value []byte) error {
		name, err := decodeNameKey(key)
		if err != nil {
			return err
		}
		if runs, err = decodeRegionRow(runs[:0], value); err != nil {
			return err
		}
		c.summary.Regions++
		first := regionFirst(runs)
		if first == pagemap.ZeroFrame {
			return errors.New("it has no content")
		}
		c.get(appendBackKey(nil, first, &name), func(value []byte) {
			if value == nil {
				c.found(Problem{Kind: KindRegionUnlinked, Severity: SeverityError, Frame: first,
					Text: fmt.Sprintf("the region named %x begins in it and is not listed with it", name[:])})
			}
		})
		return nil
	})
}

// decodeRegionRow decodes the runs of a named region, which cover all of its pages.
func decodeRegionRow(dst pagemap.Entry, value []byte) (pagemap.Entry, error) {
	runs, err := pagemap.DecodeEntry(dst, value)
	if err == nil && runs.Pages().Count() != pagemap.RegionPages {
		err = fmt.Errorf("its runs cover %d pages of %d", runs.Pages().Count(), pagemap.RegionPages)
	}
	return runs, err
}

// checkBacks checks the lists of regions by frame. Those of a frame that is not there are reported with the counts. A
// region that is listed and does not begin there takes a row until the frame goes, and nothing is found through it.
func (c *checker) checkBacks() error {
	var runs pagemap.Entry
	return c.table(rowBack, func(key, value []byte) error {
		id, name, err := decodeBackKey(key)
		if err != nil {
			return err
		}
		if len(value) != 0 {
			return errRowCut
		}
		c.get(appendDigestKey(nil, rowRegion, &name), func(value []byte) {
			why := "no such name"
			if value != nil {
				var bad error
				if runs, bad = decodeRegionRow(runs[:0], value); bad != nil || regionFirst(runs) == id {
					return
				}
				why = fmt.Sprintf("the name begins in frame %d", regionFirst(runs))
			}
			c.found(Problem{Kind: KindRegionUnlinked, Severity: SeverityWarning, Frame: id,
				Text: fmt.Sprintf("it is listed as where the region named %x begins: %s", name[:], why)})
		})
		return nil
	})
}

// volumeOf reports whether the volume whose row an iterator of volumes is at or before is v, moving it on to there.
type volumeWalk struct {
	it    *pebble.Iterator
	ok    bool
	id    VolumeID
	row   volumeRow
	begun bool
}

// seek moves on to the volume and reports whether it is there and its row can be read. Volumes are asked for in order.
func (w *volumeWalk) seek(v VolumeID) bool {
	for !w.begun || w.ok && w.id < v {
		if !w.begun {
			w.ok = w.it.First()
		} else {
			w.ok = w.it.Next()
		}
		w.begun = true
		if !w.ok {
			return false
		}
		id, err := decodeVolumeKey(w.it.Key())
		if err == nil {
			var value []byte
			if value, err = w.it.ValueAndErr(); err == nil {
				err = decodeVolumeRow(&w.row, value)
			}
		}
		w.id = id
		if err != nil {
			w.row = volumeRow{gen: math.MaxUint32} // reported in its turn: anything may be true of it
		}
	}
	return w.ok && w.id == v
}

// ofVolumes is table for rows of volumes, with the volume each is of.
func (c *checker) ofVolumes(row byte, check func(w *volumeWalk, key, value []byte) error) error {
	it, err := c.v.snap.NewIter(&pebble.IterOptions{LowerBound: []byte{rowVolume}, UpperBound: []byte{rowVolume + 1}})
	if err != nil {
		return err
	}
	w := &volumeWalk{it: it}
	var orphan VolumeID // reported last
	err = c.table(row, func(key, value []byte) error {
		if len(key) < 1+8 {
			return errRowCut
		}
		v := decodeRowVolume(key)
		if !w.seek(v) {
			if orphan != v {
				orphan = v
				c.found(Problem{Kind: KindVolumeRows, Severity: SeverityError, Volume: v, Text: fmt.Sprintf("there is no such volume, and rows of kind %q are of it", row)})
			}
			return nil
		}
		return check(w, key, value)
	})
	return errors.Join(err, it.Close())
}

func (c *checker) checkVolumes() error {
	var row volumeRow
	return c.table(rowVolume, func(key, value []byte) error {
		id, err := decodeVolumeKey(key)
		if err != nil {
			return err
		}
		if err := decodeVolumeRow(&row, value); err != nil {
			return err
		}
		c.summary.Volumes++
		if id >= c.state.nextVolume {
			c.found(Problem{Kind: KindNextID, Severity: SeverityError, Volume: id, Text: fmt.Sprintf("volume %d would be given out next", c.state.nextVolume)})
		}
		if row.dropped {
			c.get(appendPassKey(nil, id), func(value []byte) {
				if value == nil {
					c.found(Problem{Kind: KindVolumeRows, Severity: SeverityError, Volume: id, Text: "it was dropped, and its space is not due to be freed"})
				}
			})
			return nil
		}
		newest := Gen(0)
		if err := c.v.Frozen(id, func(g Gen) bool { newest = g; return true }); err != nil {
			return err
		}
		if newest != row.frozen {
			c.found(Problem{Kind: KindGenerationRows, Severity: SeverityError, Volume: id,
				Text: fmt.Sprintf("its newest frozen generation is %d, its row says %d", newest, row.frozen)})
		}
		return nil
	})
}

func (c *checker) checkGenerations() error {
	return c.ofVolumes(rowGeneration, func(w *volumeWalk, key, value []byte) error {
		_, g, err := decodeGenerationKey(key)
		if err != nil || len(value) != 0 {
			return errors.Join(err, errRowCut)
		}
		if g == GenHead || g >= w.row.gen {
			c.found(Problem{Kind: KindGenerationRows, Severity: SeverityError, Volume: w.id, Text: fmt.Sprintf("generation %d is frozen, and %d the current one", g, w.row.gen)})
		}
		return nil
	})
}

func (c *checker) checkMaps() error {
	var entry pagemap.Entry
	return c.ofVolumes(rowMap, func(w *volumeWalk, key, value []byte) error {
		region, g, err := decodeMapKey(key)
		if err != nil {
			return err
		}
		pages := regionPages(region)
		if entry, err = pagemap.DecodeEntry(entry[:0], value); err != nil {
			c.found(Problem{Kind: KindRowDamaged, Severity: SeverityError, Volume: w.id, From: g, Pages: pages, Text: fmt.Sprintf("page map of generation %d: %v", g, err)})
			return nil
		}
		if g == GenHead || g > w.row.gen || g > w.row.written {
			c.found(Problem{Kind: KindGenerationRows, Severity: SeverityError, Volume: w.id, From: g, Pages: pages,
				Text: fmt.Sprintf("a page map of generation %d, and the current one is %d, the last written %d", g, w.row.gen, w.row.written)})
		}
		return nil
	})
}

// regionPages returns the pages of a region.
func regionPages(region uint64) Range {
	return Range{PageNo(region * pagemap.RegionPages), PageNo((region + 1) * pagemap.RegionPages)}
}

func (c *checker) checkScattered() error {
	return c.ofVolumes(rowScattered, func(_ *volumeWalk, key, value []byte) error {
		if _, _, err := decodeScatteredKey(key); err != nil || len(value) != 0 {
			return errors.Join(err, errRowCut)
		}
		return nil
	})
}

func (c *checker) checkChanges() error {
	return c.ofVolumes(rowChange, func(w *volumeWalk, key, value []byte) error {
		g, region, err := decodeChangeKey(key)
		if err != nil {
			return err
		}
		if len(value) != pagemap.RegionPages/8 {
			return errRowCut
		}
		if g == GenHead || g > w.row.gen {
			c.found(Problem{Kind: KindGenerationRows, Severity: SeverityError, Volume: w.id, From: g, Pages: regionPages(region),
				Text: fmt.Sprintf("a change of generation %d, and the current one is %d", g, w.row.gen)})
		}
		return nil
	})
}

func (c *checker) checkPasses() error {
	return c.ofVolumes(rowPass, func(_ *volumeWalk, key, value []byte) error {
		if _, err := decodePassKey(key); err != nil {
			return err
		}
		_, err := decodePassRow(value)
		return err
	})
}

func decodeNameKey(k []byte) (name digest.Digest, err error) {
	if len(k) != 1+digest.Size {
		return name, errRowCut
	}
	copy(name[:], k[1:])
	return name, nil
}

func decodeVolumeKey(k []byte) (VolumeID, error) {
	if len(k) != 1+8 || k[0] != rowVolume {
		return 0, fmt.Errorf("volume key %x", k)
	}
	return decodeRowVolume(k), nil
}

func decodeSessionKey(k []byte) (uint32, error) {
	if len(k) != 1+4 || k[0] != rowSession {
		return 0, fmt.Errorf("session key %x", k)
	}
	return binary.BigEndian.Uint32(k[1:]), nil
}
