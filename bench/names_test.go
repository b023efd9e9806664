package bench

import (
	"strings"
	"testing"
)

func TestWorkloadsNamed(t *testing.T) {
	f := func(want string, names ...string) {
		t.Helper()
		list, err := WorkloadsNamed(names)
		if got := strings.Join(namesOf(list), " "); err != nil || got != want {
			t.Errorf("%q: %s, %v; want %s", names, got, err, want)
		}
	}
	f("put-4m-new get-4m", "get-4m", "put-4m-new", "get-4m") // in the order of the report, each once
	f("put-4k-random put-64k-random", "put-*-random")
	f("restore-oldest restore-newest restore-fresh", "restore-*", "restore-oldest")
	f("put-4m-new put-64k-new", "put-64k-new", "put-4m-new") // another size, after its family
	f("get-512 mixed-64k", "mixed-64k", "get-512", "mixed-64k")
	f("")

	bad := func(want string, name string) {
		t.Helper()
		if _, err := WorkloadsNamed([]string{"get-4m", name}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", name, err, want)
		}
	}
	bad(`no workload "put-5m-new": did you mean put-4m-new,`, "put-5m-new")
	bad(`did you mean snapshot-chain,`, "snapshot")
	bad(`did you mean list-flat,`, "lst-flat")
	bad(`no workload "restore_*"`, "restore_*")
	bad(`no workload ""`, "")
	bad(`no workload "put-64K-new"`, "put-64K-new") // one name a workload
	bad(`"put-[" is no pattern`, "put-[")
}

func TestWithBlockSizes(t *testing.T) {
	list := WithBlockSizes(named(t, "put-4k-random", "put-64k-random", "mixed-4k", "diff"), []int{512, 64 << 10, 512})
	if got := strings.Join(namesOf(list), " "); got != "put-512-random put-64k-random mixed-512 mixed-64k diff" {
		t.Error(got)
	}
	if w := list[0]; w.Bytes != 512 || w.About != "Put Page 512 bytes at random places, data never seen before" {
		t.Errorf("%+v", w)
	}
	w := list[3].WithReads(5)
	if w.Name != "mixed-64k" || w.Reads != 5 || !strings.HasPrefix(w.About, "5 % Get Blob, the others Put Page, of 64 KiB ") {
		t.Errorf("%+v", w)
	}
}

// TestCatalogue: every workload has one name and one line about it, is found by its name, and few are done unasked.
func TestCatalogue(t *testing.T) {
	for _, w := range Workloads() {
		if w.About == "" || strings.Contains(w.About, "\n") || strings.Contains(w.About, "SIZE") || strings.Contains(w.About, "READS") {
			t.Errorf("%s: %q", w.Name, w.About)
		}
		if list, err := WorkloadsNamed([]string{w.Name}); err != nil || len(list) != 1 || list[0] != w {
			t.Errorf("%s is found as %v, %v", w.Name, list, err)
		}
	}
	if n := len(DefaultWorkloads()); n != 5 {
		t.Errorf("%d workloads by default", n)
	}
}

func TestParseBlockSize(t *testing.T) {
	f := func(text string, want int) {
		t.Helper()
		n, err := ParseBlockSize(text)
		if err != nil || n != want {
			t.Errorf("%q: %d, %v; want %d", text, n, err, want)
		}
		if again, err := ParseBlockSize(SizeName(n)); err != nil || again != n {
			t.Errorf("%q is named %s, which is %d, %v", text, SizeName(n), again, err)
		}
	}
	f("512", 512)
	f("4k", 4096)
	f("4K", 4096)
	f(" 64KiB ", 65536)
	f("4096", 4096)
	f("1m", 1<<20)
	f("4MiB", 4<<20)
	for _, text := range []string{"", "k", "0", "-4k", "256", "3k", "8m", "4mm", "4g", "4kb", "1e3", "9999999999999999999", "4 k", "4194305"} {
		if n, err := ParseBlockSize(text); err == nil || !strings.Contains(err.Error(), "power of two from 512 to 4m") {
			t.Errorf("%q: %d, %v", text, n, err)
		}
	}
}

func FuzzParseBlockSize(f *testing.F) {
	f.Add("4k")
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := ParseBlockSize(text); err == nil && (n < blockMin || n > requestMax || n&(n-1) != 0) {
			t.Errorf("%q is %d", text, n)
		}
	})
}
