package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

const (
	// Page blobs are sparse, so blobs written from front to back are made so large that a run never comes round.
	sequentialSpan = 256 << 30
	// Random writes go to 262,144 pages of 4 KiB: the working set of a busy small disk.
	randomSpan = 1 << 30
)

// Streams of data besides streamFresh.
const (
	streamSeen  uint16 = iota + 1 // stored in advance, then written again
	streamRead                    // stored in advance, then read
	streamTrace                   // named by a trace
	streamTiny                    // block blobs stored in advance, then read
)

// WireOptions say where a Blob endpoint is.
type WireOptions struct {
	Name    string // in the report
	URL     string // of the Blob service, as in a connection string: http://127.0.0.1:10000/devstoreaccount1, or with a SAS
	Account string // of no use with a SAS
	Key     []byte // decoded; of no use with a SAS
	// Baseline marks a target that others are compared with.
	Baseline bool
	// Unchecked: what is read is not compared with what was written, because the target does not keep it.
	Unchecked bool
	// RoundBytes bounds the new data of one round, for a target that keeps everything in memory. 0: no such bound.
	RoundBytes int64
	// PID is the server's process on this machine, whose CPU time and memory are reported. 0: unknown.
	PID int
}

// Wire is a Blob endpoint reached through the protocol. All it stores is in one container, which it deletes in the end, or,
// where it was let into one container only, below one name in that, which it clears.
type Wire struct {
	o         WireOptions
	env       *environment
	endpoint  endpoint
	server    string            // what it calls itself
	container string            // path of the container; empty until it is created
	below     string            // what the names of all blobs begin with, where the container is not ours; empty or with a slash
	filled    map[uint16]string // path of the blob that holds a stream, by stream
	chain     *chain            // that restores and diffs share; nil until it is made
	listed    bool              // the blobs that are listed were made
}

// NewWire returns the target described by o. The URL is checked here, whether anybody answers there when a run begins.
func NewWire(o WireOptions) (*Wire, error) {
	e, err := parseEndpoint(o.URL, o.Account)
	if err != nil {
		return nil, err
	}
	return &Wire{o: o, endpoint: e, filled: make(map[uint16]string)}, nil
}

// Info returns the target's name and URL.
func (t *Wire) Info() TargetInfo {
	return TargetInfo{Name: t.o.Name, Where: withoutQuery(t.o.URL), Server: t.server, Baseline: t.o.Baseline, RoundBytes: t.o.RoundBytes}
}

func (t *Wire) usage() (Usage, bool) { return ProcessUsage(t.o.PID) }

// wrap names the target and what was tried.
func (t *Wire) wrap(what string, err error) error {
	var status *StatusError
	if errors.As(err, &status) && status.Status == http.StatusForbidden && t.endpoint.sas == "" {
		return fmt.Errorf("%s at %s: %s: %w (is this the key of account %s?)", t.o.Name, withoutQuery(t.o.URL), what, err, t.o.Account)
	}
	return fmt.Errorf("%s at %s: %s: %w", t.o.Name, withoutQuery(t.o.URL), what, err)
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
	name := fmt.Sprintf("pagevault-bench-%016x", env.source.nonce)
	if t.endpoint.container != "" {
		return t.openGiven(ctx, name+"/")
	}
	path := t.endpoint.prefix + "/" + name
	err := t.connect(ctx, func(c *conn) error {
		err := c.container(http.MethodPut, path, http.StatusCreated)
		t.server = string(c.resp.Header.Server())
		return err
	})
	if err != nil {
		return t.wrap("create a container", err)
	}
	t.container = path
	return nil
}

// openGiven takes the container that we are let into, if it is there.
func (t *Wire) openGiven(ctx context.Context, below string) error {
	err := t.connect(ctx, func(c *conn) error {
		buf := t.env.source.readBuffer()
		defer t.env.source.returnReadBuffer(buf)
		_, err := c.listBlobs(t.endpoint.container, below, "", "", 1, buf)
		t.server = string(c.resp.Header.Server())
		return err
	})
	if err != nil {
		return t.wrap("list the container "+t.endpoint.container, err)
	}
	t.container, t.below = t.endpoint.container, below
	return nil
}

func (t *Wire) close(ctx context.Context) error {
	if t.container == "" {
		return nil
	}
	if t.below == "" { // one request: whoever does not answer it soon never will
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
	}
	what, remove := "delete the container "+t.container, func(c *conn) error {
		return c.container(http.MethodDelete, t.container, http.StatusAccepted)
	}
	if t.below != "" {
		what, remove = "delete the blobs below "+t.blob(""), t.clear
	}
	if err := t.connect(ctx, remove); err != nil {
		return t.wrap(what, err)
	}
	t.container = ""
	return nil
}

// clear deletes all blobs that we have made in a container that is not ours.
func (t *Wire) clear(c *conn) error {
	buf := t.env.source.readBuffer()
	defer t.env.source.returnReadBuffer(buf)
	for {
		l, err := c.listBlobs(t.container, t.below, "", "", listMost, buf)
		if err != nil {
			return err
		}
		names := l.names()
		for _, name := range names {
			if err := c.deleteBlob(t.container + "/" + name); err != nil {
				return err
			}
		}
		if len(names) == 0 {
			return nil
		}
	}
}

// blob returns the path of one of our blobs. Its name needs no percent-encoding.
func (t *Wire) blob(name string) string { return t.container + "/" + t.below + name }

// session makes what the workload needs.
func (t *Wire) session(ctx context.Context, w Workload) (session, error) {
	s := &wireSession{target: t, workload: w, path: t.blob(w.Name)}
	err := t.connect(ctx, func(c *conn) error {
		prepare, ok := preparations[w.Op]
		if !ok || t.o.Unchecked && unknownToNull[w.Op] {
			return errNotApplicable
		}
		return prepare(s, c)
	})
	switch {
	case errors.Is(err, errNotApplicable):
		return nil, err
	case err != nil:
		return nil, t.wrap("prepare "+w.Name, err)
	}
	return s, nil
}

// preparations make what a session needs before its first round, and set what it does for one request.
var preparations = map[Op]func(*wireSession, *conn) error{
	PutPage: preparePut, GetBlob: prepareGet, Mixed: prepareMixed,
	SnapChain: prepareCycles, Increment: prepareIncrement, DiffRanges: prepareDiff, Restore: prepareRestore,
	ListBlobs: prepareList, ManySmall: prepareSmall, Replay: prepareReplay,
	PutBlob: preparePutBlob, GetWhole: prepareGetBlob, PutBlocks: preparePutBlocks, GetBlocks: prepareGetBlocks, Append: prepareAppend,
}

// unknownToNull are the operations of which the null server does nothing comparable.
var unknownToNull = map[Op]bool{Increment: true, DiffRanges: true, ListBlobs: true}
