package header

import (
	"errors"
	"strings"

	"pagevault/internal/azure/azerr"
)

// maxMetadata is the protocol's limit on names and values of the metadata of one blob or container together, in bytes.
const maxMetadata = 8 << 10

var (
	errTooMany  = errors.New("more headers than we keep")
	errMetaName = errors.New("a metadata name is a letter or underscore, then letters, digits and underscores")
	errMetaText = errors.New("a metadata value is printable ASCII")
	errMetaTwin = errors.New("a metadata name is given twice; case does not tell names apart")
)

// Meta returns copies of all x-ms-meta-* headers, unchecked, names without the prefix. It is nil when there are none.
func (s *Set) Meta() []Pair {
	if s.meta == 0 {
		return nil
	}
	pairs := make([]Pair, 0, s.meta)
	for i := range s.fields {
		if f := &s.fields[i]; f.meta {
			pairs = append(pairs, Pair{string(f.name[len(metaPrefix):]), string(f.value)})
		}
	}
	return pairs
}

// ParseMetadata returns the request's metadata after checking it: names are C# identifiers (the service was written in
// C#), compared without case for duplicates and kept in the case given; values are ASCII; all together at most 8 KiB.
// Errors are EmptyMetadataKey, InvalidMetadata and MetadataTooLarge. It is nil when there is none.
func ParseMetadata(s *Set) ([]Pair, error) {
	pairs := s.Meta()
	size, seen := 0, make(map[string]bool, len(pairs))
	for _, p := range pairs {
		if p.Name == "" {
			return nil, azerr.EmptyMetadataKey
		}
		if !identifier(p.Name) {
			return nil, badMeta(p, errMetaName)
		}
		if !printable(p.Value) {
			return nil, badMeta(p, errMetaText)
		}
		folded := strings.ToLower(p.Name)
		if seen[folded] {
			return nil, badMeta(p, errMetaTwin)
		}
		seen[folded] = true
		if size += len(p.Name) + len(p.Value); size > maxMetadata {
			return nil, azerr.MetadataTooLarge
		}
	}
	return pairs, nil
}

func badMeta(p Pair, why error) error {
	e := azerr.InvalidMetadata.With("HeaderName", metaPrefix+p.Name, "Reason", why.Error())
	e.Cause = why
	return e
}

func identifier(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case c == '_', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case '0' <= c && c <= '9' && i > 0:
		default:
			return false
		}
	}
	return s != ""
}

func printable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '\t' && (c < 0x20 || c > 0x7e) {
			return false
		}
	}
	return true
}
