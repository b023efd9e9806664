package main

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"pagevault/blobstore"
	"pagevault/internal/clock"
	"pagevault/replication"
)

// TestWatch shows what the alarm says, and when it says nothing. Each step is the states of the members of one or more
// accounts, of which writing needs two, and what is told: ERROR or INFO and parts of the line.
func TestWatch(t *testing.T) {
	now := time.Unix(1e9, 0)
	w := watch{command: func(args ...string) string { return "pagevault " + strings.Join(args, " ") }}
	f := func(pass time.Duration, accounts []string, want string, parts ...string) {
		t.Helper()
		now = now.Add(pass)
		line := w.step(now, healths(accounts))
		got := map[bool]string{false: "INFO", true: "ERROR"}[line.worse]
		if line.text == "" {
			got = ""
		}
		if got != want {
			t.Fatalf("%q: told %q, want %s", accounts, line.text, want)
		}
		for _, part := range parts {
			if !strings.Contains(line.text, part) {
				t.Errorf("%q: told %q without %q", accounts, line.text, part)
			}
		}
		if strings.Contains(line.text, "\n") {
			t.Errorf("%q is more than a line", line.text)
		}
	}
	well, out := "current current current", "current behind current"

	f(0, []string{well, well}, "")
	f(time.Second, []string{well, out}, "ERROR", "member 2 (/disk2) is behind: write error: input/output error. Still two copies of everything; writes go on, but one more failure stops them. ",
		"It is caught up by itself when it works again; if its disk is broken, put an empty one there and run: pagevault member replace 2")
	f(time.Second, []string{out, out}, "") // the same disk
	f(time.Second, []string{"current joining current", out}, "")
	f(time.Second, []string{"current joining current", well}, "")
	f(time.Second, []string{well, well}, "INFO", "all is whole again: 3 members, each up to date")
	f(time.Second, []string{well, well}, "")

	// It comes and goes: no more lines than one in ten minutes, but it is not forgotten.
	f(time.Second, []string{well, out}, "")
	f(time.Second, []string{well, well}, "")
	f(time.Second, []string{out, well}, "")
	f(alarmAgain, []string{out, well}, "ERROR", "member 2 (/disk2)")
	f(time.Second, []string{well, well}, "INFO")

	// Another one meanwhile is another line, and stops writes.
	f(alarmAgain, []string{"absent current current"}, "ERROR", "member 1 (/disk1) is absent", "Mount its disk again, or put an empty one there and run: pagevault member replace 1")
	f(time.Second, []string{"absent current behind !"}, "ERROR", "member 3 (/disk3) is behind", "WRITES ARE REFUSED until 2 of the 3 members work, and 1 do; reads go on")
	f(time.Second, []string{"absent current behind !"}, "")
	f(time.Second, []string{"absent current current"}, "")
	f(time.Second, []string{"absent current behind !"}, "ERROR", "WRITES ARE REFUSED")
	f(time.Second, []string{well}, "INFO")

	// Halted for what no member's state tells.
	f(time.Second, []string{well + " !"}, "ERROR", "too few members can be written. WRITES ARE REFUSED", "This shows which: pagevault member list")
	f(time.Second, []string{well}, "INFO")

	// What cannot be healed is told when it is found; when it is over, that is told, too, however soon that is.
	w.unhealed = true
	f(time.Second, []string{well + " ?"}, "")
	f(time.Second, []string{well}, "INFO", "all is whole again")
	w.unhealed = true
	f(time.Second, []string{well}, "INFO", "all is whole again")

	f(alarmAgain, []string{"foreign current current current current"}, "ERROR", "member 1 (/disk1) holds another history of the store", "4 of 5 members",
		"pagevault member replace 1 --wipe")
}

// healths makes accounts of lines of states; a ! at the end is one that takes no writes, a ? one of which a
// segment cannot be healed.
func healths(accounts []string) (all []blobstore.Health) {
	for _, line := range accounts {
		h := blobstore.Health{Writable: true, MinReplicas: 2}
		for i, state := range strings.Fields(line) {
			if state == "!" {
				h.Writable, h.Degraded = false, true
				continue
			}
			if state == "?" {
				h.Unhealable, h.Degraded = 1, true
				continue
			}
			m := blobstore.MemberHealth{Number: i + 1, Dir: "/disk" + string(rune('1'+i)) + "/account", State: blobstore.MemberState(state)}
			if m.State != blobstore.MemberCurrent {
				h.Degraded = true
			}
			if m.State == blobstore.MemberBehind {
				m.Reason, m.Error = "write error", "input/output error"
			}
			h.Members = append(h.Members, m)
		}
		all = append(all, h)
	}
	return all
}

// TestTellsOfDamage shows the lines about what cannot be healed, of which there are not too many, and about scrubs.
func TestTellsOfDamage(t *testing.T) {
	var out strings.Builder
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo}))
	a := newAlarm(log, clock.NewManual(time.Unix(1e9, 0)), func(args ...string) string { return "pagevault " + strings.Join(args, " ") })
	events := logEvents(log.With("account", "a"), &throttle{clock: a.clock}, a, nil)
	f := func(want ...string) {
		t.Helper()
		if len(want) == 0 && out.Len() > 0 {
			t.Errorf("told %s", out.String())
		}
		for _, part := range want {
			if strings.Count(out.String(), "\n") != 1 || !strings.Contains(out.String(), part) {
				t.Errorf("told %q, want one line with %q", out.String(), part)
			}
		}
		out.Reset()
	}
	lost := replication.Problem{Member: 1, Dir: "/disk2/a", File: "0000000007.seg", Segment: 7, Offset: 64, Reason: "checksum mismatch", Lost: true}
	events.Unhealable(lost)
	f("level=ERROR", "cannot be healed", "account=a", "segment=7", "/disk2/a/0000000007.seg offset 64: checksum mismatch", "pagevault check --online", "put its disk back")
	select {
	case <-a.kicked:
	default:
		t.Error("the alarm does not look")
	}
	if !a.toldLost.Load() {
		t.Error("nobody will be told when it is over")
	}
	for range 1000 {
		events.Unhealable(lost)
	}
	if n := strings.Count(out.String(), "\n"); n != throttleLines-1 {
		t.Errorf("%d more lines of 1000", n)
	}
	out.Reset()
	events.Scrubbed(replication.ScrubResult{})
	f()
	events.Scrubbed(replication.ScrubResult{Problems: 3, Healed: 2})
	f("level=WARN", "what was damaged is healed", "problems=3", "healed_files=2")
	events.Scrubbed(replication.ScrubResult{Problems: 3, Healed: 1, Unhealable: 1})
	f("level=WARN", "not all that is damaged could be healed", "unhealable=1")
}

// TestThrottle shows that a flood is ten lines a minute, and that the next line says how long it was.
func TestThrottle(t *testing.T) {
	var th throttle
	now, told := time.Unix(1e9, 0), 0
	for range 1000 {
		if _, tell := th.take(now); tell {
			told++
		}
	}
	if told != throttleLines {
		t.Errorf("%d lines of 1000", told)
	}
	if skipped, tell := th.take(now.Add(throttleSpan)); !tell || skipped != 1000-throttleLines {
		t.Errorf("a minute later: %v, %d untold", tell, skipped)
	}
	if skipped, tell := th.take(now.Add(throttleSpan)); !tell || skipped != 0 {
		t.Errorf("after that: %v, %d untold", tell, skipped)
	}
}
