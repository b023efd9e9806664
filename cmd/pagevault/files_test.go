package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestOpenFiles(t *testing.T) {
	f := func(text string, want int, ok bool) {
		t.Helper()
		if n, found := openFiles(text); n != want || found != ok {
			t.Errorf("%q: got %d, %v", text, n, found)
		}
	}
	const head = "Limit                     Soft Limit           Hard Limit           Units     \nMax cpu time              unlimited            unlimited            seconds   \n"
	f(head+"Max open files            20000                20000                files     \nMax locked memory         8388608              8388608              bytes     \n", 20000, true)
	f(head+"Max open files            unlimited            unlimited            files     \n", 0, false)
	f(head+"Max open files\n", 0, false)
	f(head, 0, false)
	f("", 0, false)
}

func TestWarnFiles(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	warnFiles(log, -filesBeside) // nobody has fewer files than none
	if out.Len() > 0 {
		t.Errorf("warned: %s", &out)
	}
	warnFiles(log, 1<<40)
	if !strings.Contains(out.String(), "level=WARN") || !strings.Contains(out.String(), "connections=1099511627776") {
		t.Errorf("got %q", &out)
	}
}
