package bench

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// comparison compares pieces of what was restored with a file. It is safe for concurrent use.
type comparison struct {
	f        io.ReaderAt
	buffers  sync.Pool // of *[]byte
	compared atomic.Int64
}

// compare returns an error if the file does not hold p at off.
func (c *comparison) compare(off int64, p []byte) error {
	buf, _ := c.buffers.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	defer c.buffers.Put(buf)
	if cap(*buf) < len(p) {
		*buf = make([]byte, len(p))
	}
	want := (*buf)[:len(p)]
	if n, err := c.f.ReadAt(want, off); n < len(want) {
		return fmt.Errorf("bytes [%d, %d) were restored, but the image ends: %w", off, off+int64(len(p)), err)
	}
	if !bytes.Equal(want, p) {
		return fmt.Errorf("bytes [%d, %d) are not what was stored", off, off+int64(len(p)))
	}
	c.compared.Add(int64(len(p)))
	return nil
}

// end returns an error if not exactly n bytes were compared.
func (c *comparison) end(n int64) error {
	if got := c.compared.Load(); got != n {
		return fmt.Errorf("%d bytes were restored of %d", got, n)
	}
	return nil
}
