package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const (
	// diskFiles is how many copies a store keeps by default.
	diskFiles = 3
	// Requests up to this size are gathered into one write, as anybody who wants to be fast would.
	gatherMax = 64 << 10
	// reserveStep is how many bytes of a file get their blocks at a time, before they are written. Where every sync has to
	// allocate what was written since the last, three files of one disk wait for each other's journal; on ext4 that costs
	// more than half of the rate, and a larger step gains nothing.
	reserveStep = 32 << 20
	// queueMax bounds the requests that wait for a sync; each connection has one at most.
	queueMax = 1024
)

// Disk is the baseline for durable writes: three files in one directory, each appended to in parallel and then synced
// (fdatasync), their blocks reserved ahead of the writes. All requests that arrive during a sync go together into the
// next one, so with n connections up to n requests share a sync: what a program gets out of this disk for three durable
// copies when it does nothing else, and waits for one sync before it begins the next. It runs inside this process and,
// being there to measure the operating system's files, calls it directly; it answers only workloads that write new data.
type Disk struct {
	dir string // given
	own string // inside dir, made by open
	env *environment
}

// NewDisk returns the baseline for the disk that dir is on. Files are made in a new directory inside dir.
func NewDisk(dir string) *Disk { return &Disk{dir: dir} }

// Info returns the target's name and directory.
func (t *Disk) Info() TargetInfo { return TargetInfo{Name: "raw disk", Where: t.dir, Baseline: true} }

func (t *Disk) usage() (Usage, bool) { return Usage{}, false }

func (t *Disk) open(_ context.Context, env *environment) (err error) {
	t.env = env
	t.own, err = os.MkdirTemp(t.dir, "pagevault-bench-")
	return err
}

func (t *Disk) close(context.Context) error {
	if t.own == "" {
		return nil
	}
	return os.RemoveAll(t.own)
}

func (t *Disk) session(_ context.Context, w Workload) (session, error) {
	if w.Op != PutPage || w.Data != New { // what is repeated has to be written here as well
		return nil, errNotApplicable
	}
	return &diskSession{target: t, workload: w}, nil
}

// diskSession has files only during a round. One goroutine forms groups and one for each file writes them; begin starts
// them, end stops them and waits.
type diskSession struct {
	target   *Disk
	workload Workload
	queue    chan *diskWrite
	stopped  chan struct{} // closed when the goroutine that forms groups has ended
	files    []*diskFile
	gathered []byte
}

// diskWrite is one request: p must be on all files when done is told.
type diskWrite struct {
	p    []byte
	done chan error
}

type diskFile struct {
	f        *os.File
	written  int64
	reserved int64
	group    chan [][]byte
	done     chan error
}

func (s *diskSession) begin(context.Context) error {
	for i := range diskFiles {
		f, err := os.Create(filepath.Join(s.target.own, fmt.Sprintf("%s.%d", s.workload.Name, i+1)))
		if err != nil {
			return errors.Join(err, s.closeFiles())
		}
		d := &diskFile{f: f, group: make(chan [][]byte), done: make(chan error)}
		s.files = append(s.files, d)
		go d.run()
	}
	s.queue = make(chan *diskWrite, queueMax)
	s.stopped = make(chan struct{})
	go s.run()
	return nil
}

func (s *diskSession) end() error {
	close(s.queue)
	<-s.stopped
	return s.closeFiles()
}

func (s *diskSession) closeFiles() error {
	var err error
	for _, d := range s.files {
		close(d.group)
		<-d.done
		err = errors.Join(err, d.f.Close(), os.Remove(d.f.Name()))
	}
	s.files = nil
	return err
}

// run forms groups of everything that is queued.
func (s *diskSession) run() {
	defer close(s.stopped)
	var group []*diskWrite
	for first := range s.queue {
		group = append(group[:0], first)
		for len(s.queue) > 0 {
			w, ok := <-s.queue
			if !ok {
				break
			}
			group = append(group, w)
		}
		err := s.write(group)
		for _, w := range group {
			w.done <- err
		}
	}
}

// write makes a group durable on all files.
func (s *diskSession) write(group []*diskWrite) error {
	var parts [][]byte
	s.gathered = s.gathered[:0]
	for _, w := range group {
		if len(w.p) <= gatherMax {
			s.gathered = append(s.gathered, w.p...)
		} else {
			parts = append(parts, w.p)
		}
	}
	if len(s.gathered) > 0 {
		parts = append(parts, s.gathered)
	}
	for _, d := range s.files {
		d.group <- parts
	}
	var err error
	for _, d := range s.files {
		err = errors.Join(err, <-d.done)
	}
	return err
}

// run writes and syncs groups until there are no more.
func (d *diskFile) run() {
	defer close(d.done)
	for parts := range d.group {
		var err error
		for _, p := range parts {
			if err == nil {
				err = d.append(p)
			}
		}
		if err == nil {
			err = syncData(d.f)
		}
		d.done <- err
	}
}

func (d *diskFile) append(p []byte) error {
	if d.written += int64(len(p)); d.written > d.reserved {
		reserve(d.f, d.reserved, reserveStep) // if the file system cannot, the write allocates
		d.reserved += reserveStep
	}
	_, err := d.f.Write(p)
	return err
}

func (s *diskSession) worker(context.Context, int) (worker, error) {
	return &diskWorker{diskSession: s, buf: s.target.env.source.writeBuffer(), w: diskWrite{done: make(chan error)}}, nil
}

type diskWorker struct {
	*diskSession
	buf []byte
	w   diskWrite
}

func (w *diskWorker) do() (int, error) {
	w.w.p = w.target.env.source.next(w.buf, w.workload.Bytes)
	w.queue <- &w.w
	if err := <-w.w.done; err != nil {
		return 0, fmt.Errorf("raw disk: %w", err)
	}
	return w.workload.Bytes, nil
}

func (w *diskWorker) close() error {
	w.target.env.source.returnWriteBuffer(w.buf)
	return nil
}
