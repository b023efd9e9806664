package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"pagevault/internal/clock"
)

// SpaceOptions configures Space. Images must be given.
type SpaceOptions struct {
	Images   []Image
	Simulate bool       // also simulate ways of chunking
	Archives []Archiver // what the images are stored in, one after the other
	Clock    clock.Clock
	Build    string // what is measured, for the report
	// Progress is called with what begins; nil: nobody. It is called from one goroutine.
	Progress func(text string)
}

// An Archiver makes archives to store images in: a server, or a tool for backups.
type Archiver interface {
	// Name says in the report what is measured, with the settings that matter.
	Name() string
	// open makes an empty archive.
	open(ctx context.Context, c clock.Clock) (archive, error)
}

// archive holds images. Methods are called one at a time.
type archive interface {
	// version is the program's, for the report.
	version() string
	// put stores an image and returns when it is as durable as the archive makes it.
	put(ctx context.Context, i Image) error
	// occupied says what the archive takes now.
	occupied(ctx context.Context) (Occupied, error)
	// rewrite has everything done that makes the archive smaller in the background; errNotApplicable: there is nothing.
	rewrite(ctx context.Context) error
	// get calls fn with the whole of an image, piece by piece, possibly from several goroutines at once.
	get(ctx context.Context, i Image, fn func(off int64, p []byte) error) error
	// close removes the archive.
	close(ctx context.Context) error
}

// Occupied is the room that an archive takes, in bytes.
type Occupied struct {
	// StoredBytes of one copy: compressed data, and whatever cannot be told from it.
	StoredBytes int64 `json:"storedBytes"`
	// UniqueBytes is what the stored data is uncompressed. 0: unknown.
	UniqueBytes int64 `json:"uniqueBytes,omitempty"`
	// MetadataBytes is what is kept besides, of one copy. 0: it is part of StoredBytes.
	MetadataBytes int64 `json:"metadataBytes,omitempty"`
	// IndexBytes is the part of MetadataBytes that finds chunks and pages. 0: unknown.
	IndexBytes int64 `json:"indexBytes,omitempty"`
}

// SpaceReport is the result of Space.
type SpaceReport struct {
	Build    string          `json:"build"`
	Machine  Machine         `json:"machine"`
	Started  time.Time       `json:"started"`
	Images   []Image         `json:"images"`
	Schemes  []SchemeResult  `json:"schemes,omitempty"`
	Archives []ArchiveResult `json:"archives,omitempty"`
}

// ArchiveResult is what one archive made of the images.
type ArchiveResult struct {
	Name           string   `json:"name"`
	Version        string   `json:"version"`
	Ingested       Occupied `json:"ingested"`  // after all images, straight away
	LastBytes      int64    `json:"lastBytes"` // stored and metadata that the last image added
	Rewritten      Occupied `json:"rewritten"` // after background work; as Ingested if the archive has none
	Rewrites       bool     `json:"rewrites"`  // it has
	IngestSeconds  float64  `json:"ingestSeconds"`
	RewriteSeconds float64  `json:"rewriteSeconds,omitempty"`
	RestoreSeconds float64  `json:"restoreSeconds"`
}

// DataBytes is what all images hold besides zeros.
func (r *SpaceReport) DataBytes() int64 {
	var sum int64
	for _, i := range r.Images {
		sum += i.DataBytes
	}
	return sum
}

// Space stores the images in every archive, one image after the other, as if machines were backed up in that order, reads
// them all back, compares every byte, and reports what they took. The images are read once before, so that all archives
// find them where the operating system keeps what was read. An archive that has failed, or gives back another byte,
// ends the run with an error that names it.
func Space(ctx context.Context, o SpaceOptions) (*SpaceReport, error) {
	if len(o.Images) == 0 {
		return nil, errors.New("bench: no images")
	}
	if o.Clock == nil {
		o.Clock = clock.System
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	r := &SpaceReport{Build: o.Build, Machine: ThisMachine(), Started: o.Clock.Now(), Images: append([]Image(nil), o.Images...)}
	var err error
	if o.Simulate {
		r.Schemes, err = Simulate(ctx, r.Images, func(i Image) { o.Progress("simulating with " + i.Name()) })
	} else {
		err = measureImages(ctx, r.Images, func(i Image) { o.Progress("reading " + i.Name()) })
	}
	if err != nil {
		return nil, err
	}
	for _, a := range o.Archives {
		result, err := fillArchive(ctx, o, a, r.Images)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a.Name(), err)
		}
		r.Archives = append(r.Archives, *result)
	}
	return r, nil
}

// measureImages sets DataBytes.
func measureImages(ctx context.Context, images []Image, reading func(Image)) error {
	for i := range images {
		reading(images[i])
		images[i].DataBytes = 0
		err := pieces(ctx, images[i].Path, func(_ int64, p []byte) error {
			images[i].DataBytes += dataBytes(p)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// fillArchive is Space for one archive.
func fillArchive(ctx context.Context, o SpaceOptions, a Archiver, images []Image) (_ *ArchiveResult, err error) {
	o.Progress(a.Name() + ": open")
	store, err := a.open(ctx, o.Clock)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.close(context.WithoutCancel(ctx))) }()
	r := &ArchiveResult{Name: a.Name(), Version: store.version()}
	var before Occupied
	for _, i := range images {
		o.Progress(a.Name() + ": store " + i.Name())
		before = r.Ingested
		watch := startStopwatch()
		if err := store.put(ctx, i); err != nil {
			return nil, fmt.Errorf("store %s: %w", i.Name(), err)
		}
		r.IngestSeconds += watch.elapsed().Seconds()
		if r.Ingested, err = store.occupied(ctx); err != nil {
			return nil, err
		}
	}
	r.LastBytes = r.Ingested.StoredBytes + r.Ingested.MetadataBytes - before.StoredBytes - before.MetadataBytes
	if err := r.rewrite(ctx, o, store); err != nil {
		return nil, err
	}
	for _, i := range images {
		o.Progress(a.Name() + ": restore " + i.Name())
		watch := startStopwatch()
		if err := restore(ctx, store, i); err != nil {
			return nil, fmt.Errorf("restore %s: %w", i.Name(), err)
		}
		r.RestoreSeconds += watch.elapsed().Seconds()
	}
	return r, nil
}

// rewrite waits for the archive's background work, if there is any, and sets what it takes then.
func (r *ArchiveResult) rewrite(ctx context.Context, o SpaceOptions, store archive) error {
	r.Rewritten = r.Ingested
	o.Progress(r.Name + ": rewrite")
	watch := startStopwatch()
	err := store.rewrite(ctx)
	if errors.Is(err, errNotApplicable) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("rewrite: %w", err)
	}
	r.Rewrites, r.RewriteSeconds = true, watch.elapsed().Seconds()
	r.Rewritten, err = store.occupied(ctx)
	return err
}

// restore reads an image back and compares it with the file.
func restore(ctx context.Context, store archive, i Image) error {
	f, err := os.Open(i.Path)
	if err != nil {
		return err
	}
	defer f.Close() // only read
	c := &comparison{f: f}
	if err := store.get(ctx, i, c.compare); err != nil {
		return err
	}
	return c.end(i.Bytes)
}
