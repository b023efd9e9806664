package xmlbody

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
)

func TestBlockListGolden(t *testing.T) {
	b := BeginBlocks(nil)
	b = AppendBlock(BeginBlocksOf(b, true), []byte("0001"), 4<<30)
	b = EndBlocksOf(AppendBlock(b, []byte{0xfb, 0xff}, 1), true)
	golden(t, "blocks", EndBlocks(EndBlocksOf(BeginBlocksOf(b, false), false)))
}

// list reads a list and returns its entries as one text.
func list(r io.Reader) (string, error) {
	var entries []string
	err := ParseBlockList(r, func(from BlockSource, id []byte) error {
		entries = append(entries, fmt.Sprintf("%s %q", blockSources[from], id))
		return nil
	})
	return strings.Join(entries, ", "), err
}

func TestParseBlockList(t *testing.T) {
	f := func(body, want string) {
		t.Helper()
		for _, r := range []io.Reader{strings.NewReader(body), iotest.OneByteReader(strings.NewReader(body))} {
			if got, err := list(r); err != nil || got != want {
				t.Errorf("%s: got %s, %v, want %s", body, got, err, want)
			}
		}
	}
	f("<BlockList/>", "")
	f("<BlockList />", "")
	f("<BlockList></BlockList>", "")
	f("<BlockList><Latest>QQ==</Latest><Committed>Qg==</Committed><Uncommitted>Qw==</Uncommitted><Latest>QQ==</Latest></BlockList>",
		`Latest "A", Committed "B", Uncommitted "C", Latest "A"`)
	f("\xef\xbb\xbf<?xml version=\"1.0\" encoding='UTF-8' standalone=\"yes\" ?>\r\n<!-- a - b --><BlockList xmlns:xsi = \"http://a/?b\">\n"+
		"\t<Latest\n>\r\n QQ== </Latest > <!----> </BlockList\n>\n<!-- c -->", `Latest "A"`)
	f("<BlockList><Latest>++&#47;&#x2B;</Latest></BlockList>", `Latest "\xfb\xef\xfe"`) // +, / may be written so

	fails := func(want azerr.Code, body string) {
		t.Helper()
		if got, err := list(strings.NewReader(body)); !errors.Is(err, want) {
			t.Errorf("%s: got %s, %v, want %s", body, got, err, want.Wire())
		}
	}
	const bad = azerr.InvalidXmlDocument
	for _, body := range []string{"", " ", "{}", "x<BlockList/>", "<BlockList/>x", "<BlockList/><BlockList/>", "<BlockList>", "</BlockList>",
		"<blocklist/>", "<Blocks/>", "<x:BlockList/>", "<BlockList></Blocks>", "<BlockList>QQ==</BlockList>", "<BlockList", "<BlockList ", "<", "<BlockList><",
		"<BlockList><Latest>QQ==</Committed></BlockList>", "<BlockList><Latest>QQ==", "<BlockList><Latest>QQ==<", "<BlockList><Latest><a/></Latest></BlockList>",
		"<BlockList><Latest>Q<!-- -->Q==</Latest></BlockList>", "<BlockList><Latest>&amp;</Latest></BlockList>", "<BlockList><Latest>&#</Latest></BlockList>",
		"<BlockList><Latest>&#x;</Latest></BlockList>", "<BlockList><Latest>&#999999999999999999999;</Latest></BlockList>", "<BlockList a/>", "<BlockList a=b/>",
		"<BlockList a='b/>", "<BlockList a='<'/>", "<BlockList 1='b'/>", "<BlockList/ >", "<?xml version='1.1'?><BlockList/>",
		"<?xml version='1.0' encoding='utf-16'?><BlockList/>", "<?xml version='1.0'><BlockList/>", "<?php ?><BlockList/>", "<!DOCTYPE a><BlockList/>",
		"<!-- a -- b --><BlockList/>", "<!-- a", "<![CDATA[a]]>", "\xff\xfe<\x00", "<BlockList a:b:c='d'/>"} {
		fails(bad, body)
	}
	fails(azerr.UnsupportedXmlNode, "<BlockList><latest>QQ==</latest></BlockList>")
	for _, id := range []string{"", " ", "A", "QQ", "Q Q==", "-_==", strings.Repeat("A", 88), strings.Repeat(" ", 5000)} {
		fails(azerr.InvalidBlockId, "<BlockList><Latest>"+id+"</Latest></BlockList>")
	}
	fails(azerr.InvalidBlockId, "<BlockList><Latest/></BlockList>")
}

