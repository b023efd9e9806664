package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"pagevault/internal/clock"
)

// WireArchiveOptions describe a server that images are stored on.
type WireArchiveOptions struct {
	Name    string // in the report
	Version string // in the report
	Account string
	Key     []byte // decoded
	// Start starts the server and returns where it is, and what stops it and removes what it has stored.
	Start func(ctx context.Context) (WireArchiveServer, error)
	// Connections is how many requests are under way at once. 0: 4, as many as clients that upload a file use.
	Connections int
}

// WireArchiveServer is a server that runs.
type WireArchiveServer struct {
	URL   string // of the Blob service
	Admin string // URL of the admin listener: without it nobody knows what is stored, and nothing is rewritten. May be empty
	Stop  func() error
}

// WireArchive stores images as page blobs through the protocol.
type WireArchive struct{ o WireArchiveOptions }

// NewWireArchive returns the archiver described by o.
func NewWireArchive(o WireArchiveOptions) *WireArchive {
	if o.Connections == 0 {
		o.Connections = 4
	}
	return &WireArchive{o}
}

// Name returns the name given.
func (a *WireArchive) Name() string { return a.o.Name }

// wireContainer holds all images, so that they stand in one account; its name says who has made it.
const wireContainer = "pagevault-bench-space"

func (a *WireArchive) open(ctx context.Context, c clock.Clock) (archive, error) {
	server, err := a.o.Start(ctx)
	if err != nil {
		return nil, err
	}
	s := &wireStore{o: a.o, server: server, clock: c}
	if s.endpoint, err = parseEndpoint(server.URL, a.o.Account); err == nil {
		s.container = s.endpoint.prefix + "/" + wireContainer
		err = s.connect(ctx, func(k *conn) error { return k.container(http.MethodPut, s.container, http.StatusCreated) })
	}
	if err != nil {
		return nil, errors.Join(err, server.Stop())
	}
	return s, nil
}

// wireStore is the container on the server.
type wireStore struct {
	o         WireArchiveOptions
	server    WireArchiveServer
	clock     clock.Clock
	endpoint  endpoint
	container string // its path
}

func (s *wireStore) version() string { return s.o.Version }

// connect calls fn with a connection of its own.
func (s *wireStore) connect(ctx context.Context, fn func(k *conn) error) error {
	k, err := dial(ctx, s.endpoint, newSigner(s.o.Account, s.o.Key), s.clock)
	if err != nil {
		return err
	}
	defer k.Close()
	return fn(k)
}

// piece is a part of an image on its way to a connection.
type piece struct {
	off int64
	p   *[]byte
}

// put creates a blob and sends every 4 MiB that is not all zeros, in the order of the image, over all connections.
func (s *wireStore) put(ctx context.Context, i Image) error {
	path := s.container + "/" + i.Name()
	err := s.connect(ctx, func(k *conn) error { return k.createPageBlob(path, i.Bytes) })
	if err != nil {
		return err
	}
	queue := make(chan piece, s.o.Connections)
	buffers := sync.Pool{New: func() any { return new([]byte) }}
	return s.parallel(ctx, func(k *conn) error {
		for q := range queue {
			if err := k.putPage(path, q.off, *q.p); err != nil {
				return fmt.Errorf("offset %d: Put Page: %w", q.off, err)
			}
			buffers.Put(q.p)
		}
		return nil
	}, func(ctx context.Context) error {
		defer close(queue)
		return pieces(ctx, i.Path, func(off int64, p []byte) error {
			b := buffers.Get().(*[]byte)
			*b = append((*b)[:0], p...)
			select {
			case queue <- piece{off, b}:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
	})
}

// get reads the whole blob in pieces of 4 MiB over all connections.
func (s *wireStore) get(ctx context.Context, i Image, fn func(off int64, p []byte) error) error {
	path := s.container + "/" + i.Name()
	queue := make(chan int64, s.o.Connections)
	return s.parallel(ctx, func(k *conn) error {
		buf := make([]byte, requestMax)
		for off := range queue {
			p := buf[:min(requestMax, i.Bytes-off)]
			if err := k.getRange(path, off, p); err != nil {
				return fmt.Errorf("offset %d: Get Blob: %w", off, err)
			}
			if err := fn(off, p); err != nil {
				return err
			}
		}
		return nil
	}, func(ctx context.Context) error {
		defer close(queue)
		for off := int64(0); off < i.Bytes; off += requestMax {
			select {
			case queue <- off:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
}

// parallel runs work on every connection, and feed beside it; the first error ends them all and is returned.
func (s *wireStore) parallel(ctx context.Context, work func(k *conn) error, feed func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for range s.o.Connections {
		wg.Go(func() {
			if err := s.connect(ctx, work); err != nil {
				cancel(err)
			}
		})
	}
	if err := feed(ctx); err != nil {
		cancel(err)
	}
	wg.Wait()
	return context.Cause(ctx)
}

// occupied asks the admin listener.
func (s *wireStore) occupied(ctx context.Context) (Occupied, error) {
	if s.server.Admin == "" {
		return Occupied{}, nil
	}
	return adminOccupied(ctx, s.server.Admin, s.o.Account)
}

// rewrite asks the admin listener for the background work, and waits for it.
func (s *wireStore) rewrite(ctx context.Context) error {
	if s.server.Admin == "" {
		return errNotApplicable
	}
	return adminMaintain(ctx, s.server.Admin)
}

func (s *wireStore) close(ctx context.Context) error {
	err := s.connect(ctx, func(k *conn) error { return k.container(http.MethodDelete, s.container, http.StatusAccepted) })
	return errors.Join(err, s.server.Stop())
}
