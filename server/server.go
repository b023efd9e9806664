package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"pagevault/blobstore"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/bearer"
	"pagevault/internal/clock"
)

// Options configures a Server. The zero value of every field but Service is a sound default.
type Options struct {
	Service *blobstore.Service
	Clock   clock.Clock  // for signatures, log and replies. nil: the machine's
	Log     *slog.Logger // nil: nothing is logged
	Audit   io.Writer    // gets a line of JSON for each request, with one call. nil: nobody does
	Product string       // how the server calls itself, with its version. "": Pagevault
	TLS     *tls.Config  // nil: plain HTTP

	// MemberDir returns the folder of an account in a directory that is to be the home of a member in place of the directory
	// from, "" if there is no such member yet, or why it cannot be. nil: members stay where they are.
	MemberDir func(account, from, dir string) (string, error)
	// MemberMoved is called when a member of all accounts has the directory to instead of from. "" as from: it is new; as
	// to: it is gone. It is not called at the same time as itself or MemberDir. nil: nobody wants to know.
	MemberMoved func(from, to string)

	// Accounts changes which accounts there are, and keeps that for the next start. It is not called by two at the same
	// time, nor at the same time as MemberDir or MemberMoved, but for Describe. nil: the accounts stay as they are.
	Accounts AccountKeeper

	// AdminNames are names that the admin listener is reached by, beside localhost and addresses: a request to change
	// something that was sent to another name is refused.
	AdminNames []string

	AllowPublicAccess bool // containers may be made public, and what is public is read without credentials

	// CopySourceAllow names networks, addresses and hosts that the server may read sources of copies from although they are
	// not on the public internet, or under ports of their own.
	CopySourceAllow []string

	Bearer         *bearer.Authority // whose bearer tokens are taken, and who may do what with them. nil: none are
	BearerOverHTTP bool              // they are also taken over plain HTTP, where anybody on the way can read them

	NoHostStyle  bool     // do not read account.blob.anything as an address: every path begins with the account
	HostSuffixes []string // account.SUFFIX is an address, too, also of accounts that do not exist; in lower case

	MaxConns    int             // open connections; for more, such as wait for a request are closed, or the new ones told 503. 0: 4096
	MaxConnsPer int             // of them, from one address. 0: half of MaxConns
	MaxRequests int             // carried out at once; more wait, and are told 503 if that takes long. 0: 1024
	Rates       map[string]Rate // what accounts may ask for, by name; "": those that are not named. nil: as much as they like
	UploadBytes int64           // request bodies in memory at once; more wait. What is stored of them takes as much again. 0: 64 MiB
	ReplyBytes  int64           // bodies of Get Blob in memory at once; more are sent in small pieces, or wait. 0: 128 MiB
	ReadTimeout time.Duration   // for what a stranger may keep a connection waiting: with headers, or a body that is refused. 0: one minute
	IdleTimeout time.Duration   // between the requests of a connection. 0: three minutes, more than any SDK keeps one idle
}

