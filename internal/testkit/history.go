package testkit

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"
)

// PageSize is Azure's page, in bytes: what a page blob is addressed in.
const PageSize = 512

// A Stamp names the content of one page: who wrote it, in which write, as which page of that write. Zero is the page
// that reads as zeros: never written, or cleared.
type Stamp uint64

// NewStamp returns the stamp of page i of the writer's write number seq. seq starts at 1.
func NewStamp(writer, seq, i int) Stamp {
	return Stamp(writer)<<56 | Stamp(seq)<<16 | Stamp(i)
}

// Writer returns who wrote it.
func (s Stamp) Writer() int { return int(s >> 56) }

// Seq returns in which of the writer's writes.
func (s Stamp) Seq() int { return int(s >> 16 & (1<<40 - 1)) }

// Page returns as which page of that write.
func (s Stamp) Page() int { return int(s & (1<<16 - 1)) }

func (s Stamp) String() string {
	if s == 0 {
		return "zeros"
	}
	return fmt.Sprintf("writer %d write %d page %d", s.Writer(), s.Seq(), s.Page())
}

// Fill writes the page that s names to dst[:PageSize]: the stamp, then bytes that follow from it and do not compress.
func (s Stamp) Fill(dst []byte) {
	dst = dst[:PageSize]
	if s == 0 {
		clear(dst)
		return
	}
	x := uint64(s)
	for i := 0; i < PageSize; i += 8 {
		binary.LittleEndian.PutUint64(dst[i:], x)
		x ^= x << 13 // xorshift64: fast, never zero, and every word depends on the stamp
		x ^= x >> 7
		x ^= x << 17
	}
}

// ReadStamp returns the stamp of a page. The error says that the bytes are those of no page ever written: torn, mixed
// or damaged.
func ReadStamp(page []byte) (Stamp, error) {
	s := Stamp(binary.LittleEndian.Uint64(page))
	var want [PageSize]byte
	s.Fill(want[:])
	for i := range want {
		if page[i] != want[i] {
			return 0, fmt.Errorf("starts like the page of %v, but differs from byte %d on", s, i)
		}
	}
	return s, nil
}

// ReadStamps returns the stamps of the pages of data.
func ReadStamps(data []byte) ([]Stamp, error) {
	stamps := make([]Stamp, len(data)/PageSize)
	for i := range stamps {
		s, err := ReadStamp(data[i*PageSize : (i+1)*PageSize])
		if err != nil {
			return nil, fmt.Errorf("page %d: %w", i, err)
		}
		stamps[i] = s
	}
	return stamps, nil
}

// History records writes to the pages of one blob by many writers at once and says what each page may hold afterwards.
// Times are ticks of its own counter. Safe for concurrent use.
//
// A write takes effect at one moment between its beginning and its acknowledgement; one that was never acknowledged may
// have taken effect at any moment since it began, or never. So a page may hold the content of a write unless another
// write to it, acknowledged, began after that one was acknowledged.
type History struct {
	mu struct {
		sync.Mutex
		now    int64
		base   []Stamp // what the pages held when the history began
		writes []*Write
	}
}

// A Write is a change of the pages [first, first+len(stamps)) that has begun.
type Write struct {
	h          *History
	first      int
	stamps     []Stamp
	begun, end int64 // end is math.MaxInt64 until acknowledged
}

// NewHistory returns the history of a blob of that many pages, all zeros.
func NewHistory(pages int) *History {
	h := &History{}
	h.mu.base = make([]Stamp, pages)
	return h
}

// Now returns the present moment; everything recorded before lies before it, everything after lies after it.
func (h *History) Now() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.now++
	return h.mu.now
}

// Begin records that a write is about to be sent. It keeps stamps.
func (h *History) Begin(first int, stamps []Stamp) *Write {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.now++
	w := &Write{h: h, first: first, stamps: stamps, begun: h.mu.now, end: math.MaxInt64}
	h.mu.writes = append(h.mu.writes, w)
	return w
}

// Acknowledged records that the server has said it is done.
func (w *Write) Acknowledged() {
	w.h.mu.Lock()
	defer w.h.mu.Unlock()
	w.h.mu.now++
	w.end = w.h.mu.now
}

