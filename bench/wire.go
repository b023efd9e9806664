package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
)

const (
	// Page blobs are sparse, so blobs written from front to back are made so large that a run never comes round.
	sequentialSpan = 256 << 30
	// Random writes go to 262,144 pages of 4 KiB: the working set of a busy small disk.
	randomSpan = 1 << 30
)

// Streams of data besides streamFresh.
const (
	streamSeen uint16 = iota + 1 // stored in advance, then written again
	streamRead                   // stored in advance, then read
)

// WireOptions say where a Blob endpoint is.
type WireOptions struct {
	Name    string // in the report
	URL     string // of the Blob service, as in a connection string: http://127.0.0.1:10000/devstoreaccount1
	Account string
	Key     []byte // decoded
	// Baseline marks a target that others are compared with.
	Baseline bool
	// Unchecked: what is read is not compared with what was written, because the target does not keep it.
	Unchecked bool
	// RoundBytes bounds the new data of one round, for a target that keeps everything in memory. 0: no such bound.
	RoundBytes int64
	// PID is the server's process on this machine, whose CPU time and memory are reported. 0: unknown.
	PID int
}

// Wire is a Blob endpoint reached through the protocol. All it stores is in one container, which it deletes in the end.
type Wire struct {
	o         WireOptions
	env       *environment
	endpoint  endpoint
	container string // path of the container; empty until it is created
	readBlob  string // path of the blob that all reads share; empty until it is filled
}

// NewWire returns the target described by o. The URL is checked here, whether anybody answers there when a run begins.
func NewWire(o WireOptions) (*Wire, error) {
	e, err := parseEndpoint(o.URL, o.Account)
	if err != nil {
		return nil, err
	}
	return &Wire{o: o, endpoint: e}, nil
}

// Info returns the target's name and URL.
func (t *Wire) Info() TargetInfo {
	return TargetInfo{Name: t.o.Name, Where: t.o.URL, Baseline: t.o.Baseline, RoundBytes: t.o.RoundBytes}
}

func (t *Wire) usage() (Usage, bool) { return ProcessUsage(t.o.PID) }

// wrap names the target and what was tried.
func (t *Wire) wrap(what string, err error) error {
	var status *StatusError
	if errors.As(err, &status) && status.Status == http.StatusForbidden {
		return fmt.Errorf("%s at %s: %s: %w (is this the key of account %s?)", t.o.Name, t.o.URL, what, err, t.o.Account)
	}
	return fmt.Errorf("%s at %s: %s: %w", t.o.Name, t.o.URL, what, err)
}

// connect calls fn with a connection of its own.
func (t *Wire) connect(ctx context.Context, fn func(c *conn) error) error {
	c, err := dial(ctx, t.endpoint, newSigner(t.o.Account, t.o.Key), t.env.clock)
	if err != nil {
		return err
	}
	defer c.Close()
	return fn(c)
}

// open creates the container, which shows at once whether address and key are right.
func (t *Wire) open(ctx context.Context, env *environment) error {
	t.env = env
	path := fmt.Sprintf("%s/pagevault-bench-%016x", t.endpoint.prefix, env.source.nonce)
	err := t.connect(ctx, func(c *conn) error { return c.container(http.MethodPut, path, http.StatusCreated) })
	if err != nil {
		return t.wrap("create a container", err)
	}
	t.container = path
	return nil
}

func (t *Wire) close(ctx context.Context) error {
	if t.container == "" {
		return nil
	}
	err := t.connect(ctx, func(c *conn) error { return c.container(http.MethodDelete, t.container, http.StatusAccepted) })
	if err != nil {
		return t.wrap("delete the container "+t.container, err)
	}
	t.container = ""
	return nil
}

// session creates the workload's blob, and stores what it reads or repeats.
func (t *Wire) session(ctx context.Context, w Workload) (session, error) {
	s := &wireSession{target: t, workload: w, path: t.container + "/" + w.Name, span: sequentialSpan}
	if w.Random {
		s.span = randomSpan
	}
	err := t.connect(ctx, func(c *conn) error {
		if w.Op == GetBlob {
			s.span = t.env.setBytes
			return t.fillReadBlob(c, s)
		}
		if w.Data == Seen {
			if err := t.fill(c, s.path+".first", streamSeen); err != nil {
				return err
			}
		}
		return c.createPageBlob(s.path, s.span)
	})
	if err != nil {
		return nil, t.wrap("prepare "+w.Name, err)
	}
	return s, nil
}

