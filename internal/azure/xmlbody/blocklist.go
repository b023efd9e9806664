package xmlbody

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
)

// BlockSource says where a block of a list is looked for.
type BlockSource uint8

// The elements of a list of blocks.
const (
	Latest BlockSource = iota
	Uncommitted
	Committed
)

var blockSources = [...]string{Latest: "Latest", Uncommitted: "Uncommitted", Committed: "Committed"}

const (
	// blocksMax is the most blocks that a list may name.
	blocksMax = 50_000

	// BlockListMax is the longest list that is read: every one of the most blocks with the longest id, and some white space.
	BlockListMax = blocksMax * int64(len("<Uncommitted></Uncommitted>")+88+40)

	// wordMax bounds the names in a list.
	wordMax = 1 << 10
)

// ParseBlockList reads the body of Put Block List, the only document that may be long, so that it is read as it comes and not
// made a tree of. add is called for every block, in the order of the list, with its decoded id, which is good until it returns; its error
// ends reading, as does one of the reader.
//
// The form is that of parseTree, without processing instructions, and with comments between elements only. Errors are
// InvalidXmlDocument, UnsupportedXmlNode, InvalidBlockId and BlockListTooLong.
func ParseBlockList(r io.Reader, add func(from BlockSource, id []byte) error) error {
	p := blockListParser{r: bufio.NewReaderSize(r, 16<<10)}
	if err := p.document(add); err != nil {
		if errors.Is(err, errList) {
			return azerr.InvalidXmlDocument.With("Reason", err.Error())
		}
		return err
	}
	return nil
}

// blockListParser reads a list byte by byte.
type blockListParser struct {
	r    *bufio.Reader
	word []byte // scratch
	last []byte // scratch, for end tags
	id   []byte // scratch
}

// errList is the error of what is no list of blocks.
var errList = errors.New("not a list of blocks")

// listError is errList with a reason.
type listError string

func (e listError) Error() string { return string(e) }
func (e listError) Unwrap() error { return errList }

const (
	errListEnd  = listError("the document ends too soon")
	errListText = listError("text where an element is expected")
	errListTag  = listError("a tag that is none")
	errListRoot = listError("the document is not a BlockList")
	errListDecl = listError("not XML 1.0 in UTF-8")
)

// next returns the next byte.
func (p *blockListParser) next() (byte, error) {
	c, err := p.r.ReadByte()
	if err == io.EOF {
		err = errListEnd
	}
	return c, err
}

// document reads all of it.
func (p *blockListParser) document(add func(BlockSource, []byte) error) error {
	if err := p.begin(); err != nil {
		return err
	}
	closing, err := p.open()
	if err != nil {
		return err
	}
	empty, err := p.tag()
	if err != nil {
		return err
	}
	if closing || string(p.word) != "BlockList" {
		return errListRoot
	}
	for n := 0; !empty; n++ {
		from, end, err := p.entry()
		switch {
		case err != nil:
			return err
		case end:
			return p.end()
		case n == blocksMax:
			return azerr.BlockListTooLong
		}
		if err := add(from, p.id); err != nil {
			return err
		}
	}
	return p.end()
}

// begin passes over a byte order mark and the declaration.
func (p *blockListParser) begin() error {
	if mark, _ := p.r.Peek(3); string(mark) == "\xef\xbb\xbf" { // an error comes again
		p.r.Discard(3)
	}
	start, err := p.r.Peek(6)
	if err != nil && err != io.EOF {
		return err
	}
	if len(start) < 6 || string(start[:5]) != "<?xml" || !isSpace(start[5]) {
		return nil
	}
	p.r.Discard(5)
	return p.attributes('?', func(name, value []byte) error {
		switch {
		case string(name) == "version" && string(value) != "1.0", string(name) == "encoding" && !bytes.EqualFold(value, []byte("utf-8")):
			return errListDecl
		}
		return nil
	})
}

// end passes over what may follow the list.
func (p *blockListParser) end() error {
	_, err := p.open()
	switch {
	case err == errListEnd:
		return nil
	case err == nil:
		return errListRoot
	}
	return err
}

