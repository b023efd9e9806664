package clock

import (
	"testing"
	"testing/synctest"
	"time"
)

func wentOff(t Timer) bool {
	select {
	case <-t.C():
		return true
	default:
		return false
	}
}

// TestTimers does the same with both clocks. Inside synctest the machine's clock moves when everybody waits.
func TestTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		manual := NewManual(time.Unix(1000, 0))
		for _, c := range []struct {
			Clock
			pass func(time.Duration)
		}{
			{manual, func(d time.Duration) { manual.Advance(d) }},
			{System, func(d time.Duration) { <-time.After(d); synctest.Wait() }},
		} {
			start := c.Now()
			one, two := c.NewTimer(time.Second), c.NewTimer(2*time.Second)
			f := func(what string, first, second bool) {
				t.Helper()
				if a, b := wentOff(one), wentOff(two); a != first || b != second {
					t.Errorf("%T %s: %v and %v went off, wanted %v and %v", c.Clock, what, a, b, first, second)
				}
			}
			f("at once", false, false)
			c.pass(time.Second + time.Millisecond)
			f("after a second", true, false)
			c.pass(time.Second)
			f("after two", false, true)
			one.Reset(time.Second)
			two.Reset(time.Second)
			two.Stop()
			c.pass(2 * time.Second)
			f("after a reset and a stop", true, false)
			one.Reset(time.Second)
			c.pass(time.Second + time.Millisecond)
			one.Reset(time.Second)
			f("reset without looking", false, false)
			c.pass(time.Second + time.Millisecond)
			one.Stop()
			f("stopped without looking", false, false)
			one.Reset(0)
			c.pass(time.Millisecond)
			f("nothing to wait for", true, false)
			if passed := c.Now().Sub(start); passed < 6*time.Second || passed > 7*time.Second {
				t.Errorf("%T: %v have passed", c.Clock, passed)
			}
		}
	})
}
