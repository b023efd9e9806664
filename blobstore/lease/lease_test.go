package lease

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"pagevault/internal/azure/azerr"
)

// start is when transcripts begin; what matters is only that it is not the zero time and not a whole second.
var start = time.Date(2026, 3, 1, 12, 0, 0, 345_678_900, time.UTC)

// machine runs the commands of a transcript against one lease.
type machine struct {
	now   time.Time
	state State
}

// TestTranscripts runs testdata/*. Commands:
//
//	reset                                   an available lease, the clock at the start
//	wait 20s                                moves the clock
//	acquire proposed=A duration=15          the five actions; duration=infinite
//	renew id=A
//	change id=A proposed=B
//	release id=A
//	break [period=5]
//	use [id=A] [resource=container]         what a read and a write with this id would be answered
//	written                                 a successful write
//	transitions                             every action from every state
//	uses resource=blob|container            every use in every state
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		m := &machine{now: start}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return m.run(t, d) })
	})
}

func (m *machine) run(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "reset":
		*m = machine{now: start}
		return m.describe()
	case "wait":
		dur, err := time.ParseDuration(d.CmdArgs[0].Key)
		if err != nil {
			t.Fatal(err)
		}
		m.now = m.now.Add(dur)
		return m.describe()
	case "use":
		return m.use(d)
	case "written":
		m.state = m.state.Written(m.now)
		return m.describe()
	case "transitions":
		return transitions()
	case "uses":
		return uses(resource(d))
	}
	r := request(t, d)
	next, result, err := Apply(m.state, r, m.now)
	if err != nil {
		if next != m.state {
			t.Errorf("%s: the state changed from %+v to %+v although it failed", d.Cmd, m.state, next)
		}
		return verdict(err) + "\n" + m.describe()
	}
	m.state = next
	return reply(r, result) + "\n" + m.describe()
}

func request(t *testing.T, d *datadriven.TestData) Request {
	action, ok := ParseAction(d.Cmd)
	if !ok {
		t.Fatalf("unknown command %q", d.Cmd)
	}
	r := Request{Action: action}
	for _, arg := range d.CmdArgs {
		v := arg.Vals[0]
		switch arg.Key {
		case "id":
			r.ID = v
		case "proposed":
			r.Proposed = v
		case "duration":
			r.Seconds = Infinite
			if v != "infinite" {
				r.Seconds = number(t, v)
			}
		case "period":
			r.HasPeriod, r.Period = true, number(t, v)
		default:
			t.Fatalf("unknown argument %q", arg.Key)
		}
	}
	return r
}

func number(t *testing.T, v string) int {
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func resource(d *datadriven.TestData) Resource {
	if arg, ok := d.Arg("resource"); ok && arg.Vals[0] == "container" {
		return Container
	}
	return Blob
}

func reply(r Request, result Result) string {
	switch {
	case r.Action == Break:
		return fmt.Sprintf("ok, time %d", result.TimeSeconds)
	case result.ID != "":
		return "ok, id " + result.ID
	default:
		return "ok"
	}
}

// describe returns the state as clients see it, with the id and the time that is left.
func (m *machine) describe() string { return describe(m.state, m.now) }

func describe(s State, now time.Time) string {
	info := s.Info(now)
	out := info.Status.String()
	if s.ID != "" {
		out += "(" + s.ID + ")"
	}
	if info.Status.Locked() {
		out += " locked"
	} else {
		out += " unlocked"
	}
	if d := info.Duration(); d != "" {
		out += " " + d
	}
	if info.Status.Locked() && !s.Until.IsZero() {
		out += " for " + s.Until.Sub(now).String()
	}
	return out
}

func (m *machine) use(d *datadriven.TestData) string {
	id := ""
	if arg, ok := d.Arg("id"); ok {
		id = arg.Vals[0]
	}
	return "read: " + verdict(m.state.CheckRead(resource(d), id, m.now)) +
		"\nwrite: " + verdict(m.state.CheckWrite(resource(d), id, m.now))
}

// verdict names the code of an error and what it points at.
func verdict(err error) string {
	var coded *azerr.Error
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &coded):
		return coded.Code.Wire() + fmt.Sprint(" ", coded.Details)
	default:
		return err.(azerr.Code).Wire()
	}
}

