package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pagevault/internal/clock"
	"pagevault/internal/testkit"
)

// noise returns n incompressible bytes that seed determines.
func noise(seed uint64, n int) []byte {
	var key [32]byte
	key[0] = byte(seed)
	p := make([]byte, n)
	rand.NewChaCha8(key).Read(p)
	return p
}

// writeImages writes files and returns their directory.
func writeImages(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, p := range files {
		if err := os.WriteFile(filepath.Join(dir, name), p, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// twoMachines are small images: a of noise, text and zeros; b of the same with one new chunk, in another place.
func twoMachines(t testing.TB) []Image {
	t.Helper()
	text := bytes.Repeat([]byte("a line of a log that compresses\n"), 256<<10/32)
	common := append(noise(1, 128<<10), text...)
	a := append(append(make([]byte, requestMax), common...), make([]byte, requestMax)...)
	b := append(append(append([]byte(nil), common...), noise(2, 4<<10)...), make([]byte, 2*requestMax)...)
	images, err := FindImages(writeImages(t, map[string][]byte{"a.img": a, "b.img": b, "notes.txt": []byte("no image")}))
	if err != nil {
		t.Fatal(err)
	}
	return images
}

func TestFindImages(t *testing.T) {
	dir := writeImages(t, map[string][]byte{"b.img": noise(1, 512), "a.img": noise(1, 1024), "odd.raw": {1}, "empty.disk": nil})
	images, err := FindImages(dir)
	if err != nil || len(images) != 2 || images[0].Name() != "a.img" || images[0].Bytes != 1024 || images[1].Name() != "b.img" {
		t.Errorf("%+v, %v", images, err)
	}
	f := func(pattern, want string) {
		t.Helper()
		if _, err := FindImages(filepath.Join(dir, pattern)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", pattern, err, want)
		}
	}
	f("*.vhd", "no images match")
	f("*.raw", "1 bytes are not the pages of a disk")
	f("*.disk", "0 bytes are not")
	f("[", "not a pattern")
}

// TestPieces: what is all zeros is left out, what is not comes whole, with its place, and the last piece may be short.
func TestPieces(t *testing.T) {
	p := make([]byte, 3*requestMax+512)
	p[requestMax+5], p[3*requestMax] = 1, 2
	path := filepath.Join(writeImages(t, map[string][]byte{"x": p}), "x")
	var offsets []int64
	err := pieces(t.Context(), path, func(off int64, got []byte) error {
		offsets = append(offsets, off)
		if !bytes.Equal(got, p[off:min(off+requestMax, int64(len(p)))]) {
			t.Errorf("piece at %d is not that of the file", off)
		}
		return nil
	})
	if err != nil || len(offsets) != 2 || offsets[0] != requestMax || offsets[1] != 3*requestMax {
		t.Errorf("offsets %v, %v", offsets, err)
	}
	// the same of a file with holes, the last at its end
	sparse := filepath.Join(t.TempDir(), "sparse")
	f, err := os.Create(sparse)
	if err == nil {
		_, err = f.WriteAt([]byte{7}, 2*requestMax+9)
		err = errors.Join(err, f.Truncate(6*requestMax), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	offsets = nil
	err = pieces(t.Context(), sparse, func(off int64, got []byte) error {
		if offsets = append(offsets, off); len(got) != requestMax || got[9] != 7 {
			t.Errorf("piece of %d bytes at %d", len(got), off)
		}
		return nil
	})
	if err != nil || len(offsets) != 1 || offsets[0] != 2*requestMax {
		t.Errorf("offsets %v of a sparse file, %v", offsets, err)
	}
	stop := errors.New("stop")
	if err := pieces(t.Context(), path, func(int64, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an error of fn became %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	if err := pieces(ctx, path, func(int64, []byte) error { return nil }); !errors.Is(err, stop) {
		t.Errorf("the end of the context became %v", err)
	}
}

// TestSimulate: counts that can be told in advance.
func TestSimulate(t *testing.T) {
	images := twoMachines(t)
	results, err := Simulate(t.Context(), images, nil)
	if err != nil {
		t.Fatal(err)
	}
	if images[0].DataBytes != 384<<10 || images[1].DataBytes != 388<<10 {
		t.Errorf("data bytes %d, %d", images[0].DataBytes, images[1].DataBytes)
	}
	by := map[string]SchemeResult{}
	for _, r := range results {
		by[r.Scheme] = r
	}
	f := func(scheme string, unique, chunks, frames int64) {
		t.Helper()
		if r := by[scheme]; r.UniqueBytes != unique || r.Chunks != chunks || r.Frames != frames {
			t.Errorf("%s: %d bytes in %d chunks in %d frames, want %d, %d, %d", scheme, r.UniqueBytes, r.Chunks, r.Frames, unique, chunks, frames)
		}
	}
	// noise 32 chunks, text 1 distinct chunk, b 1 new
	f("4 KiB in 4 KiB", 34<<12, 34, 34)
	f("4 KiB in 64 KiB", 34<<12, 34, 4)            // 16, 16, 1; 1
	f("4 KiB in 64 KiB, filled up", 34<<12, 34, 4) // as images end frames anyway
	f("4 KiB in 256 KiB", 34<<12, 34, 2)
	// 2 of noise, 1 of text; then the 4 KiB and zeros
	f("64 KiB in 64 KiB", 4<<16, 4, 4)
	f("4 MiB in 4 MiB", 2*requestMax, 2, 2)
	r := by["4 KiB in 64 KiB"]
	for _, c := range codecNames {
		if stored, last := r.StoredBytes[c], r.LastStoredBytes[c]; last != 4<<10 || stored < 33<<12 || stored > 33<<12+1000 {
			t.Errorf("%s: stored %d, last %d", c, stored, last)
		}
	}
	if want := int64(34*chunkRowBytes+4*frameRowBytes) << 40 / (34 << 12); r.IndexBytesPerTiB != want {
		t.Errorf("index %d", r.IndexBytesPerTiB)
	}
}

// TestSimulateAcross: frames that requests fill up together are fewer.
func TestSimulateAcross(t *testing.T) {
	p := append(append(noise(1, 20<<10), make([]byte, requestMax-20<<10)...), noise(2, 20<<10)...)
	images, err := FindImages(writeImages(t, map[string][]byte{"a.img": p}))
	if err != nil {
		t.Fatal(err)
	}
	results, err := Simulate(t.Context(), images, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if want := map[string]int64{"4 KiB in 64 KiB": 2, "4 KiB in 64 KiB, filled up": 1}[r.Scheme]; want != 0 && r.Frames != want {
			t.Errorf("%s: %d frames, want %d", r.Scheme, r.Frames, want)
		}
	}
}

// wireArchiver stores on a server that runs already.
func wireArchiver(t *testing.T, url, admin string) *WireArchive {
	return NewWireArchive(WireArchiveOptions{Name: "server", Version: "1", Account: "devstoreaccount1", Key: emulatorKey(t),
		Start: func(context.Context) (WireArchiveServer, error) {
			return WireArchiveServer{URL: url, Admin: admin, Stop: func() error { return nil }}, nil
		}})
}

// TestSpaceServer stores images on a server that knows what it stores, and on one that gives back another byte.
func TestSpaceServer(t *testing.T) {
	images := twoMachines(t)
	f := &fake{}
	url := startFake(t, f)
	stored := 1000
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			stored = 500
			return
		}
		if r.URL.String() != "/accounts?account=devstoreaccount1" {
			t.Errorf("asked for %s", r.URL)
		}
		fmt.Fprintf(w, `{"accounts":[{"name":"devstoreaccount1","storedBytes":%d,"uniqueBytes":2000,"metadataBytes":110,"indexBytes":10}]}`, stored)
	}))
	defer admin.Close()
	var progress []string
	rep, err := Space(t.Context(), SpaceOptions{Images: images, Archives: []Archiver{wireArchiver(t, url, admin.URL)},
		Progress: func(text string) { progress = append(progress, text) }})
	if err != nil {
		t.Fatal(err)
	}
	a := rep.Archives[0]
	if want := (Occupied{StoredBytes: 1000, UniqueBytes: 2000, MetadataBytes: 110, IndexBytes: 10}); a.Ingested != want || !a.Rewrites || a.Rewritten.StoredBytes != 500 {
		t.Errorf("%+v", a)
	}
	// 384 KiB of a at 4 MiB, 388 KiB of b at 0: one Put Page each
	if got := f.requests("comp=page"); len(got) != 2 {
		t.Errorf("%d Put Page: %q", len(got), got)
	}
	if got := strings.Join(progress, ","); !strings.Contains(got, "server: store a.img,server: store b.img,server: rewrite,server: restore a.img") {
		t.Errorf("progress %s", got)
	}
	f.spoil = func(_ *http.Request, p []byte) { p[len(p)-1] ^= 1 }
	_, err = Space(t.Context(), SpaceOptions{Images: images, Archives: []Archiver{wireArchiver(t, url, admin.URL)}})
	if err == nil || !strings.Contains(err.Error(), "server: restore a.img: bytes [") {
		t.Errorf("a spoilt byte: %v", err)
	}
}

// TestSpacePagevault runs the real server.
func TestSpacePagevault(t *testing.T) {
	server := testkit.StartServer(t, testkit.ServerOptions{})
	rep, err := Space(t.Context(), SpaceOptions{Images: twoMachines(t), Archives: []Archiver{wireArchiver(t, server.URL(), "")}, Clock: clock.System})
	if err != nil {
		t.Fatal(err)
	}
	if a := rep.Archives[0]; a.IngestSeconds <= 0 || a.RestoreSeconds <= 0 || rep.DataBytes() != 772<<10 {
		t.Errorf("%+v", rep)
	}
}

// fakeTool puts a program of that name in front of all others: a shell script that keeps images below its repository.
func fakeTool(t *testing.T, name, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\nset -e\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// Scripts that understand what restic and borg are asked for.
const (
	fakeRestic = `case $1 in
version) echo "restic 0.0.1 compiled with patience" ;;
init) mkdir "$RESTIC_REPOSITORY" ;;
backup) cat "$6" >"$RESTIC_REPOSITORY/$6" ;;
dump) cat "$RESTIC_REPOSITORY$5" ;;
*) echo "unknown command" >&2; exit 3 ;;
esac`
	fakeBorg = `case $1 in
--version) echo "borg 0.0.1" ;;
init) mkdir "$BORG_REPO" ;;
create) for last; do :; done; cat "$last" >"$BORG_REPO/$last" ;;
extract) head -c 1000 "$BORG_REPO/$4" ;;
esac`
)

// TestSpaceTools: a tool's repository is measured, what it restores is compared, and nothing is left behind.
func TestSpaceTools(t *testing.T) {
	fakeTool(t, "restic", fakeRestic)
	fakeTool(t, "borg", fakeBorg)
	images, dir := twoMachines(t), t.TempDir()
	list, err := Tools("restic", dir)
	if err != nil {
		t.Fatal(err)
	}
	rep, err := Space(t.Context(), SpaceOptions{Images: images, Archives: list})
	if err != nil {
		t.Fatal(err)
	}
	a := rep.Archives[0]
	if a.Version != "restic 0.0.1" || a.Ingested.StoredBytes != images[0].Bytes+images[1].Bytes || a.LastBytes != images[1].Bytes || a.Rewrites {
		t.Errorf("%+v", a)
	}
	wantEmpty(t, dir)
	if list, err = Tools("borg", dir); err != nil || len(list) != 3 {
		t.Fatalf("%d settings of borg, %v", len(list), err)
	}
	_, err = Space(t.Context(), SpaceOptions{Images: images, Archives: list})
	if err == nil || !strings.Contains(err.Error(), "borg, lz4: restore a.img: 1000 bytes were restored of") {
		t.Errorf("a tool that restores too little: %v", err)
	}
	wantEmpty(t, dir)
	fakeTool(t, "restic", "[ $1 = version ] && exit\necho no room >&2; exit 3")
	list, _ = Tools("restic", dir)
	if _, err = Space(t.Context(), SpaceOptions{Images: images, Archives: list}); err == nil || !strings.Contains(err.Error(), "restic init: exit status 3: no room") {
		t.Errorf("a tool that fails: %v", err)
	}
	wantEmpty(t, dir)
}

func TestToolsErrors(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for program, want := range map[string]string{"tar": `no tool "tar": there are restic, borg`, "borg": "borg is not installed"} {
		if _, err := Tools(program, "."); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", program, err, want)
		}
	}
}

// TestSpaceMarkdown: a report as a reader sees it.
func TestSpaceMarkdown(t *testing.T) {
	rep := SpaceReport{
		Build: "pagevault test", Machine: Machine{CPU: "x", Cores: 2, OS: "linux"},
		Images:  []Image{{Path: "a.img", Bytes: 3 << 30, DataBytes: 100 << 20}},
		Schemes: []SchemeResult{{Scheme: "4 KiB in 64 KiB", UniqueBytes: 90 << 20, Frames: 7, IndexBytesPerTiB: 8 << 30, StoredBytes: map[string]int64{"S2": 50 << 20}}},
		Archives: []ArchiveResult{
			{Name: "pagevault", Version: "1", IngestSeconds: 1, RestoreSeconds: 2, Rewrites: true, RewriteSeconds: 3, LastBytes: 5 << 20,
				Ingested:  Occupied{StoredBytes: 50 << 20, UniqueBytes: 90 << 20, MetadataBytes: 2 << 20, IndexBytes: 1 << 20},
				Rewritten: Occupied{StoredBytes: 40 << 20, UniqueBytes: 90 << 20, MetadataBytes: 2 << 20, IndexBytes: 1 << 20}},
			{Name: "restic, auto", Version: "restic 0.1", Ingested: Occupied{StoredBytes: 80 << 20}, Rewritten: Occupied{StoredBytes: 80 << 20}, IngestSeconds: 4, RestoreSeconds: 1},
		},
	}
	var b strings.Builder
	if err := rep.WriteMarkdown(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"1 image, 3072 MiB in all, 100 MiB of it in 4 KiB that are not all zeros\n",
		"| 4 KiB in 64 KiB |     90 | 50 (0) |  0 (0) |  0 (0) |      7 |                              8.00 |\n",
		"| pagevault    |          1 |     50 |        40 |          5 |        2 |     2.22% |               11.4 |         105 |         52.4 |     1.00 |      3.00 |      2.00 |\n",
		"| restic, auto | restic 0.1 |     80 |         – |          0 |        – |         – |                  – |        26.2 |          105 |     4.00 |         – |      1.00 |\n",
		"| restic, auto | × 0.625 (0.650) | × 0.500 (0.525) |           × 4.00 |            × 0.50 |\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no line %q in\n%s", want, b.String())
		}
	}
}