// Moment is when something was looked at: at some time not before From and not after To.
type Moment struct{ From, To int64 }

// Final is the moment after everything.
var Final = Moment{math.MaxInt64, math.MaxInt64}

// Check compares what was read of all pages, as of a moment, with what they may hold then. A look at a moment sees a
// whole past: if it shows a write, it shows everything acknowledged before that write began.
func (h *History) Check(got []Stamp, at Moment) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(got) != len(h.mu.base) {
		return fmt.Errorf("%d pages read, want %d", len(got), len(h.mu.base))
	}
	over := make([][]*Write, len(got)) // the writes over each page
	for _, w := range h.mu.writes {
		if w.begun > at.To {
			continue
		}
		for i := range w.stamps {
			over[w.first+i] = append(over[w.first+i], w)
		}
	}
	from := at.From
	for p, s := range got {
		for _, w := range over[p] {
			if w.stamps[p-w.first] == s && onlySource(over[p], h.mu.base[p], w, p) {
				from = max(from, w.begun)
			}
		}
	}
	for p, s := range got {
		if err := h.checkPageLocked(p, s, over[p], from); err != nil {
			return err
		}
	}
	return nil
}

// CheckSome compares what was read of the pages from first on with what each of them, by itself, may hold at that moment.
// Unlike Check it does not ask that the pages show one moment: a read beside writers may see a part of a write.
func (h *History) CheckSome(first int, got []Stamp, at Moment) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	over := make([][]*Write, len(got))
	for _, w := range h.mu.writes {
		if w.begun > at.To {
			continue
		}
		for p := max(first, w.first); p < min(first+len(got), w.first+len(w.stamps)); p++ {
			over[p-first] = append(over[p-first], w)
		}
	}
	for i, s := range got {
		if err := h.checkPageLocked(first+i, s, over[i], at.From); err != nil {
			return err
		}
	}
	return nil
}

// onlySource reports whether nothing but w can have given page p the content that w gives it.
func onlySource(over []*Write, base Stamp, w *Write, p int) bool {
	s := w.stamps[p-w.first]
	if base == s {
		return false
	}
	for _, o := range over {
		if o != w && o.stamps[p-o.first] == s {
			return false
		}
	}
	return true
}

// checkPageLocked checks one page, given that everything acknowledged before from is seen.
func (h *History) checkPageLocked(p int, got Stamp, over []*Write, from int64) error {
	latest := int64(0) // the beginning of the latest write that must be seen, or what came after it
	for _, w := range over {
		if w.end < from {
			latest = max(latest, w.begun)
		}
	}
	if got == h.mu.base[p] && latest == 0 {
		return nil
	}
	for _, w := range over {
		if w.stamps[p-w.first] == got && w.end >= latest {
			return nil
		}
	}
	return fmt.Errorf("page %d holds %v; %s", p, got, h.explainLocked(p, over, latest))
}

// explainLocked lists what the page may hold.
func (h *History) explainLocked(p int, over []*Write, latest int64) string {
	text := "may hold"
	if latest == 0 {
		text += fmt.Sprintf(" [%v, as before]", h.mu.base[p])
	}
	shown := 0
	for _, w := range over {
		if w.end < latest {
			continue
		}
		if shown++; shown > 8 {
			return text + " …"
		}
		state := "never acknowledged"
		if w.end < math.MaxInt64 {
			state = fmt.Sprintf("acknowledged at %d", w.end)
		}
		text += fmt.Sprintf(" [%v, begun at %d, %s]", w.stamps[p-w.first], w.begun, state)
	}
	return text
}

// Restart begins a new history from what the pages hold now: no write of the old one is under way any more.
func (h *History) Restart(pages []Stamp) {
	h.mu.Lock()
	defer h.mu.Unlock()
	copy(h.mu.base, pages)
	h.mu.writes = nil
}

// Acknowledgements returns how many writes were begun and how many acknowledged since the last Restart.
func (h *History) Acknowledgements() (begun, acknowledged int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.mu.writes {
		if w.end < math.MaxInt64 {
			acknowledged++
		}
	}
	return len(h.mu.writes), acknowledged
}