func (o *Options) fill() error {
	if o.Service == nil {
		return errors.New("server: option Service is missing")
	}
	if o.Clock == nil {
		o.Clock = clock.System
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Product == "" {
		o.Product = "Pagevault"
	}
	if o.MaxConns == 0 {
		o.MaxConns = 4096
	}
	if o.MaxConnsPer == 0 {
		o.MaxConnsPer = max(o.MaxConns/2, 1)
	}
	if o.MaxRequests == 0 {
		o.MaxRequests = 1024
	}
	if o.MaxConns < 0 || o.MaxConnsPer < 0 || o.MaxRequests < 0 {
		return fmt.Errorf("server: options MaxConns, MaxConnsPer and MaxRequests are %d, %d and %d: want none below 0", o.MaxConns, o.MaxConnsPer, o.MaxRequests)
	}
	if o.UploadBytes == 0 {
		o.UploadBytes = 64 << 20 // 16 of the largest keep processors and disks busy, once they are here
	}
	if o.UploadBytes < blobstore.PutPagesMax {
		return fmt.Errorf("server: option UploadBytes is %d: want at least one Put Page, %d", o.UploadBytes, blobstore.PutPagesMax)
	}
	if o.ReplyBytes == 0 {
		o.ReplyBytes = 128 << 20
	}
	if o.ReplyBytes < downloadSmall {
		return fmt.Errorf("server: option ReplyBytes is %d: want at least %d", o.ReplyBytes, downloadSmall)
	}
	if o.ReadTimeout == 0 {
		o.ReadTimeout = time.Minute
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = 3 * time.Minute
	}
	return nil
}

const (
	// headersMax is the largest request line and headers together: metadata of 8 KiB, a blob name of 1,024 characters
	// that take nine bytes each once escaped, and the rest. A connection keeps a buffer of this size.
	headersMax = 32 << 10

	// writeBuffer holds a reply's headers together with a small body, so that both leave in one packet.
	writeBuffer = 16 << 10

	// uploadPerMiB and downloadPerMiB are what the reference allows a transfer to take.
	uploadPerMiB   = 10 * time.Minute
	downloadPerMiB = 2 * time.Minute

	// keptScratch is the largest scratch buffer that a request keeps for the next: a page of a listing is larger.
	keptScratch = 64 << 10
)

// Server serves the Blob protocol over HTTP. Its goroutines are those of fasthttp, one a connection, and end with
// Shutdown.
type Server struct {
	o          Options
	addressing addressing
	handlers   *[256]handler // the table; a test may put a handler of its own into a copy
	http       *fasthttp.Server
	buffers    *buffers
	uploads    *budget
	openings   *budget // for the beginnings of long bodies, and for short ones: twice as much, in addition
	sources    *budget // for parts of other servers' blobs, which may take long to come: half as much, in addition
	replies    *budget
	meters     *meters
	fetcher    *fetcher
	slots      *budget // of requests that are carried out
	requests   sync.Pool
	downloads  sync.Pool
	metrics    *metrics
	date       dater
	serving    atomic.Int64 // connections with a goroutine of fasthttp
	busyTold   atomic.Int64 // when the log was last told that a request was refused for now, nanoseconds since 1970
	auditTold  atomic.Int64 // when the log was last told that the audit log cannot be written
	checking   sync.Mutex   // held while an account is checked: one at a time
	scrubbing  sync.Mutex   // held while accounts are scrubbed because somebody asked for it
	changing   sync.Mutex   // held while members or accounts are changed: one change at a time

	patience time.Duration // uploadPatience, but in tests

	changer func(*blobstore.Account) memberChanger // the account itself, but in tests

	pristine     fasthttp.ResponseHeader // of a reply that nothing was said of yet
	pristineOnce sync.Once

	mu struct {
		sync.Mutex
		stopping  bool
		listeners []*listener
	}
}

// New returns a server that is ready to Serve.
func New(o Options) (*Server, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	s := &Server{o: o, handlers: &handlers, buffers: newBuffers(o.UploadBytes), uploads: newBudget(o.UploadBytes), replies: newBudget(o.ReplyBytes),
		openings: newBudget(2 * o.UploadBytes), sources: newBudget(max(o.UploadBytes/2, blobstore.PutPagesMax)), slots: newBudget(int64(o.MaxRequests)), patience: uploadPatience}
	s.changer = func(a *blobstore.Account) memberChanger { return a }
	s.requests.New = func() any { return new(request) }
	s.downloads.New = func() any { return new(download) }
	s.addressing = addressing{hostStyle: !o.NoHostStyle, suffixes: o.HostSuffixes, known: func(name []byte) bool {
		_, ok := o.Service.Account(string(name))
		return ok
	}}
	s.meters = newMeters(o.Rates)
	var err error
	if s.fetcher, err = newFetcher(o.CopySourceAllow, o.Product); err != nil {
		return nil, fmt.Errorf("server: option CopySourceAllow: %w", err)
	}
	s.metrics = newMetrics(s)
	s.date.clock = o.Clock
	s.http = s.fasthttp()
	return s, nil
}

// fasthttp returns the HTTP server with every setting that matters set on purpose.
func (s *Server) fasthttp() *fasthttp.Server {
	return &fasthttp.Server{
		Handler:       s.handle,
		ExpectHandler: s.expect,
		ErrorHandler:  s.unreadable,
		ConnState:     s.connState,
		Logger:        httpLog{s.o.Log},
		Name:          s.o.Product,

		Concurrency:     2 * (s.o.MaxConns + 1), // the listener turns away first, in the protocol's words; evicted ones end soon
		ReadBufferSize:  headersMax,
		WriteBufferSize: writeBuffer,
		ReadTimeout:     s.o.ReadTimeout,
		IdleTimeout:     s.o.IdleTimeout,
		WriteTimeout:    downloadPerMiB * (downloadSmall >> 20),

		StreamRequestBody:             true,        // see body.go
		MaxRequestBodySize:            math.MaxInt, // ours is told in the protocol's words
		DisablePreParseMultipartForm:  true,        // a multipart body is a blob like any other
		DisableHeaderNamesNormalizing: true,        // the case of a metadata name is part of it
		NoDefaultContentType:          true,        // no header that nobody asked for
		NoDefaultDate:                 true,        // ours is by our clock, see date.go
		SecureErrorLogMessage:         true,        // headers hold signatures
		CloseOnShutdown:               true,        // tell clients to go elsewhere
	}
}

// Serve accepts connections from ln until Shutdown, then returns nil. It may be called for several listeners.
func (s *Server) Serve(ln net.Listener) error {
	l := newListener(ln, s.o.MaxConns, s.o.MaxConnsPer, s.turnAway)
	s.mu.Lock()
	if s.mu.stopping {
		s.mu.Unlock()
		return ln.Close()
	}
	s.mu.listeners = append(s.mu.listeners, l)
	s.mu.Unlock()
	defer s.watch(l)()
	var accept net.Listener = l
	if s.o.TLS != nil {
		accept = tls.NewListener(l, s.o.TLS)
	}
	if err := s.http.Serve(accept); err != nil && !s.stopping() {
		return fmt.Errorf("listener %v: %w", ln.Addr(), err)
	}
	return nil
}

func (s *Server) stopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.stopping
}

