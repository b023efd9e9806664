package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/rogpeppe/go-internal/testscript"

	"pagevault/internal/testkit/formatreader"
)

// checkCommands are the commands of scripts about checks:
//
//	put URL PAGES        makes a page blob of PAGES pages at URL, whose container is made if need be, and fills it with
//	                     bytes that follow from its name
//	fingerprint DIR FILE writes names, lengths and checksums of all files below DIR, but for locks, to FILE
//	problems ARGS        runs a command, which must end with 1 and nothing on stderr
//	unchecked ARGS       runs a command, which must end with 2 and one line on stderr
//	readback DIR KEYFILE BLOB PAGES
//	                     reads the closed store in a member's directory by its format alone, and wants the blob
//	                     CONTAINER/NAME to hold what put wrote
//	flip FILE OFFSET     changes a byte of a file; a negative offset counts from the end
//	droprow DIR KIND     deletes the first row of a kind from the index in DIR
//	editrow DIR KIND AT  adds one to byte AT of the value of the first row of a kind
var checkCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"put": putBlob, "fingerprint": fingerprint, "problems": expectProblems, "unchecked": expectUnchecked, "flip": flipByte,
	"readback": readBack, "droprow": dropRow, "editrow": editRow,
}

// putBlob speaks the protocol with the standard library alone.
func putBlob(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: put URL PAGES")
	}
	u, err := url.Parse(args[0])
	ts.Check(err)
	pages, err := strconv.Atoi(args[1])
	ts.Check(err)
	size := pages * 512
	makeBlob(ts, u, size)
	body := scriptBytes(u.Path, size)
	u.RawQuery = "comp=page"
	for at := 0; at < size; at += 1 << 20 {
		end := min(at+1<<20, size)
		send(ts, u, map[string]string{"x-ms-page-write": "update", "x-ms-range": fmt.Sprintf("bytes=%d-%d", at, end-1)}, body[at:end], 201)
	}
}

func readBack(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: readback DIRS KEYFILE BLOB PAGES")
	}
	dirs, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	name := args[2]
	pages, err := strconv.Atoi(args[3])
	ts.Check(err)
	key, err := readMasterKey(ts.MkAbs(args[1]))
	ts.Check(err)
	store, err := formatreader.Open(dirs, key[:])
	ts.Check(err)
	blobs, err := store.Blobs()
	ts.Check(err)
	for i := range blobs {
		if blobs[i].Container+"/"+blobs[i].Name != name {
			continue
		}
		got, err := store.Read(&blobs[i])
		ts.Check(err)
		if want := scriptBytes("/"+wellKnownAccount+"/"+name, 512*pages); string(got) != string(want) {
			ts.Fatalf("%s: %d bytes that are not those that were written", name, len(got))
		}
		return
	}
	ts.Fatalf("%s holds no blob %s", args[0], name)
}

// scriptBytes returns bytes that do not compress and follow from a name.
func scriptBytes(name string, n int) []byte {
	var out []byte
	for i := 0; len(out) < n; i++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", name, i))
		out = append(out, sum[:]...)
	}
	return out[:n]
}

// send puts a body with the well-known account's key and wants one of the given answers.
func send(ts *testscript.TestScript, u *url.URL, headers map[string]string, body []byte, want ...int) {
	answer, err := ask(http.MethodPut, u, headers, body)
	ts.Check(err)
	if !slices.Contains(want, answer.status) {
		ts.Fatalf("PUT %s: %d\n%s", u, answer.status, answer.body)
	}
}

