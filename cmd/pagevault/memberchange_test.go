package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pagevault/blobstore"
)

// TestMemberCommands shows what commands that change members ask the server, and what they print of what it answers.
func TestMemberCommands(t *testing.T) {
	var asked, answer string
	status := http.StatusOK
	side := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Method + " " + r.URL.String()
		if r.Method == http.MethodGet && status == http.StatusOK && answer == "" {
			fmt.Fprint(w, `{"accounts":[{"account":"a","redundancy":"rs:2+1","copyBytes":1024,"shardBytes":3072,"underReplicatedBytes":512}]}`)
			return
		}
		w.WriteHeader(status)
		fmt.Fprint(w, answer)
	}))
	defer side.Close()
	f := func(args, wantAsked string, code int, stdout, stderr string) {
		t.Helper()
		var out, errs strings.Builder
		got := run(append(strings.Fields(args), "--admin", side.URL), &out, &errs)
		if got != code || asked != wantAsked || out.String() != strings.ReplaceAll(stdout, "ADMIN", side.URL) || errs.String() != strings.ReplaceAll(stderr, "ADMIN", side.URL) {
			t.Errorf("%s: asked %s\nended with %d\n%s%s\nwant %s\n%d\n%s%s", args, asked, got, out.String(), errs.String(), wantAsked, code, stdout, stderr)
		}
	}

	const next = "the next disk may be changed when that says current, and nothing lacks a copy or a shard\n"
	answer = `{"member":2,"from":"/d2","dir":"/d2","accounts":["a"],"replicas":["/d1","/d2"]}`
	f("member replace 2 --account a --wipe", "POST /members/replace?account=a&member=2&wipe=true", 0,
		"member 2 of account a begins anew in /d2\nit is filled in the background; this shows how far it is: pagevault member list --admin ADMIN\n"+next, "")
	f("member replace 2 --json", "POST /members/replace?member=2&wipe=false", 0, answer, "")
	answer = `{"member":2,"from":"/d2","dir":"/new disk","accounts":["a","b"],"replicas":["/d1","/new disk"]}`
	f("member replace 2 --dir x/../new", "POST /members/replace?dir="+strings.ReplaceAll(must(filepath.Abs("new")), "/", "%2F")+"&member=2&wipe=false", 0,
		"member 2 of 2 accounts is /new disk now, and no longer /d2\nit is filled in the background; this shows how far it is: pagevault member list --admin ADMIN\n"+next+
			"from now on the server has to be started with: --replica /d1 --replica '/new disk'\n", "")
	answer = `{"member":3,"dir":"/d3","accounts":["a"],"replicas":["/d1","/d2","/d3"]}`
	f("member replace 3 --dir /d3", "POST /members/replace?dir=%2Fd3&member=3&wipe=false", 0,
		"there is a new member 3 of account a: /d3\nit is filled in the background; this shows how far it is: pagevault member list --admin ADMIN\n"+next+
			"from now on the server has to be started with: --replica /d1 --replica /d2 --replica /d3\n", "")

	answer = `{"account":"a","underReplicatedBytes":1048576}
{"account":"a","done":true}
{"change":{"member":3,"from":"/d3","accounts":["a"],"replicas":["/d1","/d2"]}}
`
	const gone = "account a: done\nmember 3 of account a is gone: what it held is on the others, and /d3 is not written to any more\n" +
		"from now on the server has to be started with: --replica /d1 --replica /d2\n"
	const moving = "account a: what it holds is moved to the others; 1 MiB lack a copy or a shard\n"
	f("member retire 3", "POST /members/retire?member=3", 0, gone, moving)
	f("member retire 3 --json", "POST /members/retire?member=3", 0, answer, "")
	answer = `{"account":"a","done":true}
{"account":"b","error":"the disk is full"}
{"error":"account b: the disk is full; done for: a"}
`
	f("member retire 3 --account a", "POST /members/retire?account=a&member=3", exitFailure, "account a: done\n", "pagevault: account b: the disk is full; done for: a\n")
	answer = "{\"account\":\"a\",\"done\":true}\n"
	f("member retire 3", "POST /members/retire?member=3", exitFailure, "account a: done\n", "pagevault: the server's answer ends early: unexpected EOF\n")

	answer = `{"redundancy":"rs:2+1","accounts":["a","b"]}`
	f("member redundancy rs:2+1", "POST /redundancy?policy=rs%3A2%2B1", 0, "redundancy is rs:2+1 from now on: a, b\n"+
		"what is sealed already is converted in the background; this shows how far it is: pagevault member redundancy --admin ADMIN\n"+
		"a server that is started with --redundancy has to be given --redundancy rs:2+1 from now on\n", "")
	answer = ""
	f("member redundancy", "GET /members", 0, "account a: redundancy rs:2+1; 1 KiB are copies and 3 KiB shards, on all members together; 512 B lack a copy or a shard\n", "")

	status, answer = http.StatusConflict, "account a: the directory is not empty\n"
	for command, asked := range map[string]string{"member replace 1": "POST /members/replace?member=1&wipe=false", "member retire 1": "POST /members/retire?member=1",
		"member redundancy 3": "POST /redundancy?policy=3"} {
		f(command, asked, exitFailure, "", "pagevault: ADMIN answers 409 Conflict: account a: the directory is not empty\n")
	}
	f("scrub", "POST /scrub?rate=0", exitNotChecked, "", "pagevault: ADMIN answers 409 Conflict: account a: the directory is not empty\n")
}