// connState counts connections that are being served, and learns when they wait for the next request.
func (s *Server) connState(nc net.Conn, state fasthttp.ConnState) {
	switch state {
	case fasthttp.StateIdle:
		if c := connOf(nc); c != nil {
			c.rest()
		}
	case fasthttp.StateNew:
		s.serving.Add(1)
	case fasthttp.StateClosed:
		s.serving.Add(-1)
	}
}

// ErrStuck is what Shutdown returns when requests went on even after their connections had been cut off. The service
// is still in use then and must not be closed.
var ErrStuck = errors.New("server: requests do not end")

// stuckAfter is how long requests may go on after their connections were cut off: as long as a disk takes to write
// what is queued for it.
const stuckAfter = 10 * time.Second

// Shutdown stops accepting, waits until every request that has arrived is answered, and closes the connections. When
// ctx ends first, those still open are cut off and the error of ctx is returned, or ErrStuck. The listeners given to
// Serve are closed.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.mu.stopping = true
	listeners := s.mu.listeners
	s.mu.Unlock()
	for _, l := range listeners {
		l.stop()
	}
	err := s.http.ShutdownWithContext(ctx)
	if err == nil {
		return nil
	}
	for _, l := range listeners {
		l.abort()
	}
	s.fetcher.stop()
	stuck := time.NewTimer(stuckAfter)
	defer stuck.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for s.serving.Load() > 0 {
		select {
		case <-tick.C:
		case <-stuck.C:
			return ErrStuck
		}
	}
	return err
}

