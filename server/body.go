package server

import (
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/xsm"
	"pagevault/internal/clock"
)

// fasthttp hands bodies over as a stream, so that a request is refused before memory is set aside for it and the memory
// is ours: in its other mode every connection keeps the largest body it ever had. The stream reports a client that goes
// away half-way as a clean end. So nobody reads the stream but the functions in this file, and they count.

const (
	// xmlBodyMax is the largest XML document that is read: service properties with five CORS rules fit many times.
	xmlBodyMax = 64 << 10

	// drainMax is the most that is read and dropped to keep a connection in step after a request was refused. It is
	// what a client that does not wait for 100 Continue sends with a Put Page.
	drainMax = 4<<20 + 64<<10

	// prefetched is how much of a body fasthttp reads before it calls the handler.
	prefetched = 8 << 10

	// openingBytes is what of a long body comes before memory is set aside for the rest.
	openingBytes = 128 << 10

	// uploadPatience is how long a body, or a reply, waits for memory that others hold, and a request for the end of others,
	// before the client is told to slow down.
	uploadPatience = 10 * time.Second

	// laterPatience is how many times as long a body waits of which something is stored: all of it would have to come again.
	laterPatience = 6
)

// checkBody decides, from the headers alone, whether a body as announced will be read. most is the operation's limit
// in bytes.
func (r *request) checkBody(most int64) error {
	switch {
	case r.framing.chunked:
		return azerr.MissingContentLengthHeader.Because(errChunked)
	case most > 0 && r.framing.length > most && (!r.structured() || r.framing.length > most+xsm.OverheadMax):
		return azerr.RequestBodyTooLarge.With("MaxLimit", strconv.FormatInt(most, 10))
	}
	return nil
}

// readXML returns the whole of a body of XML, which must be what the checksums sent with it say.
func (r *request) readXML() ([]byte, error) {
	sent, err := header.ParseChecksum(&r.headers)
	if err != nil {
		return nil, err
	}
	body, err := r.readBody(xmlBodyMax)
	if err != nil {
		return nil, err
	}
	_, err = sent.Verify(body)
	return body, err
}

// readBody returns the whole body, at most most bytes. It is good until the reply is made. A body that ends early is an
// error, whatever had come by then.
func (r *request) readBody(most int64) ([]byte, error) {
	if r.framing.length < 0 {
		r.broken = true // a client that does not say how much follows may well have sent it
		return nil, azerr.MissingContentLengthHeader
	}
	if err := r.checkBody(most); err != nil {
		return nil, err
	}
	n := r.framing.length
	if n == 0 {
		return nil, nil
	}
	r.awaitBody(r.framing.length)
	if err := r.takeBody(n, r.s.patience); err != nil {
		return nil, err
	}
	return r.body, r.stepUp()
}

// receivePiece returns the next n bytes of a body that is read in pieces, of which memory holds one. It is given back between two
// pieces: others have their turn, however long this body is, and a client that stops sending holds none. The request has stepped
// aside when it returns.
func (r *request) receivePiece(n int64) ([]byte, error) {
	wait := r.s.patience
	if r.read {
		wait *= laterPatience
	}
	r.giveBack()
	r.awaitBody(n)
	err := r.takeBody(n, wait)
	return r.body, err
}

// giveBack ends the use of the memory of the body.
func (r *request) giveBack() {
	if r.body != nil {
		r.s.buffers.Put(r.body)
		r.body = nil
	}
	if r.budget != nil {
		r.budget.Release(r.taken)
		r.budget = nil
	}
}

// awaitBody prepares for the time that the client takes to send the next n bytes of the body.
func (r *request) awaitBody(n int64) {
	r.stepAside() // however long it is, it is not our work
	if r.framing.length > prefetched {
		r.patience(r.s.o.ReadTimeout + time.Duration((n+1<<20-1)>>20)*uploadPerMiB)
	}
}