// TestDescribeScrub shows what is said of runs and of what came of them.
func TestDescribeScrub(t *testing.T) {
	f := func(s blobstore.ScrubState, want string) {
		t.Helper()
		if got := describeScrub(&s); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	at := time.Unix(1e9, 0)
	f(blobstore.ScrubState{}, "not yet read and compared as a whole")
	f(blobstore.ScrubState{Running: true}, "not yet read and compared as a whole; the first run has begun")
	f(blobstore.ScrubState{Running: true, Bytes: 34, Total: 100}, "not yet read and compared as a whole; 34 % of the first run")
	f(blobstore.ScrubState{Finished: &at, AgeSeconds: 3*3600 + 59}, "everything was last read and compared 3h ago, nothing wrong")
	f(blobstore.ScrubState{Finished: &at, AgeSeconds: 3 * 24 * 3600, Problems: 1, Healed: 2}, "everything was last read and compared 3d ago, 1 problem found, 2 files healed")
	f(blobstore.ScrubState{Finished: &at, AgeSeconds: 90, Running: true, Bytes: 1, Total: 2, Problems: 3, Unhealable: 1},
		"everything was last read and compared 1m ago; 50 % of the next run, 3 problems found, 0 files healed, 1 CANNOT BE HEALED")

	s := blobstore.ScrubSummary{Account: "a", Bytes: 2 << 20, Seconds: 2, Problems: 2, Healed: 1, Unhealable: 1, Healing: 1, NotRead: []int{2, 3}, Error: "log is closed"}
	const want = `account a: 2.0 MiB read and compared at 1.0 MiB/s: 2 problems found, 1 file healed, 1 CANNOT BE HEALED
account a: 1 segment still to be healed, which goes on in the background
account a: members 2 and 3 are not up to date, and what they hold was not read
account a: put absent members back if there are any; this finds the blobs that are hit: pagevault check --online
account a: not complete: log is closed`
	if got := describeScrubSummary(&s, func(args string) string { return "pagevault " + args }); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var out strings.Builder
	p := progressLines{w: &out, terminal: true}
	p.tell("one")
	p.tell("two")
	p.clear()
	p.clear()
	if got := out.String(); got != "\r\x1b[Kone\r\x1b[Ktwo\r\x1b[K" {
		t.Errorf("on a terminal: %q", got)
	}
}
