package xmltext

import (
	"encoding/xml"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAppend(t *testing.T) {
	f := func(in, text, attr string) {
		t.Helper()
		if got := string(Append([]byte("+"), in)); got != "+"+text {
			t.Errorf("%q: got %q, want %q", in, got, text)
		}
		if got := string(AppendAttr(nil, in)); got != attr {
			t.Errorf("%q in an attribute: got %q, want %q", in, got, attr)
		}
	}
	f("", "", "")
	f("plain", "plain", "plain")
	f(`a<b>c&d"e'f`, `a&lt;b&gt;c&amp;d"e'f`, `a&lt;b&gt;c&amp;d&quot;e'f`)
	f("a\tb\nc\rd", "a\tb\nc&#xD;d", "a&#x9;b&#xA;c&#xD;d")
	f("é€😀\uFFFD", "é€😀\uFFFD", "é€😀\uFFFD")
	// What XML cannot carry.
	f("a\x00b\x1fc", "a\uFFFDb\uFFFDc", "a\uFFFDb\uFFFDc")
	f("\uFFFE\uFFFF\xff\xc3", "\uFFFD\uFFFD\uFFFD\uFFFD", "\uFFFD\uFFFD\uFFFD\uFFFD")
}

func TestAppendElement(t *testing.T) {
	if got := string(AppendElement(AppendElement(nil, "A", ""), "B", "<")); got != "<A /><B>&lt;</B>" {
		t.Errorf("got %s", got)
	}
}

func TestLegal(t *testing.T) {
	for _, s := range []string{"", "a\t\r\nb", "é€😀\uFFFD", "<&>"} {
		if !Legal(s) {
			t.Errorf("%q is not legal", s)
		}
	}
	for _, s := range []string{"\x00", "\x0b", "\x1f", "\uFFFE", "\uFFFF", "\xff", "\xed\xa0\x80"} {
		if Legal(s) {
			t.Errorf("%q is legal", s)
		}
	}
}

// FuzzAppend reads back what was written with the standard library.
func FuzzAppend(f *testing.F) {
	for _, seed := range []string{"", "a&b", "\r\n\t", "\x00\xff\uFFFE", "]]>"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		doc := append([]byte(`<d a="`), AppendAttr(nil, s)...)
		doc = append(Append(append(doc, `">`...), s), "</d>"...)
		var got struct {
			Attr string `xml:"a,attr"`
			Text string `xml:",chardata"`
		}
		if err := xml.Unmarshal(doc, &got); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if got.Text != got.Attr || Legal(s) && got.Text != s {
			t.Fatalf("%q: read back %q and %q", s, got.Text, got.Attr)
		}
		if !Legal(s) && (!strings.Contains(got.Text, "\uFFFD") || !utf8.ValidString(got.Text)) {
			t.Fatalf("%q: read back %q", s, got.Text)
		}
	})
}
