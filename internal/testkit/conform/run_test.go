package conform

import (
	"strings"
	"testing"
)

// TestRun runs a list of the kinds of tests there are and looks at what is said of each.
func TestRun(t *testing.T) {
	before := Tests
	defer func() { Tests = before }()
	var trace strings.Builder
	Tests = []Test{
		{"Good", func(t T, env *Env) {
			t.Cleanup(func() { trace.WriteString("first ") })
			t.Cleanup(func() { trace.WriteString("last ") })
			t.Run("part", func(t T) { t.Logf("a note") })
		}},
		{"Bad", func(t T, env *Env) {
			t.Cleanup(func() { t.Fatalf("cleaning") })
			t.Cleanup(func() { trace.WriteString("still ") })
			t.Run("part", func(t T) {
				t.Errorf("one")
				t.Fatalf("two")
				t.Errorf("three")
			})
			trace.WriteString("on ")
		}},
		{"Panics", func(t T, env *Env) { panic("four") }},
		{"Unwanted", func(t T, env *Env) { t.Errorf("five") }},
	}
	var out strings.Builder
	failed, ran := Run(&Env{}, &out, func(name string) bool { return name != "Unwanted" })
	if strings.Join(failed, " ") != "Bad Panics" || ran != 3 {
		t.Errorf("failed %v of %d", failed, ran)
	}
	if got := trace.String(); got != "last first on still " {
		t.Errorf("trace %q", got)
	}
	want := "  Good/part: a note\nok   Good\n  Bad/part: one\n  Bad/part: two\n  Bad: cleaning\nFAIL Bad\n  Panics: panic: four\nFAIL Panics\n"
	if out.String() != want {
		t.Errorf("said:\n%s\nwant:\n%s", out.String(), want)
	}
}
