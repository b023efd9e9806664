package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// WriteJSON writes the report as indented JSON.
func (r *SpaceReport) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteMarkdown writes the report as tables in Markdown that can also be read as they are.
func (r *SpaceReport) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	var bytes int64
	for _, i := range r.Images {
		bytes += i.Bytes
	}
	fmt.Fprintf(&b, "%s\n%s\n%s\n", r.Build, r.Machine, r.Started.UTC().Format("2006-01-02 15:04 MST"))
	fmt.Fprintf(&b, "%s, %s MiB in all, %s MiB of it in 4 KiB that are not all zeros\n", plural(len(r.Images), "image"), mib(bytes), mib(r.DataBytes()))
	if len(r.Schemes) > 0 {
		b.WriteString("\nSimulated (MiB of one copy; the last image's share in brackets):\n\n")
		r.writeSchemes(&b)
	}
	if len(r.Archives) > 0 {
		b.WriteString("\nMeasured, one after the other (MiB of one copy; MB/s of data that is not zeros):\n\n")
		r.writeArchives(&b)
		r.writeComparison(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *SpaceReport) writeSchemes(b *strings.Builder) {
	lines := [][]string{{"scheme", "unique"}}
	lines[0] = append(lines[0], codecNames...)
	lines[0] = append(lines[0], "frames", "index, GiB per TiB of unique data")
	for _, s := range r.Schemes {
		line := []string{s.Scheme, mib(s.UniqueBytes)}
		for _, c := range codecNames {
			line = append(line, fmt.Sprintf("%s (%s)", mib(s.StoredBytes[c]), mib(s.LastStoredBytes[c])))
		}
		line = append(line, strconv.FormatInt(s.Frames, 10), figure(float64(s.IndexBytesPerTiB)/(1<<30)))
		lines = append(lines, line)
	}
	writeMarkdownTable(b, lines)
}

func (r *SpaceReport) writeArchives(b *strings.Builder) {
	lines := [][]string{{"", "version", "stored", "rewritten", "last image", "metadata", "of unique", "index, GiB per TiB",
		"ingest MB/s", "restore MB/s", "ingest s", "rewrite s", "restore s"}}
	for _, a := range r.Archives {
		line := []string{a.Name, a.Version, mib(a.Ingested.StoredBytes), unknown, mib(a.LastBytes), unknown, unknown, unknown}
		if a.Rewrites {
			line[3] = mib(a.Rewritten.StoredBytes)
		}
		if a.Rewritten.MetadataBytes > 0 {
			line[5] = mib(a.Rewritten.MetadataBytes)
		}
		if u := float64(a.Rewritten.UniqueBytes); u > 0 {
			line[6] = strconv.FormatFloat(float64(a.Rewritten.MetadataBytes)*100/u, 'f', 2, 64) + "%"
			line[7] = figure(float64(a.Rewritten.IndexBytes) / u * (1 << 10))
		}
		data := float64(r.DataBytes())
		line = append(line, figure(per(data/1e6, a.IngestSeconds)), figure(per(data/1e6, a.RestoreSeconds)), seconds(a.IngestSeconds), unknown, seconds(a.RestoreSeconds))
		if a.Rewrites {
			line[11] = seconds(a.RewriteSeconds)
		}
		lines = append(lines, line)
	}
	writeMarkdownTable(b, lines)
}

// writeComparison sets the first archive in relation to the others: what it stores, and with its metadata, and how long it
// takes to store it.
func (r *SpaceReport) writeComparison(b *strings.Builder) {
	if len(r.Archives) < 2 {
		return
	}
	ours := r.Archives[0]
	fmt.Fprintf(b, "\n%s in relation to the others (with metadata in brackets):\n\n", ours.Name)
	lines := [][]string{{"beside", "stored", "rewritten", "ingest is faster", "restore is faster"}}
	ratio := func(a, b Occupied) string {
		base := float64(b.StoredBytes + b.MetadataBytes)
		return fmt.Sprintf("× %.3f (%.3f)", per(float64(a.StoredBytes), base), per(float64(a.StoredBytes+a.MetadataBytes), base))
	}
	for _, a := range r.Archives[1:] {
		line := []string{a.Name, ratio(ours.Ingested, a.Rewritten), unknown,
			"× " + figure(per(a.IngestSeconds, ours.IngestSeconds)), "× " + figure(per(a.RestoreSeconds, ours.RestoreSeconds))}
		if ours.Rewrites {
			line[2] = ratio(ours.Rewritten, a.Rewritten)
		}
		lines = append(lines, line)
	}
	writeMarkdownTable(b, lines)
}

func seconds(s float64) string { return figure(s) }

// mib shows bytes as whole MiB.
func mib(n int64) string { return strconv.FormatInt((n+1<<19)>>20, 10) }

// writeMarkdownTable writes lines as a table whose first line is its head. The first column is text, the others numbers.
func writeMarkdownTable(b *strings.Builder, lines [][]string) {
	width := make([]int, len(lines[0]))
	for _, l := range lines {
		for i, c := range l {
			width[i] = max(width[i], utf8.RuneCountInString(c), 3)
		}
	}
	row := func(cell func(i int) string) {
		for i := range width {
			b.WriteString("| " + cell(i) + " ")
		}
		b.WriteString("|\n")
	}
	for n, l := range lines {
		row(func(i int) string {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(l[i]))
			if i == 0 {
				return l[i] + pad
			}
			return pad + l[i]
		})
		if n == 0 {
			row(func(i int) string {
				if i == 0 {
					return strings.Repeat("-", width[i])
				}
				return strings.Repeat("-", width[i]-1) + ":"
			})
		}
	}
}