// takeBody reads the body, of n bytes, into memory that it takes from the budget, for which it waits so long. A long body gets a little
// at first, so that clients which send nothing, or a few bytes now and then, are not in the way of those that do.
func (r *request) takeBody(n int64, wait time.Duration) error {
	var first []byte
	if n > openingBytes {
		if !r.s.openings.Acquire(openingBytes, wait) {
			return azerr.ServerBusy
		}
		defer r.s.openings.Release(openingBytes)
		first = r.s.buffers.Get(openingBytes)
		defer r.s.buffers.Put(first)
		if err := r.receive(first); err != nil {
			return err
		}
	}
	from := r.s.uploads
	if n <= openingBytes { // however many long ones wait for memory
		from = r.s.openings
	}
	if !r.makeBody(n, from, wait) {
		r.broken = len(first) > 0
		return azerr.ServerBusy
	}
	copy(r.body, first)
	return r.receive(r.body[len(first):])
}

// makeBody makes r.body n bytes long, of memory from a budget, and reports whether there was any within that time.
func (r *request) makeBody(n int64, from *budget, wait time.Duration) bool {
	taken := bufferBytes(n)
	if !from.Acquire(taken, wait) {
		return false
	}
	r.budget, r.taken = from, taken
	r.body = r.s.buffers.Get(int(n))
	return true
}

// receive reads the next bytes of the body, as many as p has.
func (r *request) receive(p []byte) error {
	r.read = true // or broken
	r.conn.enter(receiving)
	from := r.ctx.RequestBodyStream()
	if r.message != nil {
		from = r.message
	}
	_, err := io.ReadFull(from, p)
	r.conn.enter(working)
	if err == nil {
		return nil
	}
	r.broken = true
	err = bodyError(err)
	r.late = errors.Is(err, azerr.OperationTimedOut)
	return err
}

// stepUp makes r one of the requests that are carried out, of which there is a limited number.
func (r *request) stepUp() error { return r.stepUpWithin(r.s.patience) }

// stepUpWithin is stepUp for one that waits so long.
func (r *request) stepUpWithin(wait time.Duration) error {
	if !r.slot && !r.s.slots.Acquire(1, wait) {
		return azerr.ServerBusy
	}
	r.slot = true
	return nil
}

// stepAside lets another request take the place of r.
func (r *request) stepAside() {
	if r.slot {
		r.s.slots.Release(1)
		r.slot = false
	}
}

// patience sets the time until which bytes of this request may come. fasthttp sets it for every request, to what a
// stranger is allowed.
func (r *request) patience(d time.Duration) {
	r.ctx.Conn().SetReadDeadline(clock.System.Now().Add(d))
}

// bodyError is the error of a body that did not come.
func bodyError(err error) error {
	if bad := messageError(err); bad != nil {
		return bad
	}
	var ne net.Error
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout() {
		return azerr.OperationTimedOut.Because(err)
	}
	return azerr.InvalidInput.Because(errors.Join(errCutOff, err))
}

// settle brings the connection to the end of the request: it reads and drops a body that nobody wanted, or has the
// connection closed after the reply if that body is too long or has no certain end.
func (r *request) settle() {
	switch {
	case r.broken || r.framing.chunked || r.framing.length > drainMax && !r.read:
		r.hangUp()
	case r.read || r.framing.length <= 0:
	case !r.drain():
		r.hangUp()
	}
}

// drain reads and drops the whole body and reports whether all of it came.
func (r *request) drain() bool {
	stream := r.ctx.RequestBodyStream()
	if stream == nil {
		return false
	}
	r.read = true
	r.patience(r.s.o.ReadTimeout)
	r.conn.enter(receiving)
	defer r.conn.enter(working)
	p := r.s.buffers.Get(bufferSizes[0])
	defer r.s.buffers.Put(p)
	for left := r.framing.length; left > 0; {
		n, err := stream.Read(p[:min(left, int64(len(p)))])
		left -= int64(n)
		if err != nil && left > 0 {
			return false
		}
	}
	return true
}

// bodyHeader names the header that announces the length of a body, for errors.
var bodyHeader = header.ContentLength.String()
