package immutable

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"pagevault/internal/azure/azerr"
)

// start is when transcripts begin.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// machine runs the commands of a transcript against one blob.
type machine struct {
	now   time.Time
	state State
}

// TestTranscripts runs testdata/*. Commands:
//
//	reset                      a blob without protection, the clock at the start
//	wait 20s                   moves the clock; -20s moves it back
//	set mode=locked for=1h     sets a policy that ends so long after now; days=2 too
//	unset                      takes the policy away
//	hold, unhold               the legal hold
//	acts                       what may be done now
//	table                      what may be done in every state
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		m := &machine{now: start}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return m.run(t, d) })
	})
}

func (m *machine) run(t *testing.T, d *datadriven.TestData) string {
	var err error
	before := m.state
	switch d.Cmd {
	case "reset":
		*m = machine{now: start}
	case "wait":
		m.now = m.now.Add(duration(t, d.CmdArgs[0].Key))
	case "set":
		m.state, err = m.state.Set(policy(t, d, m.now), m.now)
	case "unset":
		m.state, err = m.state.Unset()
	case "hold", "unhold":
		m.state.Hold = d.Cmd == "hold"
	case "acts":
		return acts(m.state, m.now)
	case "table":
		return table()
	default:
		t.Fatalf("unknown command %q", d.Cmd)
	}
	if err != nil && m.state != before {
		t.Errorf("%s: the state changed although it failed", d.Cmd)
	}
	out := m.describe()
	if err != nil {
		out = verdict(err) + "\n" + out
	}
	return out
}

func duration(t *testing.T, text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func policy(t *testing.T, d *datadriven.TestData, now time.Time) Policy {
	var mode, length string
	var days int
	d.MaybeScanArgs(t, "for", &length)
	d.MaybeScanArgs(t, "days", &days)
	d.MaybeScanArgs(t, "mode", &mode)
	p := Policy{Until: now.AddDate(0, 0, days)}
	if length != "" {
		p.Until = p.Until.Add(duration(t, length))
	}
	for m := Unlocked; m <= Locked; m++ {
		if m.String() == mode {
			p.Mode = m
		}
	}
	return p
}

func verdict(err error) string {
	if err == nil {
		return "ok"
	}
	e := azerr.From(err)
	return fmt.Sprintf("%d %s", e.Code.Status(), e.Code.Wire())
}

func (m *machine) describe() string {
	p := "no policy"
	if m.state.Policy.Mode != None {
		p = fmt.Sprintf("%v, until %v; now %v", m.state.Policy.Mode, m.state.Policy.Until.Format(time.DateTime), m.now.Format(time.DateTime))
	}
	if m.state.Hold {
		p += ", held"
	}
	return p
}

func acts(s State, now time.Time) string {
	var lines []string
	for act := Read; act < Acts; act++ {
		lines = append(lines, fmt.Sprintf("%-8v %s", act, verdict(s.Check(act, now))))
	}
	return strings.Join(lines, "\n")
}

// table shows every act in every state, a column for each act.
func table() string {
	rows := []string{fmt.Sprintf("%-22s", "") + "annotate modify   replace  delete"}
	for _, mode := range []Mode{None, Unlocked, Locked} {
		for _, over := range []bool{false, true} {
			for _, hold := range []bool{false, true} {
				if mode == None && over {
					continue
				}
				s := State{Hold: hold, Policy: Policy{Mode: mode, Until: start.Add(time.Hour)}}
				now := start
				name := mode.String()
				if mode == None {
					s.Policy, name = Policy{}, "nothing"
				}
				if over {
					now, name = s.Policy.Until, name+", over"
				}
				if hold {
					name += ", held"
				}
				line := fmt.Sprintf("%-22s", name)
				for act := Annotate; act < Acts; act++ {
					word := "yes"
					if err := s.Check(act, now); err != nil {
						word = "no"
					}
					line += fmt.Sprintf("%-9s", word)
				}
				rows = append(rows, strings.TrimRight(line, " "))
			}
		}
	}
	return strings.Join(rows, "\n")
}

// TestLockedOnlyGrows: whatever is asked of a locked policy, in whatever order and at whatever times, its end never comes
// nearer, and what it protects cannot be deleted before.
func TestLockedOnlyGrows(t *testing.T) {
	lengths := []time.Duration{-time.Hour, 0, time.Second, time.Hour, 24 * time.Hour, 1<<63 - 1}
	s, err := State{}.Set(Policy{Locked, start.Add(time.Hour)}, start)
	if err != nil {
		t.Fatal(err)
	}
	for _, wait := range []time.Duration{0, time.Minute, -time.Hour, 2 * time.Hour} {
		for _, length := range lengths {
			for mode := None; mode <= Locked; mode++ {
				now := start.Add(wait)
				next, err := s.Set(Policy{mode, now.Add(length)}, now)
				if err != nil && next != s {
					t.Errorf("%v %v at %v: changed although refused", mode, length, wait)
				}
				if next.Policy.Mode != Locked || next.Policy.Until.Before(s.Policy.Until) {
					t.Errorf("%v %v at %v: locked until %v became %+v", mode, length, wait, s.Policy.Until, next.Policy)
				}
			}
		}
		if next, err := s.Unset(); !errors.Is(err, azerr.ImmutabilityPolicyDeleteOnLockedPolicy) || next != s {
			t.Errorf("a locked policy was taken away: %+v, %v", next, err)
		}
	}
	if err := s.Check(Delete, s.Policy.Until.Add(-1)); !errors.Is(err, azerr.BlobImmutableDueToPolicy) {
		t.Errorf("a moment before the end: %v", err)
	}
}
