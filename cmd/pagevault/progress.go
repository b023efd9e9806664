package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"pagevault/internal/clock"
)

// isTerminal reports whether somebody looks at what is written.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// progressLines says how far something is whose end is not known: in one line that is written again on a terminal, and in a
// line every ten seconds elsewhere.
type progressLines struct {
	w        io.Writer
	terminal bool
	shown    bool // there is a line on the terminal
	told     time.Time
}

func (p *progressLines) tell(text string) {
	if p.terminal {
		fmt.Fprintf(p.w, "\r\x1b[K%s", text)
		p.shown = true
		return
	}
	if now := clock.System.Now(); now.Sub(p.told) >= progressEvery {
		p.told = now
		fmt.Fprintln(p.w, text)
	}
}

// clear takes the line away.
func (p *progressLines) clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}