// open goes to the next tag, over white space and comments, and reads its first byte: the slash of an end tag. errListEnd is
// its error only if nothing is open.
func (p *blockListParser) open() (closing bool, err error) {
	for {
		c, err := p.next()
		if err != nil {
			return false, err
		}
		if isSpace(c) {
			continue
		}
		if c != '<' {
			return false, errListText
		}
		if c, err = p.next(); err == errListEnd {
			return false, errListTag
		} else if err != nil {
			return false, err
		}
		switch c {
		case '!':
			if err := p.comment(); err != nil {
				return false, err
			}
		case '/':
			return true, nil
		default:
			return false, p.r.UnreadByte()
		}
	}
}

// comment reads one behind its exclamation mark. It errs with errListTag where it should go on.
func (p *blockListParser) comment() error {
	for _, want := range "--" {
		if c, err := p.next(); err == errListEnd || err == nil && c != byte(want) {
			return errListTag
		} else if err != nil {
			return err
		}
	}
	for dashes := 0; ; {
		c, err := p.next()
		switch {
		case err == errListEnd:
			return errListTag
		case err != nil:
			return err
		case dashes == 2 && c == '>':
			return nil
		case dashes == 2:
			return errListTag
		case c == '-':
			dashes++
		default:
			dashes = 0
		}
	}
}

// tag reads the rest of a start tag, its name into word. empty is the element that has no end tag.
func (p *blockListParser) tag() (empty bool, err error) {
	c, err := p.name(&p.word)
	if err != nil {
		return false, err
	}
	if c == '>' {
		return false, nil
	}
	if err := p.r.UnreadByte(); err != nil {
		return false, err
	}
	ended := false
	err = p.attributes('/', func(name, _ []byte) error {
		ended = name == nil
		return nil
	})
	return !ended, err
}

// name reads a name, and the byte behind it, which is white space or one of = > / ?.
func (p *blockListParser) name(into *[]byte) (behind byte, err error) {
	*into = (*into)[:0]
	for {
		c, err := p.next()
		switch {
		case err != nil:
			return 0, err
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_', len(*into) > 0 && (c == '-' || c == '.' || c == ':' || '0' <= c && c <= '9'):
		case len(*into) > 0 && (isSpace(c) || c == '=' || c == '>' || c == '/' || c == '?'):
			if bytes.Count(*into, []byte{':'}) > 1 {
				return 0, errListTag
			}
			return c, nil
		default:
			return 0, errListTag
		}
		if len(*into) == wordMax {
			return 0, errListTag
		}
		*into = append(*into, c)
	}
}

// attributes reads those of a tag up to its end: mark and >, or > alone, of which see is told with a nil name. It is told of the
// others too; word stays.
func (p *blockListParser) attributes(mark byte, see func(name, value []byte) error) error {
	var name, value []byte
	for {
		c, err := p.space()
		switch {
		case err != nil:
			return err
		case c == '>' && mark == '/':
			return see(nil, nil)
		case c == mark:
			if c, err = p.next(); err == nil && c != '>' {
				err = errListTag
			}
			return err
		}
		if err := p.r.UnreadByte(); err != nil {
			return err
		}
		if c, err = p.name(&name); err == nil && isSpace(c) {
			c, err = p.space()
		}
		if err == nil && c != '=' {
			err = errListTag
		}
		if err != nil {
			return err
		}
		if value, err = p.quoted(value[:0]); err != nil {
			return err
		}
		if err := see(name, value); err != nil {
			return err
		}
	}
}

// space passes over white space and returns the byte behind it.
func (p *blockListParser) space() (byte, error) {
	for {
		if c, err := p.next(); err != nil || !isSpace(c) {
			return c, err
		}
	}
}

// quoted reads the value of an attribute. What is printable ASCII is enough for those that are sent, the names of namespaces.
func (p *blockListParser) quoted(value []byte) ([]byte, error) {
	quote, err := p.space()
	if err == nil && quote != '"' && quote != '\'' {
		err = errListTag
	}
	for err == nil {
		var c byte
		switch c, err = p.next(); {
		case err != nil:
		case c == quote:
			return value, nil
		case c < ' ' || c > '~' || c == '<' || c == '&' || len(value) == wordMax:
			err = errListTag
		default:
			value = append(value, c)
		}
	}
	return nil, err
}

