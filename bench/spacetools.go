package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"pagevault/internal/clock"
)

// Tool is a program for backups, run as a process for each image and each command.
type Tool struct {
	name    string
	program string
	env     []string // besides the environment; what begins with @ is below the archive's directory
	ask     []string // prints the version
	make    []string // makes a repository; arguments may hold {repo}, {image}, {name}
	put     []string
	get     []string // writes the image to its standard output
	dir     string   // where archives are made
}

// The tools and settings that can be measured. Both encrypt, as pagevault does.
var tools = []Tool{
	resticTool("restic, auto", "auto"),
	borgTool("borg, lz4", "lz4", ""),
	borgTool("borg, zstd-3", "zstd,3", ""),
	borgTool("borg, 64 KiB buzhash, zstd-1", "zstd,1", "buzhash,10,23,16,4095"),
}

func resticTool(name, compression string) Tool {
	return Tool{
		name:    name,
		program: "restic",
		env:     []string{"RESTIC_PASSWORD=bench", "RESTIC_REPOSITORY=@repo", "RESTIC_CACHE_DIR=@cache"},
		ask:     []string{"version"},
		make:    []string{"init"},
		put:     []string{"backup", "--compression", compression, "--tag", "{name}", "{image}"},
		get:     []string{"dump", "--tag", "{name}", "latest", "/{image}"},
	}
}

func borgTool(name, compression, chunker string) Tool {
	t := Tool{
		name:    name,
		program: "borg",
		env:     []string{"BORG_PASSPHRASE=bench", "BORG_REPO=@repo", "BORG_BASE_DIR=@home", "LC_ALL=C.UTF-8"},
		ask:     []string{"--version"},
		make:    []string{"init", "--encryption", "repokey-blake2"},
		put:     []string{"create", "--compression", compression},
		get:     []string{"extract", "--stdout", "::{name}", "{image}"},
	}
	if chunker != "" {
		t.put = append(t.put, "--chunker-params", chunker)
	}
	t.put = append(t.put, "::{name}", "{image}")
	return t
}

// ToolNames returns the programs that Tools knows.
func ToolNames() []string {
	var names []string
	for _, t := range tools {
		if !slices.Contains(names, t.program) {
			names = append(names, t.program)
		}
	}
	return names
}

// Tools returns a program's settings that are worth measuring, as archivers with their repositories in dir. A program
// that is not installed is an error.
func Tools(program, dir string) ([]Archiver, error) {
	var list []Archiver
	for _, t := range tools {
		if t.program == program {
			t.dir = dir
			list = append(list, &t)
		}
	}
	if list == nil {
		return nil, fmt.Errorf("no tool %q: there are %s", program, strings.Join(ToolNames(), ", "))
	}
	if _, err := exec.LookPath(program); err != nil {
		return nil, fmt.Errorf("%s is not installed", program)
	}
	return list, nil
}

// Name says what is run, with the settings that matter.
func (t *Tool) Name() string { return t.name }

func (t *Tool) open(ctx context.Context, _ clock.Clock) (archive, error) {
	dir, err := os.MkdirTemp(t.dir, "pagevault-bench-"+t.program+"-")
	if err != nil {
		return nil, err
	}
	r := &repository{tool: t, dir: dir}
	var text bytes.Buffer
	if err := r.run(ctx, Image{}, t.ask, &text); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	line, _, _ := strings.Cut(text.String(), "\n")
	r.text = strings.Join(strings.Fields(line)[:min(2, len(strings.Fields(line)))], " ")
	if err := r.run(ctx, Image{}, t.make, io.Discard); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return r, nil
}

// repository is a tool's archive, in a directory of its own.
type repository struct {
	tool *Tool
	dir  string
	text string // version
}

func (r *repository) version() string { return r.text }

// run runs the tool in the directory of the image. What it says on its standard error is quoted if it fails.
func (r *repository) run(ctx context.Context, i Image, args []string, out io.Writer) error {
	fill := strings.NewReplacer("{image}", i.Name(), "{name}", strings.TrimSuffix(i.Name(), filepath.Ext(i.Path)))
	filled := make([]string, len(args))
	for k, a := range args {
		filled[k] = fill.Replace(a)
	}
	cmd := exec.CommandContext(ctx, r.tool.program, filled...)
	cmd.Dir = filepath.Dir(i.Path)
	cmd.Env = os.Environ()
	for _, e := range r.tool.env {
		cmd.Env = append(cmd.Env, strings.ReplaceAll(e, "@", r.dir+string(filepath.Separator)))
	}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = out, &said
	err := cmd.Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		return fmt.Errorf("%s %s: %w: %s", r.tool.program, filled[0], err, strings.Join(lines[max(0, len(lines)-3):], " / "))
	}
	return nil
}

func (r *repository) put(ctx context.Context, i Image) error {
	return r.run(ctx, i, r.tool.put, io.Discard)
}

// occupied adds up the files of the repository. Caches do not count.
func (r *repository) occupied(context.Context) (Occupied, error) {
	var o Occupied
	err := filepath.WalkDir(filepath.Join(r.dir, "repo"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			o.StoredBytes += info.Size()
		}
		return err
	})
	return o, err
}

func (r *repository) rewrite(context.Context) error { return errNotApplicable }

// get hands on what the tool prints, in order.
func (r *repository) get(ctx context.Context, i Image, fn func(off int64, p []byte) error) error {
	w := &pieceWriter{fn: fn, buf: make([]byte, 0, 1<<20)}
	if err := r.run(ctx, i, r.tool.get, w); err != nil {
		return errors.Join(w.err, err)
	}
	return w.flush()
}

func (r *repository) close(context.Context) error { return os.RemoveAll(r.dir) }

// pieceWriter calls fn with what is written to it, in pieces of the size of its buffer.
type pieceWriter struct {
	fn  func(off int64, p []byte) error
	off int64
	buf []byte
	err error // of fn
}

// Write takes p and keeps a copy of what does not fill the buffer.
func (w *pieceWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), cap(w.buf)-len(w.buf))
		w.buf, rest = append(w.buf, rest[:n]...), rest[n:]
		if len(w.buf) == cap(w.buf) {
			if err := w.flush(); err != nil {
				return 0, err
			}
		}
	}
	return len(p), nil
}

func (w *pieceWriter) flush() error {
	if len(w.buf) > 0 && w.err == nil {
		w.err = w.fn(w.off, w.buf)
		w.off += int64(len(w.buf))
		w.buf = w.buf[:0]
	}
	return w.err
}
