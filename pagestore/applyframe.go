package pagestore

import (
	"fmt"
)

func (a *applier) frame(f *frame) error {
	if f.id != a.state.nextFrame {
		return fmt.Errorf("%w: frame %d, want %d", ErrCorrupt, f.id, a.state.nextFrame)
	}
	a.state.nextFrame++
	a.state.Frames++
	a.state.Chunks += uint64(len(f.chunks))
	a.state.StoredBytes += uint64(f.stored)
	a.key = appendFrameKey(a.key[:0], f.id)
	a.f = frameRow{frame: *f, at: a.at}
	a.value = appendFrameRow(a.value[:0], &a.f)
	a.at.Offset += f.stored
	if err := a.batch.Set(a.key, a.value, nil); err != nil {
		return err
	}
	for i := range f.chunks {
		c := &f.chunks[i]
		a.names.add(&c.name)
		a.key = appendDigestKey(a.key[:0], rowChunk, &c.name)
		a.value = appendChunkRow(a.value[:0], chunkRef{f.id, c.off})
		if err := a.batch.Set(a.key, a.value, nil); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) session(o *op) error {
	if uint64(o.session) != a.state.nextSession {
		return fmt.Errorf("%w: session %d, want %d", ErrCorrupt, o.session, a.state.nextSession)
	}
	a.state.nextSession++
	a.key = appendSessionKey(a.key[:0], o.session)
	return a.batch.Set(a.key, o.salt[:], nil)
}
