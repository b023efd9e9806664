package server

import (
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"pagevault/internal/azure/header"
	"pagevault/internal/clock"
)

// dater writes Date by the server's clock. It keeps the text of the last second it was asked about.
type dater struct {
	clock clock.Clock
	last  atomic.Pointer[second]
}

// second is a second since 1970 and its text.
type second struct {
	unix int64
	text []byte // immutable
}

// now returns the time as Date has it. The caller must not change it.
func (d *dater) now() []byte {
	t := d.clock.Now()
	if s := d.last.Load(); s != nil && s.unix == t.Unix() {
		return s.text
	}
	s := &second{unix: t.Unix(), text: header.FormatTime(make([]byte, 0, len(time.RFC1123)), t)}
	d.last.Store(s)
	return s.text
}

// dateAlias has the length of Date and is not a header that fasthttp knows.
const dateAlias = "D-te"

// setDate adds Date to a reply that has none. fasthttp v1.77.0 would write a Date of its own that it renews once a
// second, so that a Last-Modified in the same reply can be later; NoDefaultDate leaves that out. But all its setters
// drop a Date they are given. So the header goes in under another name, which is then written over where it lies.
// TestDate would notice if that changed.
func setDate(h *fasthttp.ResponseHeader, text []byte) {
	h.AddBytesV(dateAlias, text)
	var name []byte
	for k := range h.All() {
		if string(k) == dateAlias {
			name = k
		}
	}
	copy(name, fasthttp.HeaderDate)
}

// blank makes resp a reply of which nothing is said yet. Reset alone would forget how the server set it up, for which
// fasthttp has no setter where Date is concerned.
func (s *Server) blank(resp *fasthttp.Response) {
	resp.Reset()
	s.pristine.CopyTo(&resp.Header)
}

// keepPristine remembers the headers of a reply that has just begun, before the first is set.
func (s *Server) keepPristine(resp *fasthttp.Response) {
	s.pristineOnce.Do(func() {
		resp.Header.CopyTo(&s.pristine)
		s.pristine.DisableNormalizing() // not done yet when nothing could be read
	})
}