// entry reads the next block of the list, its id into id, or the end of the list.
func (p *blockListParser) entry() (from BlockSource, end bool, err error) {
	closing, err := p.open()
	if err != nil {
		return 0, false, err
	}
	if closing {
		return 0, true, p.close("BlockList")
	}
	empty, err := p.tag()
	if err != nil {
		return 0, false, err
	}
	for int(from) < len(blockSources) && string(p.word) != blockSources[from] {
		from++
	}
	if int(from) == len(blockSources) {
		return 0, false, badNode(azerr.UnsupportedXmlNode, string(p.word), "")
	}
	if empty {
		p.word = p.word[:0]
	} else {
		if err := p.text(); err != nil {
			return 0, false, err
		}
		if err := p.close(blockSources[from]); err != nil {
			return 0, false, err
		}
	}
	var ok bool
	if p.id, ok = header.AppendBlockID(p.id[:0], p.word); !ok {
		return 0, false, badNode(azerr.InvalidBlockId, blockSources[from], string(p.word))
	}
	return from, false, nil
}

// close reads the rest of an end tag behind its slash.
func (p *blockListParser) close(element string) error {
	c, err := p.name(&p.last)
	if err == nil && isSpace(c) {
		c, err = p.space()
	}
	if err == nil && (c != '>' || string(p.last) != element) {
		err = errListTag
	}
	return err
}

// text reads that of an element into word, up to the slash of the end tag, without white space at its ends.
func (p *blockListParser) text() error {
	text, err := p.r.ReadSlice('<')
	switch err {
	case nil:
	case io.EOF:
		return errListEnd
	case bufio.ErrBufferFull:
		return badNode(azerr.InvalidBlockId, "BlockList", "")
	default:
		return err
	}
	if err := p.expand(text[:len(text)-1]); err != nil {
		return err
	}
	p.word = bytes.Trim(p.word, " \t\r\n")
	c, err := p.next()
	if err == nil && c != '/' {
		err = errListText
	}
	return err
}

// expand puts text into word, and in place of references what they stand for.
func (p *blockListParser) expand(text []byte) error {
	p.word = p.word[:0]
	for {
		at := bytes.IndexByte(text, '&')
		if at < 0 {
			p.word = append(p.word, text...)
			return nil
		}
		c, rest, ok := reference(text[at+1:])
		if !ok {
			return errListText
		}
		p.word = append(append(p.word, text[:at]...), c)
		text = rest
	}
}

// reference reads a reference to a character that base64 has, behind its ampersand: in decimal or hexadecimal digits.
func reference(text []byte) (c byte, rest []byte, ok bool) {
	text, rest, ok = bytes.Cut(text, []byte{';'})
	text, sharp := bytes.CutPrefix(text, []byte{'#'})
	base := 10
	text, hex := bytes.CutPrefix(text, []byte{'x'})
	if hex {
		base = 16
	}
	n := 0
	for _, c := range text {
		d := digit(c)
		if d >= base || n > '~' {
			return 0, nil, false
		}
		n = n*base + d
	}
	return byte(n), rest, ok && sharp && n > ' ' && n <= '~'
}

func digit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return 16
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// BeginBlocks begins a list of blocks, of which there may be two.
func BeginBlocks(dst []byte) []byte { return append(append(dst, prolog...), "<BlockList>"...) }

// BeginBlocksOf begins the part of a list that has the committed blocks, or those that wait.
func BeginBlocksOf(dst []byte, committed bool) []byte {
	return append(append(append(dst, '<'), blocksElement(committed)...), '>')
}

// AppendBlock appends one block.
func AppendBlock(dst, id []byte, size int64) []byte {
	dst = append(dst, "<Block><Name>"...)
	dst = base64.StdEncoding.AppendEncode(dst, id)
	dst = append(dst, "</Name>"...)
	dst = appendInt(dst, "Size", size)
	return append(dst, "</Block>"...)
}

// EndBlocksOf ends the part.
func EndBlocksOf(dst []byte, committed bool) []byte { return appendEnd(dst, blocksElement(committed)) }

// EndBlocks ends the list.
func EndBlocks(dst []byte) []byte { return append(dst, "</BlockList>"...) }

func blocksElement(committed bool) string {
	if committed {
		return "CommittedBlocks"
	}
	return "UncommittedBlocks"
}
