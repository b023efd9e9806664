package pagestore

import (
	"sync"

	framing "pagevault/pagestore/frame"
	"pagevault/pagestore/pagemap"
)

// frameCache keeps the contents of compressed frames of which a part was read: who reads 4 KiB of one often reads the
// next 4 KiB soon, and would expand it again. The content of a frame never changes; blocks may vanish from it, and those
// that are kept here stay right.
//
// It is cut into shards by frame, each with a lock, so that readers do not wait for each other's copying. The zero value
// is an empty cache. It is safe for concurrent use.
type frameCache struct {
	shards [cacheShards]cacheShard
}

const (
	cacheShards = 16
	shardFrames = 16       // × 16 shards × 64 KiB = 16 MiB: small beside the index's cache, 256 readers' current places
	minCached   = 16 << 10 // bytes of content: less is expanded again in the time it takes to look it up and copy it
)

// cacheShard is a list of frames, the one used last first. It is short enough to be searched.
type cacheShard struct {
	sync.Mutex
	frames []cachedFrame
}

type cachedFrame struct {
	id      pagemap.FrameID
	present uint16 // blocks that content is made of
	content []byte
}

func (c *frameCache) shard(id pagemap.FrameID) *cacheShard { return &c.shards[id%cacheShards] }

// read fills dst with the frame's pages from page off on, if all their blocks are in the cache.
func (c *frameCache) read(dst []byte, id pagemap.FrameID, h *framing.Header, off int) bool {
	sh := c.shard(id)
	sh.Lock()
	defer sh.Unlock()
	for i := range sh.frames {
		f := &sh.frames[i]
		if f.id != id {
			continue
		}
		wanted := blockSpan(off, off+len(dst)/PageSize)
		if f.present&wanted != wanted {
			return false
		}
		kept := framing.Header{Pages: h.Pages, Present: f.present}
		copy(dst, f.content[kept.Offset(off):])
		sh.toFront(i)
		return true
	}
	return false
}

// add takes over content, that of the frame's present blocks, and returns memory of framing.MaxBytes in exchange, or
// nil. The memory of content has that many bytes.
func (c *frameCache) add(id pagemap.FrameID, present uint16, content []byte) (spare []byte) {
	sh := c.shard(id)
	sh.Lock()
	defer sh.Unlock()
	at := len(sh.frames) - 1
	for i := range sh.frames {
		if sh.frames[i].id == id { // another reader was faster, or the frame has had more blocks
			at = i
		}
	}
	if at < 0 || sh.frames[at].id != id && len(sh.frames) < shardFrames {
		sh.frames = append(sh.frames, cachedFrame{})
		at = len(sh.frames) - 1
	}
	f := &sh.frames[at]
	if f.content != nil {
		spare = f.content[:framing.MaxBytes]
	}
	*f = cachedFrame{id, present, content}
	sh.toFront(at)
	return spare
}

// toFront moves frame i to the front.
func (sh *cacheShard) toFront(i int) {
	f := sh.frames[i]
	copy(sh.frames[1:i+1], sh.frames[:i])
	sh.frames[0] = f
}
