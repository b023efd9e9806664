package header

import (
	"errors"
	"net/url"
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
		key, err1 := url.QueryUnescape(key)
		value, err2 := url.QueryUnescape(value)
		if !ok || err1 != nil || err2 != nil || len(tags) > MaxTags {
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