// states are the columns of the protocol's tables, each reached by requests from an available lease held by A.
var states = []struct {
	name   string
	script []Request
	wait   time.Duration
}{
	{"available", nil, 0},
	{"leased(A)", []Request{{Action: Acquire, Proposed: "A", Seconds: 30}}, 10 * time.Second},
	{"leased(A) infinite", []Request{{Action: Acquire, Proposed: "A", Seconds: Infinite}}, 10 * time.Second},
	{"breaking(A)", []Request{{Action: Acquire, Proposed: "A", Seconds: 30}, {Action: Break}}, 10 * time.Second},
	{"broken(A)", []Request{{Action: Acquire, Proposed: "A", Seconds: 30}, {Action: Break, HasPeriod: true}}, 10 * time.Second},
	{"expired(A)", []Request{{Action: Acquire, Proposed: "A", Seconds: 30}}, 40 * time.Second},
}

// inState returns the state of a column and the time at which it is looked at.
func inState(i int) (State, time.Time) {
	var s State
	for _, r := range states[i].script {
		next, _, err := Apply(s, r, start)
		if err != nil {
			panic(err)
		}
		s = next
	}
	return s, start.Add(states[i].wait)
}

func transitions() string {
	rows := []struct {
		name string
		r    Request
	}{
		{"acquire B for 15", Request{Action: Acquire, Proposed: "B", Seconds: 15}},
		{"acquire A for 15", Request{Action: Acquire, Proposed: "A", Seconds: 15}},
		{"acquire A infinite", Request{Action: Acquire, Proposed: "A", Seconds: Infinite}},
		{"renew A", Request{Action: Renew, ID: "A"}},
		{"renew B", Request{Action: Renew, ID: "B"}},
		{"change A to B", Request{Action: Change, ID: "A", Proposed: "B"}},
		{"change A to A", Request{Action: Change, ID: "A", Proposed: "A"}},
		{"change B to A", Request{Action: Change, ID: "B", Proposed: "A"}},
		{"change B to C", Request{Action: Change, ID: "B", Proposed: "C"}},
		{"release A", Request{Action: Release, ID: "A"}},
		{"release B", Request{Action: Release, ID: "B"}},
		{"break", Request{Action: Break}},
		{"break after 0", Request{Action: Break, HasPeriod: true}},
		{"break after 5", Request{Action: Break, HasPeriod: true, Period: 5}},
		{"break after 60", Request{Action: Break, HasPeriod: true, Period: 60}},
	}
	var b strings.Builder
	for _, row := range rows {
		fmt.Fprintln(&b, row.name)
		for i := range states {
			s, now := inState(i)
			next, result, err := Apply(s, row.r, now)
			if err != nil {
				fmt.Fprintf(&b, "  %-18s  %v\n", states[i].name, verdict(err))
				continue
			}
			fmt.Fprintf(&b, "  %-18s  %s -> %s\n", states[i].name, reply(row.r, result), describe(next, now))
		}
	}
	return b.String()
}

func uses(res Resource) string {
	var b strings.Builder
	for _, id := range []string{"", "A", "B"} {
		for _, write := range []bool{true, false} {
			kind := "read"
			if write {
				kind = "write"
			}
			fmt.Fprintf(&b, "%s, id %q\n", kind, id)
			for i := range states {
				s, now := inState(i)
				err := s.CheckRead(res, id, now)
				if write {
					err = s.CheckWrite(res, id, now)
				}
				line := verdict(err)
				if write && err == nil && res == Blob {
					line += " -> " + describe(s.Written(now), now)
				}
				fmt.Fprintf(&b, "  %-18s  %s\n", states[i].name, line)
			}
		}
	}
	return b.String()
}

func TestParseAction(t *testing.T) {
	for _, v := range []string{"acquire", "Renew", "CHANGE", "release", "bReak"} {
		a, ok := ParseAction(v)
		if !ok || a.String() != strings.ToLower(v) {
			t.Errorf("%q: got %v, %v", v, a, ok)
		}
	}
	for _, v := range []string{"", "acquir", "acquires", "break ", "steal"} {
		if a, ok := ParseAction(v); ok {
			t.Errorf("%q: got %v, want a refusal", v, a)
		}
	}
}

// TestPhaseAtTheEdge: a lease is over at the very moment its time is up, not a tick later.
func TestPhaseAtTheEdge(t *testing.T) {
	s := held("A", 15, start)
	if got := s.Status(start.Add(15*time.Second - tick)); got != Leased {
		t.Errorf("one tick before: %v", got)
	}
	if got := s.Status(start.Add(15 * time.Second)); got != Expired {
		t.Errorf("at the time: %v", got)
	}
}
