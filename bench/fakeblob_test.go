package bench

import (
	"encoding/xml"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// fakeKeep is how much of a blob a fake keeps: enough for what is read back.
const fakeKeep = 16 << 20

// fakeBlob is a page blob of a fake: what was written, and every snapshot as a copy with the writes since the last.
type fakeBlob struct {
	data      []byte
	writes    []span // since the last snapshot
	snapshots []fakeSnapshot
	hide      bool              // the next difference leaves out one range
	blocks    map[string][]byte // uploaded, in no blob yet
}

type fakeSnapshot struct {
	name   string
	data   []byte
	writes []span // since the one before
}

func (b *fakeBlob) answer(f *fake, w http.Header, r *http.Request, body []byte) (int, []byte) {
	q := r.URL.Query()
	var off, last int64
	fmt.Sscanf(r.Header.Get("x-ms-range"), "bytes=%d-%d", &off, &last)
	switch q.Get("comp") {
	case "page":
		b.write(off, last, body)
	case "snapshot":
		s := fakeSnapshot{fmt.Sprintf("2026-01-01T00:00:%010.7fZ", float64(len(b.snapshots))), slices.Clone(b.data), b.writes}
		b.snapshots, b.writes = append(b.snapshots, s), nil
		w.Set("x-ms-snapshot", s.name)
	case "pagelist":
		return http.StatusOK, b.difference(q.Get("prevsnapshot"), q.Get("snapshot"), f.whole)
	case "block":
		if b.blocks == nil {
			b.blocks = make(map[string][]byte)
		}
		b.blocks[q.Get("blockid")] = body
	case "blocklist":
		var list struct{ Latest []string }
		if xml.Unmarshal(body, &list) != nil {
			return http.StatusBadRequest, nil
		}
		b.data = nil
		for _, id := range list.Latest {
			if b.blocks[id] == nil {
				return http.StatusBadRequest, nil
			}
			b.data = append(b.data, b.blocks[id]...)
		}
		b.blocks = nil
	case "appendblock":
		b.data = append(b.data, body...)
	case "":
		if r.Header.Get("x-ms-range") == "" {
			p := slices.Clone(b.data)
			if f.spoil != nil {
				f.spoil(r, p)
			}
			return http.StatusOK, p
		}
		p, data := make([]byte, last-off+1), b.data
		if name := q.Get("snapshot"); name != "" {
			data = b.snapshots[b.number(name)].data
		}
		if off < int64(len(data)) {
			copy(p, data[off:])
		}
		if f.spoil != nil {
			f.spoil(r, p)
		}
		return http.StatusPartialContent, p
	default:
		return http.StatusBadRequest, nil
	}
	return http.StatusCreated, nil
}

func (b *fakeBlob) write(off, last int64, body []byte) {
	if last >= fakeKeep {
		return
	}
	if last >= int64(len(b.data)) {
		b.data = append(b.data, make([]byte, last+1-int64(len(b.data)))...)
	}
	clear(b.data[off : last+1])
	copy(b.data[off:], body)
	b.writes = append(b.writes, span{off, last + 1})
}

func (b *fakeBlob) number(snapshot string) int {
	return slices.IndexFunc(b.snapshots, func(s fakeSnapshot) bool { return s.name == snapshot })
}

// difference lists what was written after snapshot from until to, not joined and in any order but Azure's.
func (b *fakeBlob) difference(from, to string, all bool) []byte {
	text := `<?xml version="1.0" encoding="utf-8"?><PageList>`
	first := b.number(from) + 1
	if all {
		first = 0
	}
	for _, s := range b.snapshots[first : b.number(to)+1] {
		for i, w := range s.writes {
			if i == 0 && b.hide {
				continue
			}
			text += fmt.Sprintf("<PageRange><Start>%d</Start><End>%d</End></PageRange>", w.start, w.end-1)
		}
	}
	return []byte(text + "</PageList>")
}

// list answers List Blobs, with a marker that has to be escaped both in XML and in a query.
func (f *fake) list(container string, q url.Values) (int, []byte) {
	most, err := strconv.Atoi(q.Get("maxresults"))
	if err != nil {
		return http.StatusBadRequest, nil
	}
	text, last, next := `<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs>`, "", "<NextMarker />"
	for _, path := range slices.Sorted(maps.Keys(f.mu.blobs)) {
		name, ok := strings.CutPrefix(path, container+"/")
		rest, matches := strings.CutPrefix(name, q.Get("prefix"))
		if !ok || !matches || f.hides != "" && strings.HasSuffix(name, f.hides) || "&"+name <= q.Get("marker") {
			continue
		}
		if folder, _, ok := strings.Cut(rest, "/"); ok && q.Get("delimiter") == "/" {
			if last != folder {
				text += "<BlobPrefix><Name>" + html.EscapeString(q.Get("prefix")+folder) + "/</Name></BlobPrefix>"
				last = folder
			}
			continue
		}
		if most--; most < 0 {
			break
		}
		text += "<Blob><Name>" + html.EscapeString(name) + "</Name></Blob>"
		next = "<NextMarker>" + html.EscapeString("&"+name) + "</NextMarker>"
	}
	if most >= 0 {
		next = "<NextMarker />"
	}
	return http.StatusOK, []byte(text + "</Blobs>" + next + "</EnumerationResults>")
}
