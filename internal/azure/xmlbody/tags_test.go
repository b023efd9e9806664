package xmlbody

import (
	"errors"
	"reflect"
	"testing"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
)

func TestTagsGolden(t *testing.T) {
	tags := []header.Pair{{Name: "a b", Value: ""}, {Name: "k", Value: " v "}}
	golden(t, "tags", AppendTags(nil, tags))
	for name, valueOnly := range map[string]bool{"found": false, "found-2019-12-12": true} {
		b := BeginFound(nil, endpoint, `"a b" >= '' AND k < 'x'`)
		b = AppendFound(b, &FoundBlob{Name: "a&b", Container: "logs", Tags: tags}, valueOnly)
		b = AppendFound(b, &FoundBlob{Name: "\x01", Container: "logs", Tags: tags[1:]}, valueOnly)
		golden(t, name, EndFound(b, "next"))
	}
}

func TestParseTags(t *testing.T) {
	f := func(body string, want ...header.Pair) {
		t.Helper()
		if got, err := ParseTags([]byte(body)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, %v", body, got, err)
		}
	}
	f("<Tags><TagSet/></Tags>")
	f("\xef\xbb\xbf<Tags>\n <TagSet>\n <Tag> <Value>1</Value><Key>a</Key></Tag> </TagSet></Tags>", header.Pair{Name: "a", Value: "1"})
	f("<Tags><TagSet><Tag><Key> a </Key><Value> </Value></Tag></TagSet></Tags>", header.Pair{Name: " a ", Value: " "}) // spaces count

	fails := func(body string, want azerr.Code) {
		t.Helper()
		if got, err := ParseTags([]byte(body)); !errors.Is(err, want) {
			t.Errorf("%s: got %v, %v, want %s", body, got, err, want.Wire())
		}
	}
	fails("", azerr.InvalidXmlDocument)
	fails("<TagSet/>", azerr.InvalidXmlDocument)
	fails("<Tags/>", azerr.MissingRequiredXmlNode)
	fails("<Tags><TagSet>x</TagSet></Tags>", azerr.InvalidXmlDocument)
	fails("<Tags><TagSet/><TagSet/></Tags>", azerr.InvalidXmlDocument)
	fails("<Tags><TagSet><Tag><Key>a</Key></Tag></TagSet></Tags>", azerr.MissingRequiredXmlNode)
	fails("<Tags><TagSet><Tag><Key><b/></Key><Value/></Tag></TagSet></Tags>", azerr.InvalidXmlDocument)
	fails("<Tags><TagSet><Tag><Key/><Value/></Tag></TagSet></Tags>", azerr.EmptyTagName)
	fails("<Tags><TagSet><Tag><Key>a</Key><Value>1\n</Value></Tag></TagSet></Tags>", azerr.InvalidTag)
	fails("<Tags><TagSet><Other/></TagSet></Tags>", azerr.UnsupportedXmlNode)
}

// FuzzParseTags: what is read can be written and read again, and errors have codes.
func FuzzParseTags(f *testing.F) {
	f.Add(AppendTags(nil, []header.Pair{{Name: "a b", Value: " "}}))
	f.Add([]byte("<Tags><TagSet><Tag><Key>a</Key>"))
	f.Fuzz(func(t *testing.T, body []byte) {
		tags, err := ParseTags(body)
		if err != nil {
			if azerr.From(err).Code == azerr.InternalError {
				t.Errorf("%q: %v", body, err)
			}
			return
		}
		again, err := ParseTags(AppendTags(nil, tags))
		if err != nil || !reflect.DeepEqual(again, tags) {
			t.Errorf("%q: %v, then %v, %v", body, tags, again, err)
		}
	})
}