// TestBlockListLength: the most blocks with the longest ids fit, one more does not.
func TestBlockListLength(t *testing.T) {
	entry := "\n  <Uncommitted>" + strings.Repeat("A", 86) + "==</Uncommitted>\n"
	body := "<BlockList>" + strings.Repeat(entry, blocksMax) + "</BlockList>"
	if n := int64(len(body)); n > BlockListMax {
		t.Errorf("%d bytes do not fit", n)
	}
	count := 0
	f := func(body string) error {
		count = 0
		return ParseBlockList(strings.NewReader(body), func(BlockSource, []byte) error { count++; return nil })
	}
	if err := f(body); err != nil || count != blocksMax {
		t.Errorf("%d blocks, %v", count, err)
	}
	if err := f(strings.Replace(body, "</BlockList>", entry+"</BlockList>", 1)); !errors.Is(err, azerr.BlockListTooLong) {
		t.Errorf("one more: %v", err)
	}
}

// TestBlockListErrors: errors of the reader, and of whoever takes the entries, come back as they are.
func TestBlockListErrors(t *testing.T) {
	broken := errors.New("broken")
	const body = "\xef\xbb\xbf<?xml version='1.0'?><BlockList a='b'><!-- c --><Latest>Q&#81;==</Latest></BlockList> "
	for n := range body {
		r := io.MultiReader(strings.NewReader(body[:n]), iotest.ErrReader(broken))
		if _, err := list(r); err != broken {
			t.Errorf("broken after %q: %v", body[:n], err)
		}
	}
	if err := ParseBlockList(strings.NewReader(body), func(BlockSource, []byte) error { return broken }); err != broken {
		t.Errorf("got %v", err)
	}
}

// slowList reads a list with the standard library.
func slowList(body []byte) (string, error) {
	d := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))))
	var top node
	if err := parseInto(d, &top, 0); err != nil {
		return "", err
	}
	if len(top.kids) != 1 || top.kids[0].name != "BlockList" {
		return "", errListRoot
	}
	var entries []string
	for _, k := range top.kids[0].kids {
		id, ok := header.AppendBlockID(nil, []byte(k.text))
		if !ok || len(k.kids) > 0 {
			return "", errListText
		}
		entries = append(entries, fmt.Sprintf("%s %q", k.name, id))
	}
	return strings.Join(entries, ", "), nil
}

// FuzzParseBlockList: what is read is what the standard library reads, and errors have codes.
func FuzzParseBlockList(f *testing.F) {
	f.Add([]byte("\xef\xbb\xbf<?xml version=\"1.0\" encoding='UTF-8' ?>\r\n<!-- a --><BlockList xmlns:a='b'> <Latest >QQ==</Latest> </BlockList> <!---->"))
	f.Add([]byte("<BlockList><Committed>&#65;AA&#x3d;</Committed><Uncommitted>QQ==</Uncommitted><Latest/></BlockList>"))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := list(bytes.NewReader(body))
		if err != nil {
			if azerr.From(err).Code == azerr.InternalError {
				t.Errorf("%q: %v", body, err)
			}
			return
		}
		if want, err := slowList(body); err != nil || got != want {
			t.Errorf("%q: got %s, want %s, %v", body, got, want, err)
		}
	})
}

func BenchmarkParseBlockList(b *testing.B) {
	body := []byte("<BlockList>" + strings.Repeat("<Latest>"+strings.Repeat("A", 86)+"==</Latest>", blocksMax) + "</BlockList>")
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := ParseBlockList(bytes.NewReader(body), func(BlockSource, []byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
