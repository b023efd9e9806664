package header

import (
	"errors"
	"strings"

	"pagevault/internal/azure/azerr"
)

// MaxTags is the most tags that one blob has.
const MaxTags = 10

// Limits of one tag; lengths are in characters, which are bytes.
const (
	maxTagKey   = 128
	maxTagValue = 256
)

var errTagForm = errors.New("tags are key=value, joined by & and encoded as a form is")

// Tags reads x-ms-tags, key=value pairs encoded as a form is: plus is a space, %2B is a plus. It is nil when there are
// none. Errors are those of CheckTags, and InvalidTag for what is no such list.
func Tags(s *Set) ([]Pair, error) {
	rest := s.String(XMsTags)
	var tags []Pair
	for rest != "" {
		var part string
		part, rest, _ = strings.Cut(rest, "&")
		key, value, ok := strings.Cut(part, "=")
		key, ok1 := decodeForm(key)
		value, ok2 := decodeForm(value)
		if !ok || !ok1 || !ok2 || len(tags) > MaxTags {
			e := azerr.InvalidTag.With("HeaderName", XMsTags.String(), "HeaderValue", s.String(XMsTags))
			e.Cause = errTagForm
			return nil, e
		}
		tags = append(tags, Pair{key, value})
	}
	return tags, CheckTags(tags)
}

// CheckTags returns what is wrong with the tags of a blob: at most 10, keys of 1 to 128 characters, each once, values of
// up to 256, and of few characters: letters and digits of ASCII, space and + - . / : = _. Errors are EmptyTagName,
// DuplicateTagNames, TagsTooLarge and InvalidTag.
func CheckTags(tags []Pair) error {
	if len(tags) > MaxTags {
		return azerr.TagsTooLarge
	}
	for i, t := range tags {
		switch {
		case t.Name == "":
			return azerr.EmptyTagName
		case len(t.Name) > maxTagKey || len(t.Value) > maxTagValue:
			return azerr.TagsTooLarge
		case !tagText(t.Name) || !tagText(t.Value):
			return azerr.InvalidTag
		}
		for _, other := range tags[:i] {
			if other.Name == t.Name {
				return azerr.DuplicateTagNames
			}
		}
	}
	return nil
}

func tagText(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte(" +-./:=_", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// decodeForm decodes plus and percent escapes. ok is false for a broken escape.
func decodeForm(s string) (decoded string, ok bool) {
	if !strings.ContainsAny(s, "+%") {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			if i+2 >= len(s) {
				return "", false
			}
			hi, lo := hexDigit(s[i+1]), hexDigit(s[i+2])
			if hi < 0 || lo < 0 {
				return "", false
			}
			c = byte(hi<<4 | lo)
			i += 2
		}
		b = append(b, c)
	}
	return string(b), true
}

// hexDigit returns the value of a hexadecimal digit, -1 for anything else.
func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
