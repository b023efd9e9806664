package replication

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestOrder shows in which order the log creates, writes, syncs and renames. Commands:
//
//	open [members=N] [segment=BYTES] [data=BYTES]
//	append COUNT...   groups of records of one byte of Meta and data bytes of Data. The records of a group are queued
//	                  together, as by many callers while a batch is written; a group follows when Next has returned the one
//	                  before
//	rotate
//	save NAME...      a checkpoint of all records, with these files; each holds its name and has it as its key
//	drop ID...
//	close
//	kill              end without sealing, as a killed process does
//	cut member=N file=NAME [at=BYTES] [junk=BYTES]   shorten or lengthen a file; without at or junk, remove it
//
// The output is what each member did, once if all did the same. "visible" stands where Next has returned the last
// record of a group.
func TestOrder(t *testing.T) {
	datadriven.Walk(t, "testdata/order", func(t *testing.T, path string) {
		o := transcript{t: t}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			o.t = t
			return o.run(d)
		})
		if o.l != nil {
			t.Fatal("the log is still open")
		}
	})
}

type transcript struct {
	t       *testing.T
	members []Member
	data    int
	l       *Log

	mu  sync.Mutex
	ops [][]string // of each member
}

func (o *transcript) hook(op fsOp, do func(int) error) error {
	o.mu.Lock()
	o.ops[op.member] = append(o.ops[op.member], strings.ReplaceAll(op.String(), o.members[op.member].Dir, "DIR"))
	o.mu.Unlock()
	return do(op.bytes)
}

func (o *transcript) run(d *datadriven.TestData) string {
	o.ops = make([][]string, max(len(o.members), 8))
	switch d.Cmd {
	case "open":
		if o.members == nil {
			n := 3
			d.MaybeScanArgs(o.t, "members", &n)
			o.members = memMembers(n)
		}
		segment := 4096
		d.MaybeScanArgs(o.t, "segment", &segment)
		d.MaybeScanArgs(o.t, "data", &o.data)
		var err error
		if o.l, err = Open(hooked(o.members, o.hook), Options{SegmentBytes: int64(segment), Passive: true}); err != nil {
			return err.Error()
		}
	case "append":
		o.append(d)
	case "rotate", "save", "drop":
		if err := o.keep(d); err != nil {
			return err.Error()
		}
	case "close", "kill":
		end := o.l.Close
		if d.Cmd == "kill" {
			end = o.l.abandon
		}
		if err := end(); err != nil {
			return err.Error()
		}
		o.l = nil
	case "cut":
		o.cut(d)
	}
	return o.text()
}

func (o *transcript) append(d *datadriven.TestData) {
	for _, a := range d.CmdArgs {
		n := 0
		if _, err := fmt.Sscan(a.Key, &n); err != nil {
			o.t.Fatal(err)
		}
		o.l.mu.Lock()
		for range n {
			r := &Record{Meta: []byte("m"), Data: [][]byte{make([]byte, o.data)}}
			r.sum()
			o.l.enqueueLocked(r)
		}
		o.l.mu.Unlock()
		var last LSN
		for left := n; left > 0; {
			got, err := o.l.Next(nil)
			if err != nil {
				o.t.Fatal(err)
			}
			left -= len(got)
			last = got[len(got)-1].LSN
		}
		for m := range o.members {
			o.ops[m] = append(o.ops[m], fmt.Sprintf("visible %d to %d", int(last)-n+1, last))
		}
	}
}

// keep rotates, saves a checkpoint or drops segments.
func (o *transcript) keep(d *datadriven.TestData) error {
	files := cpFiles{}
	var ids []SegmentID
	for _, a := range d.CmdArgs {
		files[a.Key] = a.Key
		if d.Cmd == "drop" {
			id, err := strconv.Atoi(a.Key)
			if err != nil {
				o.t.Fatal(err)
			}
			ids = append(ids, SegmentID(id))
		}
	}
	switch d.Cmd {
	case "rotate":
		return o.l.Rotate()
	case "save":
		return o.l.SaveCheckpoint(o.l.Stats().Last, files.list())
	}
	return o.l.Drop(ids...)
}

func (o *transcript) cut(d *datadriven.TestData) {
	var member, junk int
	var file string
	d.ScanArgs(o.t, "member", &member)
	d.ScanArgs(o.t, "file", &file)
	m := o.members[member-1]
	b, err := readFile(m, file)
	if err != nil {
		o.t.Fatal(err)
	}
	at := len(b)
	if d.MaybeScanArgs(o.t, "at", &at) || d.MaybeScanArgs(o.t, "junk", &junk) {
		err = writeFile(m, file, append(b[:at], bytes.Repeat([]byte("junk"), junk/4)...))
	} else {
		err = m.FS.Remove(m.FS.PathJoin(m.Dir, file))
	}
	if err != nil {
		o.t.Fatal(err)
	}
}

func (o *transcript) text() string {
	ops := o.ops[:len(o.members)]
	same := true
	for _, p := range ops {
		same = same && slices.Equal(p, ops[0])
	}
	if same {
		ops = ops[:1]
	}
	var b strings.Builder
	for i, p := range ops {
		if !same {
			fmt.Fprintf(&b, "member %d:\n", i+1)
		}
		for _, line := range p {
			fmt.Fprintln(&b, line)
		}
	}
	return b.String()
}
