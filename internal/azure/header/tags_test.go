package header

import (
	"errors"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"pagevault/internal/azure/azerr"
)

func tagsOf(t testing.TB, value string) ([]Pair, error) {
	t.Helper()
	var s Set
	if err := s.Add([]byte("x-ms-tags"), []byte(value)); err != nil {
		t.Fatal(err)
	}
	return Tags(&s)
}

func TestTags(t *testing.T) {
	f := func(value string, want ...Pair) {
		t.Helper()
		if got, err := tagsOf(t, value); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %v, %v", value, got, err)
		}
	}
	f("")
	f("a=1", Pair{"a", "1"})
	f("b=&a=1", Pair{"b", ""}, Pair{"a", "1"})   // in the order they came, values may be empty
	f("a+b=%2B+%3d", Pair{"a b", "+ ="})         // plus is a space, %2B a plus
	f("a=b=c", Pair{"a", "b=c"})                 // the first = separates
	f("a=1&A=2", Pair{"a", "1"}, Pair{"A", "2"}) // case tells keys apart
	f(strings.Repeat("k", 128)+"="+strings.Repeat("v", 256), Pair{strings.Repeat("k", 128), strings.Repeat("v", 256)})

	fails := func(value string, want azerr.Code) {
		t.Helper()
		if got, err := tagsOf(t, value); !errors.Is(err, want) {
			t.Errorf("%q: got %v, %v, want %s", value, got, err, want.Wire())
		}
	}
	fails("=1", azerr.EmptyTagName)
	fails("a=1&b=2&a=3", azerr.DuplicateTagNames)
	fails(strings.Repeat("k", 129)+"=v", azerr.TagsTooLarge)
	fails("k="+strings.Repeat("v", 257), azerr.TagsTooLarge)
	fails("a=1&b=2&c=3&d=4&e=5&f=6&g=7&h=8&i=9&j=10&k=11", azerr.TagsTooLarge)
	fails(strings.Repeat("a=1&", 1000), azerr.InvalidTag)
	fails("a", azerr.InvalidTag)
	fails("a=%4", azerr.InvalidTag)
	fails("a=%zz", azerr.InvalidTag)
	fails("a=1,b=2", azerr.InvalidTag) // no comma in a value
	fails("a=%C3%A9", azerr.InvalidTag)
	fails("a'=1", azerr.InvalidTag)
}

// FuzzTags: what is taken are tags, and written again as a form they read back.
func FuzzTags(f *testing.F) {
	for _, s := range []string{"", "a=1", "a=1&b=2", "a+b=%2B", "&", "%", "==&="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		tags, err := tagsOf(t, value)
		if err != nil {
			return
		}
		parts := make([]string, len(tags))
		for i, p := range tags {
			parts[i] = url.QueryEscape(p.Name) + "=" + url.QueryEscape(p.Value)
		}
		again, err := tagsOf(t, strings.Join(parts, "&"))
		if err != nil || !reflect.DeepEqual(again, tags) || CheckTags(tags) != nil {
			t.Errorf("%q: %v, then %v, %v", value, tags, again, err)
		}
	})
}