// turnAway tells the client of c that there is no room. It does not read the request.
func (s *Server) turnAway(c net.Conn) {
	if s.o.TLS != nil {
		return // the handshake would be work for nothing
	}
	id, now := newGUID(), s.o.Clock.Now()
	e := &azerr.Error{Code: azerr.ServerBusy}
	body := azerr.AppendXML(nil, e, string(id[:]), now)
	fmt.Fprintf(c, "HTTP/1.1 503 Service Unavailable\r\nServer: %s\r\nDate: %s\r\nx-ms-request-id: %s\r\nx-ms-version: %s\r\n"+
		"x-ms-error-code: %s\r\nRetry-After: %s\r\nContent-Type: application/xml\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		s.o.Product, s.date.now(), id[:], newestVersion, e.Code.Wire(), retryAfter, len(body), body)
}

// admittedKey is where a request waits between the two calls that fasthttp makes for one that asked before it sends.
const admittedKey = "pagevault.request"

// expect decides whether a client that sent Expect: 100-continue is to send its body. A refusal is the final reply:
// fasthttp v1.77.0 writes ctx.Response under the status returned, although it calls changing it out of bounds;
// TestExpect would notice if that changed.
func (s *Server) expect(ctx *fasthttp.RequestCtx) int {
	r := s.acquire(ctx)
	if r.try((*request).admit) {
		ctx.SetUserValue(admittedKey, r)
		r.conn.enter(receiving)
		r.leaveAccount() // whether the body comes nobody knows
		return fasthttp.StatusContinue
	}
	defer r.release()
	r.hangUp() // whether the client will send its body nobody knows
	r.record()
	return r.status
}

// resume returns the request that expect has admitted, or a new one.
func (s *Server) resume(ctx *fasthttp.RequestCtx) (r *request, admitted bool) {
	if r, ok := ctx.UserValue(admittedKey).(*request); ok {
		r.conn.enter(working)
		return r, true
	}
	return s.acquire(ctx), false
}

// unreadable replies to what fasthttp could not take for a request, or whose body ended too soon. The connection is
// closed after it.
func (s *Server) unreadable(ctx *fasthttp.RequestCtx, err error) {
	r := s.acquire(ctx)
	defer r.release()
	ctx.Response.Header.DisableNormalizing() // not done yet when nothing could be read
	status, e := unreadableError(err)
	r.failWith(status, e)
	r.hangUp()
	r.record()
}

// unreadableError finds the protocol's words for an error of fasthttp.
func unreadableError(err error) (status int, e *azerr.Error) {
	var small *fasthttp.ErrSmallBuffer
	var ne net.Error
	switch {
	case errors.As(err, &small):
		return fasthttp.StatusRequestHeaderFieldsTooLarge, azerr.InvalidInput.Because(err) // 431: the service has no word for it
	case errors.As(err, &ne) && ne.Timeout():
		return fasthttp.StatusRequestTimeout, azerr.OperationTimedOut.Because(err)
	case errors.Is(err, fasthttp.ErrDuplicateContentLength):
		e = azerr.BadHeader(bodyHeader, "")
	case errors.Is(err, fasthttp.ErrorInvalidURI):
		e = azerr.InvalidUri.Because(err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		e = azerr.InvalidInput.Because(errors.Join(errCutOff, err))
	default:
		e = azerr.InvalidInput.Because(err)
	}
	return e.Code.Status(), e
}

// httpLog passes on what fasthttp has to say about connections.
type httpLog struct{ log *slog.Logger }

// Printf logs at debug: nearly all of it is clients that went away. The errors of fasthttp quote what they could not read,
// which may be a signature that was sent in a broken line, so only those of the connection itself are told.
func (l httpLog) Printf(_ string, args ...any) {
	what, remote := "a request that cannot be read", ""
	for i, arg := range args {
		switch v := arg.(type) {
		case net.Addr:
			if i > 0 { // the first is ours
				remote = v.String()
			}
		case error:
			what = cmp.Or(connectionError(v), what)
		}
	}
	l.log.Debug("connection", "remote", remote, "error", what)
}

// connectionError returns what an error says of the connection, "" if it is about what came over it.
func connectionError(err error) string {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if oe, ok := e.(*net.OpError); ok {
			return oe.Error()
		}
		if text := e.Error(); strings.HasPrefix(text, "tls: ") {
			return text
		}
	}
	var ne net.Error
	switch {
	case errors.As(err, &ne) && ne.Timeout():
		return "timeout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the client went away"
	}
	return ""
}