// fill creates a blob with all data of a stream.
func (t *Wire) fill(c *conn, path string, stream uint16) error {
	if err := c.createPageBlob(path, t.env.setBytes); err != nil {
		return err
	}
	buf := t.env.source.writeBuffer()
	defer t.env.source.returnWriteBuffer(buf)
	for off := int64(0); off < t.env.setBytes; off += requestMax {
		if err := c.putPage(path, off, t.env.source.stamp(buf, stream, uint64(off/requestMax), requestMax)); err != nil {
			return err
		}
	}
	return nil
}

// fillReadBlob makes the blob that all reads share, once, and reads it back: what follows is worth measuring only if
// every byte of it is right.
func (t *Wire) fillReadBlob(c *conn, s *wireSession) error {
	s.path = t.container + "/read"
	if t.readBlob != "" {
		return nil
	}
	if err := t.fill(c, s.path, streamRead); err != nil {
		return err
	}
	t.readBlob = s.path
	if t.o.Unchecked {
		return nil
	}
	want, got := t.env.source.writeBuffer(), t.env.source.readBuffer()
	defer t.env.source.returnWriteBuffer(want)
	defer t.env.source.returnReadBuffer(got)
	for off := int64(0); off < s.span; off += requestMax {
		if err := c.getRange(s.path, off, got); err != nil {
			return err
		}
		if !bytes.Equal(got, t.env.source.stamp(want, streamRead, uint64(off/requestMax), requestMax)) {
			return fmt.Errorf("bytes [%d, %d) are not what was written", off, off+requestMax)
		}
	}
	return nil
}

type wireSession struct {
	target   *Wire
	workload Workload
	path     string
	span     int64         // requests are placed in [0, span)
	next     atomic.Uint64 // number of the next request, for sequential places and repeated data
}

func (s *wireSession) begin() error { return nil }
func (s *wireSession) end() error   { return nil }

func (s *wireSession) worker(ctx context.Context, index int) (worker, error) {
	t := s.target
	c, err := dial(ctx, t.endpoint, newSigner(t.o.Account, t.o.Key), t.env.clock)
	if err != nil {
		return nil, t.wrap("connect", err)
	}
	w := &wireWorker{wireSession: s, conn: c}
	w.random = rand.New(rand.NewPCG(t.env.seed, s.next.Load()<<16+uint64(index)))
	if s.workload.Op == PutPage {
		w.buf = t.env.source.writeBuffer()
	} else {
		w.buf = t.env.source.readBuffer()
	}
	return w, nil
}

type wireWorker struct {
	*wireSession
	conn   *conn
	random *rand.Rand
	buf    []byte
}

func (w *wireWorker) do() (int, error) {
	size := w.workload.Bytes
	n := w.next.Add(1) - 1
	off := int64(n) * int64(size) % w.span
	if w.workload.Random {
		off = w.random.Int64N(w.span/int64(size)) * int64(size)
	}
	var err error
	if w.workload.Op == GetBlob {
		err = w.get(off, w.buf[:size])
	} else {
		err = w.conn.putPage(w.path, off, w.data(n, size))
	}
	if err != nil {
		return 0, w.target.wrap(fmt.Sprintf("%s at offset %d", w.workload.Name, off), err)
	}
	return size, nil
}

// data returns what request n writes.
func (w *wireWorker) data(n uint64, size int) []byte {
	if w.workload.Data == New {
		return w.target.env.source.next(w.buf, size)
	}
	requests := uint64(w.target.env.setBytes) / uint64(size)
	return w.target.env.source.stamp(w.buf, streamSeen, n%requests, size)
}

// get reads p and looks at its first stamp, which is cheap and notices an answer from the wrong place.
func (w *wireWorker) get(off int64, p []byte) error {
	if err := w.conn.getRange(w.path, off, p); err != nil {
		return err
	}
	if !w.target.o.Unchecked && !w.target.env.source.stamped(p, streamRead, uint64(off/stampEvery)) {
		return fmt.Errorf("not the data that was written: begins with %x", binary.BigEndian.Uint64(p))
	}
	return nil
}

func (w *wireWorker) close() error {
	if w.workload.Op == PutPage {
		w.target.env.source.returnWriteBuffer(w.buf)
	} else {
		w.target.env.source.returnReadBuffer(w.buf)
	}
	return w.conn.Close()
}