// answer is what a server has said.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// ask sends a request signed with the well-known account's key. It does not try again.
func ask(method string, u *url.URL, headers map[string]string, body []byte) (*answer, error) {
	r, err := http.NewRequest(method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("x-ms-date", time.Now().UTC().Format(http.TimeFormat))
	r.Header.Set("x-ms-version", "2021-12-02")
	for k, v := range headers {
		r.Header.Set(k, v)
	}
	if err := signRequest(r, len(body)); err != nil {
		return nil, err
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return &answer{resp.StatusCode, resp.Header, text}, err
}

var client = &http.Client{Timeout: patience}

// signRequest adds SharedKey authorization.
func signRequest(r *http.Request, length int) error {
	text := r.Method + "\n\n\n"
	if length > 0 {
		text += strconv.Itoa(length)
	}
	text += "\n\n\n\n\n\n\n\n\n"
	for _, name := range []string{"x-ms-blob-content-length", "x-ms-blob-type", "x-ms-date", "x-ms-page-write", "x-ms-range", "x-ms-version"} {
		if v := r.Header.Get(name); v != "" {
			text += name + ":" + v + "\n"
		}
	}
	text += "/" + wellKnownAccount + r.URL.EscapedPath()
	for _, name := range []string{"comp", "restype"} {
		if v := r.URL.Query().Get(name); v != "" {
			text += "\n" + name + ":" + v
		}
	}
	key, err := base64.StdEncoding.DecodeString(wellKnownKey)
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	r.Header.Set("Authorization", "SharedKey "+wellKnownAccount+":"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return nil
}

func fingerprint(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: fingerprint DIR FILE")
	}
	var b strings.Builder
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() == "LOCK" {
			return err
		}
		fmt.Fprintf(&b, "%s", path)
		if !d.IsDir() {
			p, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %d %x", len(p), sha256.Sum256(p))
		}
		b.WriteByte('\n')
		return nil
	}))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(b.String()), 0o600))
}

// wantExit runs a command that must end with the code.
func wantExit(ts *testscript.TestScript, neg bool, args []string, code int) (said string) {
	if neg || len(args) == 0 {
		ts.Fatalf("a command is wanted")
	}
	err := ts.Exec(args[0], args[1:]...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != code {
		ts.Fatalf("%v: %v, want exit code %d\n%s%s", args, err, code, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
	return ts.ReadFile("stderr")
}

func expectProblems(ts *testscript.TestScript, neg bool, args []string) {
	if said := wantExit(ts, neg, args, exitProblems); said != "" {
		ts.Fatalf("%v: want nothing on stderr, got %q", args, said)
	}
}

func expectUnchecked(ts *testscript.TestScript, neg bool, args []string) {
	if said := wantExit(ts, neg, args, exitNotChecked); strings.Count(said, "\n") != 1 || !strings.HasPrefix(said, "pagevault: ") {
		ts.Fatalf("%v: want one line of error, got %q", args, said)
	}
}

func flipByte(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: flip FILE OFFSET")
	}
	name := ts.MkAbs(args[0])
	p, err := os.ReadFile(name)
	ts.Check(err)
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	if at < 0 {
		at += len(p)
	}
	p[at] ^= 0x40
	ts.Check(os.WriteFile(name, p, 0o600))
}

// editIndex calls edit with the first row of a kind of an index that nobody has open.
func editIndex(ts *testscript.TestScript, dir, kind string, edit func(db *pebble.DB, key, value []byte) error) {
	db, err := pebble.Open(ts.MkAbs(dir), &pebble.Options{FormatMajorVersion: pebble.FormatNewest, Logger: quiet{}})
	ts.Check(err)
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte(kind)})
	ts.Check(err)
	if !it.First() || !strings.HasPrefix(string(it.Key()), kind) {
		ts.Fatalf("%s has no row of kind %s", dir, kind)
	}
	key, value := bytes.Clone(it.Key()), bytes.Clone(it.Value())
	ts.Check(it.Close())
	ts.Check(edit(db, key, value))
	ts.Check(db.Close())
}

// quiet takes the lines of Pebble's log.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

func dropRow(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: droprow DIR KIND")
	}
	editIndex(ts, args[0], args[1], func(db *pebble.DB, key, _ []byte) error { return db.Delete(key, pebble.Sync) })
}

func editRow(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: editrow DIR KIND AT")
	}
	at, err := strconv.Atoi(args[2])
	ts.Check(err)
	editIndex(ts, args[0], args[1], func(db *pebble.DB, key, value []byte) error {
		value[at]++
		return db.Set(key, value, pebble.Sync)
	})
}
