package bench

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// wireSession is a workload on an endpoint.
type wireSession struct {
	target   *Wire
	workload Workload
	path     string
	span     int64                            // requests are placed in [0, span)
	next     atomic.Uint64                    // number of the next request, for sequential places and repeated data
	opened   atomic.Uint64                    // connections so far, each with random places of its own
	request  func(w *wireWorker) (int, error) // makes one request and returns how much page data it moved
	starting func(c *conn) error              // makes what each round needs anew. nil: nothing
	mu       struct {
		sync.Mutex
		images map[int]*image // by connection, for workloads in which each has a blob of its own
	}
}

func (s *wireSession) begin(ctx context.Context) error {
	if s.starting == nil {
		return nil
	}
	if err := s.target.connect(ctx, s.starting); err != nil {
		return s.target.wrap("prepare "+s.workload.Name, err)
	}
	return nil
}

func (s *wireSession) end() error { return nil }

func (s *wireSession) worker(ctx context.Context, index int) (worker, error) {
	t := s.target
	c, err := dial(ctx, t.endpoint, newSigner(t.o.Account, t.o.Key), t.env.clock)
	if err != nil {
		return nil, t.wrap("connect", err)
	}
	w := &wireWorker{wireSession: s, conn: c}
	w.random = rand.New(rand.NewPCG(t.env.seed, s.opened.Add(1)))
	if s.workload.Op == SnapChain || s.workload.Op == Increment {
		if w.image, err = s.imageOf(index, c); err != nil {
			w.close()
			return nil, t.wrap("prepare "+s.workload.Name, err)
		}
	}
	return w, nil
}

// wireWorker is one connection.
type wireWorker struct {
	*wireSession
	conn     *conn
	random   *rand.Rand
	image    *image // of this connection, nil if the workload has none
	log      string // append blob of this connection, empty until it is made
	appended int    // blocks in it
	out      []byte // of source.writeBuffer, nil until the first use
	in       []byte // of source.readBuffer, nil until the first use
}

func (w *wireWorker) do() (int, error) {
	n, err := w.request(w)
	if err != nil && err != errEnd {
		err = w.target.wrap(w.workload.Name, err)
	}
	return n, err
}

// writeBuffer returns the worker's buffer to stamp.
func (w *wireWorker) writeBuffer() []byte {
	if w.out == nil {
		w.out = w.target.env.source.writeBuffer()
	}
	return w.out
}

// readBuffer returns the worker's buffer to read into.
func (w *wireWorker) readBuffer() []byte {
	if w.in == nil {
		w.in = w.target.env.source.readBuffer()
	}
	return w.in
}

// busies returns how many times the server was too busy.
func (w *wireWorker) busies() int64 { return w.conn.busy }

func (w *wireWorker) close() error {
	if w.out != nil {
		w.target.env.source.returnWriteBuffer(w.out)
	}
	if w.in != nil {
		w.target.env.source.returnReadBuffer(w.in)
	}
	return w.conn.Close()
}
