package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Image is a file that is stored whole, such as the image of a disk.
type Image struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"` // size of the file
	// DataBytes is how much of it lies in aligned 4 KiB that are not all zeros. Set by the first reading.
	DataBytes int64 `json:"dataBytes"`
}

// Name returns the last element of the path.
func (i Image) Name() string { return filepath.Base(i.Path) }

// FindImages returns the regular files that a pattern (of path/filepath) matches, or those named *.img in a directory,
// in the order of their names. None at all is an error, and so is an empty file or one whose size is no whole number of
// pages (512 bytes), which no page blob could hold.
func FindImages(pattern string) ([]Image, error) {
	if info, err := os.Stat(pattern); err == nil && info.IsDir() {
		pattern = filepath.Join(pattern, "*.img")
	}
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("%q is not a pattern of file names: %w", pattern, err)
	}
	slices.Sort(paths)
	var images []Image
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() {
			continue
		}
		if info.Size() == 0 || info.Size()%512 != 0 {
			return nil, fmt.Errorf("%s: %d bytes are not the pages of a disk", p, info.Size())
		}
		images = append(images, Image{Path: p, Bytes: info.Size()})
	}
	if len(images) == 0 {
		return nil, fmt.Errorf("no images match %q", pattern)
	}
	return images, nil
}

// pieces reads an image from front to back and calls fn with every aligned piece of 4 MiB (the last may be shorter) that
// is not all zeros: what clients of page blobs send, one Put Page each. Holes of a sparse file are not read. fn must not
// keep p. It ends with the first error of fn, and with ctx.
func pieces(ctx context.Context, path string, fn func(off int64, p []byte) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() // only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	buf := make([]byte, requestMax)
	for off, size := int64(0), info.Size(); off < size; off += requestMax {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		at, err := nextData(f, off, size)
		if err != nil {
			return err
		}
		if at == size {
			return nil
		}
		off = at / requestMax * requestMax
		p := buf[:min(requestMax, size-off)]
		if _, err := f.ReadAt(p, off); err != nil {
			return err
		}
		if allZero(p) {
			continue
		}
		if err := fn(off, p); err != nil {
			return err
		}
	}
	return nil
}

// zeros is what allZero compares with.
var zeros [64 << 10]byte

// allZero reports whether p holds nothing but zeros.
func allZero(p []byte) bool {
	for len(p) > 0 {
		n := min(len(p), len(zeros))
		if string(p[:n]) != string(zeros[:n]) {
			return false
		}
		p = p[n:]
	}
	return true
}

// dataBytes counts what lies in aligned 4 KiB of p that are not all zeros.
func dataBytes(p []byte) int64 {
	var sum int64
	for chunk := range slices.Chunk(p, 4<<10) {
		if !allZero(chunk) {
			sum += int64(len(chunk))
		}
	}
	return sum
}
