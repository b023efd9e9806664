//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pagevault/internal/testkit"
)

const (
	// noticeBound is how soon a fault must be told: a stall is one after 2 s, and probes come every second.
	noticeBound = 20 * time.Second
	// healBound is how soon a few MiB must be on all members again, also where an attempt has to fail first: attempts are
	// up to a minute apart.
	healBound = 90 * time.Second
	// faultWrites are acknowledged while a fault lasts.
	faultWrites = 150
)

// A fleet is a server whose members live in directories that are chosen, so that one can be hurt, with the workload that
// it serves.
type fleet struct {
	t      *testing.T
	homes  []string // of members 1, 2, 3 …
	server *testkit.Server
	w      *workload
	r      *round
	rounds int
	rng    *rand.Rand

	requests []string // what the meters of the rounds said
}

// newFleet starts a server with a member in each of the directories, and makes the blobs of the workload. args come on top
// of those of eager.
func newFleet(t *testing.T, homes []string, args ...string) *fleet {
	t.Helper()
	seed := testkit.Seed(t)
	f := &fleet{t: t, homes: homes, rng: rand.New(rand.NewPCG(seed, 2)), w: newWorkload(seed)}
	f.w.readers = 2
	args = append(slices.Clone(eager), args...)
	for _, h := range homes {
		args = append(args, "--replica", h)
	}
	f.server = testkit.StartServer(t, testkit.ServerOptions{Args: args})
	f.w.create(t, f.server)
	return f
}

// plainHomes returns n new directories, and puts those given in the first places.
func plainHomes(t *testing.T, n int, special ...string) []string {
	t.Helper()
	top := t.TempDir()
	homes := slices.Clone(special)
	for i := len(homes); i < n; i++ {
		homes = append(homes, filepath.Join(top, fmt.Sprintf("member-%d", i+1)))
	}
	return homes
}

// account returns the directory in which a member, from 1, has the files of the account.
func (f *fleet) account(number int) string {
	return filepath.Join(f.homes[number-1], testkit.Account)
}

// load sets the workload to work and returns when some writes have been acknowledged.
func (f *fleet) load(acks int64) {
	f.t.Helper()
	f.r = f.w.start(f.t, f.server, f.rounds)
	f.rounds++
	f.t.Cleanup(func() { f.w.killed.Store(true) }) // of a test that has failed: before the server is stopped
	f.r.awaitAcks(f.t, acks)
}

// goOn returns when so many more writes have been acknowledged.
func (f *fleet) goOn(acks int64) {
	f.t.Helper()
	f.r.awaitAcks(f.t, f.w.acks.Load()+acks)
}

// unload ends the load. No request of it may have failed.
func (f *fleet) unload() {
	f.t.Helper()
	f.r.finish(f.t)
	if n := f.r.meter.failed(); n > 0 {
		f.t.Errorf("%d requests failed", n)
	}
	f.requests = append(f.requests, f.r.meter.String())
	f.r = nil
}

// kill ends the server as kill -9 does, and the load with it. No request before that may have failed.
func (f *fleet) kill() {
	f.t.Helper()
	f.w.killed.Store(true)
	f.server.Kill9(f.t)
	f.r.end(f.t)
	f.r = nil
}

// verify compares all that the server shows with what was acknowledged, and takes it as the truth from here on.
func (f *fleet) verify() {
	f.t.Helper()
	f.w.verify(f.t, f.server, f.rng, f.w.snapshots())
}

// awaitState returns when the server tells that a member, from 1, is current, or that it is not.
func (f *fleet) awaitState(number int, current bool) {
	f.t.Helper()
	what := fmt.Sprintf("current: member %d", number)
	if !current {
		what = fmt.Sprintf("told that member %d has failed", number)
	}
	f.server.AwaitMembers(f.t, noticeBound, what, func(m *testkit.Membership) bool {
		return (m.Member(f.t, number).State == testkit.StateCurrent) == current
	})
}

// awaitWhole returns when all members are current and nothing lacks a copy.
func (f *fleet) awaitWhole() {
	f.t.Helper()
	f.server.AwaitMembers(f.t, healBound, "whole", (*testkit.Membership).Whole)
}

// command runs a command of the binary that asks the running server.
func (f *fleet) command(args ...string) string {
	f.t.Helper()
	return testkit.Run(f.t, append([]string{testkit.Binary(f.t)}, append(args, "--admin", f.server.AdminURL())...)...)
}

// replace gives a member, from 1, the directory it had anew: what is in it goes.
func (f *fleet) replace(number int) {
	f.t.Helper()
	if err := os.MkdirAll(f.homes[number-1], 0o755); err != nil {
		f.t.Fatal(err)
	}
	f.command("member", "replace", fmt.Sprint(number), "--wipe")
}

// checkTold checks that the failure of a member, from 1, is told in every place where an operator looks.
func (f *fleet) checkTold(number int) {
	f.t.Helper()
	state := f.server.Members(f.t).Member(f.t, number).State
	if list := f.command("member", "list"); !strings.Contains(list, state) || !strings.Contains(list, f.homes[number-1]) {
		f.t.Errorf("member %d is %s, and member list does not tell:\n%s", number, state, list)
	}
	found := false
	for line := range strings.Lines(f.server.Get(f.t, "/metrics")) {
		if strings.HasPrefix(line, "pagevault_member_state{") && strings.Contains(line, fmt.Sprintf("member=%q", fmt.Sprint(number))) &&
			strings.Contains(line, fmt.Sprintf("state=%q", testkit.StateCurrent)) {
			found = true
			if strings.HasSuffix(strings.TrimSpace(line), " 1") {
				f.t.Errorf("member %d is %s, and the metrics tell %s", number, state, line)
			}
		}
	}
	if !found {
		f.t.Errorf("the metrics do not tell the state of member %d", number)
	}
	if ready := f.server.Get(f.t, "/readyz"); !strings.Contains(ready, "degraded") {
		f.t.Errorf("a member is %s, and /readyz says %q", state, ready)
	}
	testkit.Await(f.t, noticeBound, fmt.Sprintf("alarm about member %d", number), func() bool { return f.alarms(number) > 0 })
}

// alarms counts the lines of the log that raise the alarm about a member, from 1.
func (f *fleet) alarms(number int) (n int) {
	for line := range strings.Lines(f.server.Output()) {
		if strings.Contains(line, "level=ERROR") && strings.Contains(line, fmt.Sprintf("member %d (%s)", number, f.homes[number-1])) {
			n++
		}
	}
	return n
}

// close stops the server in order and checks that the members hold the same, whole.
func (f *fleet) close() {
	f.t.Helper()
	f.server.Stop(f.t)
	compareDirs(f.t, f.homes)
	f.check()
	f.t.Logf("requests: %s", strings.Join(f.requests, "; "))
}

// check has pagevault check everything that is stored, while no server runs.
func (f *fleet) check() {
	f.t.Helper()
	args := []string{testkit.Binary(f.t), "check", "--data", f.server.Data()}
	for _, h := range f.homes {
		args = append(args, "--replica", h)
	}
	if out := testkit.Run(f.t, args...); !strings.Contains(out, "no problems found") {
		f.t.Fatalf("check says:\n%s", out)
	}
}
