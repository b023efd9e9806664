package bench

import (
	"fmt"
)

const (
	// listMost is how many names are asked for at once: less than Azure's 5,000, so that an answer fits a buffer.
	listMost = 1000
	// listedPerFolder blobs lie in each folder.
	listedPerFolder = 32
	// smallBytes is the size of the blobs that many-small makes; one page of each is written.
	smallBytes = 1 << 20
)

// listedBlobs returns how many blobs are listed: 1,024 if 256 MiB are stored in advance.
func (e *environment) listedBlobs() int {
	return int(min(max(e.setBytes/(256<<10), listedPerFolder), 1024)) / listedPerFolder * listedPerFolder
}

// prepareList makes the blobs that are listed, once for the target.
func prepareList(s *wireSession, c *conn) error {
	t := s.target
	s.request = (*wireWorker).list
	if t.listed {
		return nil
	}
	for i := range t.env.listedBlobs() {
		path := t.blob(fmt.Sprintf("list/%03d/%02d.vhd", i/listedPerFolder, i%listedPerFolder))
		if err := c.createPageBlob(path, smallBytes); err != nil {
			return err
		}
	}
	t.listed = true
	return nil
}

// list lists everything, in as many answers as it takes, and counts it.
func (w *wireWorker) list() (int, error) {
	want, delimiter := w.target.env.listedBlobs(), ""
	if w.workload.Folders {
		want, delimiter = want/listedPerFolder, "/"
	}
	got, marker := 0, ""
	for first := true; first || marker != ""; first = false {
		l, err := w.conn.listBlobs(w.target.container, w.target.below+"list/", delimiter, marker, listMost, w.readBuffer())
		if err != nil {
			return 0, err
		}
		blobs, folders := l.count()
		got, marker = got+blobs+folders, l.marker
		if got > want || blobs+folders == 0 {
			break
		}
	}
	if got != want {
		return 0, fmt.Errorf("%d names were listed of %d", got, want)
	}
	return 0, nil
}

func prepareSmall(s *wireSession, _ *conn) error {
	s.request = func(w *wireWorker) (int, error) {
		path := fmt.Sprintf("%s/%08d", w.path, w.next.Add(1)-1)
		if err := w.conn.createPageBlob(path, smallBytes); err != nil {
			return 0, err
		}
		return blockMin, w.conn.putPage(path, 0, w.target.env.source.next(w.writeBuffer(), blockMin))
	}
	return nil
}
