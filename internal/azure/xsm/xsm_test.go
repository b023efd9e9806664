package xsm

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/cockroachdb/datadriven"
)

// golden is the message of "abc" that the description of the protocol gives.
const golden = "012a0000000000000001000100" + "01000300000000000000" + "616263" + "ebfac13fbbcae505" + "ebfac13fbbcae505"

// encode writes data in one go.
func encode(t testing.TB, data []byte, segment int64) []byte {
	t.Helper()
	e := NewEncoder(int64(len(data)), segment)
	var out bytes.Buffer
	n, err := e.Write(&out, data)
	if err != nil || n != e.Len() || int64(out.Len()) != n {
		t.Fatalf("wrote %d of %d bytes, said %d: %v", out.Len(), e.Len(), n, err)
	}
	return out.Bytes()
}

// decode reads a message from r, through a buffer of the size.
func decode(r io.Reader, length, data int64, size int) ([]byte, uint64, error) {
	d, err := NewDecoder(r, length, data)
	if err != nil {
		return nil, 0, err
	}
	var out []byte
	p := make([]byte, size)
	for {
		n, err := d.Read(p)
		out = append(out, p[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, 0, err
		}
	}
	crc, err := d.End()
	return out, crc, err
}

func TestGolden(t *testing.T) {
	if got := hex.EncodeToString(encode(t, []byte("abc"), DefaultSegment)); got != golden {
		t.Errorf("got  %s\nwant %s", got, golden)
	}
	want, _ := hex.DecodeString(golden)
	got, crc, err := decode(bytes.NewReader(want), int64(len(want)), 3, 8)
	if string(got) != "abc" || crc != 0x05e5cabb3fc1faeb || err != nil {
		t.Errorf("got %q %x %v", got, crc, err)
	}
}

// TestTranscripts encodes and decodes messages that are written down.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "encode":
				var text string
				var segment int64
				d.ScanArgs(t, "data", &text)
				d.ScanArgs(t, "segment", &segment)
				return layout(encode(t, []byte(strings.Trim(text, "'")), segment))
			case "decode":
				var data int64
				d.ScanArgs(t, "data", &data)
				var hexes strings.Builder
				for line := range strings.SplitSeq(d.Input, "\n") {
					line, _, _ = strings.Cut(line, "#")
					hexes.WriteString(strings.ReplaceAll(line, " ", ""))
				}
				msg, err := hex.DecodeString(hexes.String())
				if err != nil {
					d.Fatalf(t, "%v", err)
				}
				length := int64(len(msg))
				d.MaybeScanArgs(t, "length", &length)
				got, crc, err := decode(bytes.NewReader(msg), length, data, 2)
				if err != nil {
					return fmt.Sprintf("%v\n", err)
				}
				return fmt.Sprintf("%q %016x\n", got, crc)
			}
			d.Fatalf(t, "no command %s", d.Cmd)
			return ""
		})
	})
}

// layout writes a message down, a part a line.
func layout(msg []byte) string {
	var b strings.Builder
	line := func(n int, what string) []byte {
		p := msg[:n]
		msg = msg[n:]
		fmt.Fprintf(&b, "%x # %s\n", p, what)
		return p
	}
	segments := binary.LittleEndian.Uint16(line(messageHeader, "message")[11:])
	for i := range int(segments) {
		n := binary.LittleEndian.Uint64(line(segmentHeader, "segment "+strconv.Itoa(i+1))[2:])
		line(int(n), "data")
		line(crcBytes, "its CRC")
	}
	line(crcBytes, "CRC of all data")
	if len(msg) > 0 {
		fmt.Fprintf(&b, "%x # too much\n", msg)
	}
	return b.String()
}

// TestCuts ends a message at every byte.
func TestCuts(t *testing.T) {
	msg := encode(t, []byte("four segments"), 4)
	for i := range msg {
		if _, _, err := decode(bytes.NewReader(msg[:i]), int64(len(msg)), 13, 5); err != io.ErrUnexpectedEOF {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
}

// TestFlips turns every bit of a message over.
func TestFlips(t *testing.T) {
	msg := encode(t, []byte("four segments"), 4)
	for i := range len(msg) * 8 {
		bad := bytes.Clone(msg)
		bad[i/8] ^= 1 << (i % 8)
		_, _, err := decode(bytes.NewReader(bad), int64(len(bad)), 13, 5)
		if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrChecksum) {
			t.Errorf("bit %d: %v", i, err)
		}
	}
}

// TestReaders hands the message over in other pieces, with the end of the reader in the same breath or after it.
func TestReaders(t *testing.T) {
	data := bytes.Repeat([]byte("structured "), 100)
	msg := encode(t, data, 64)
	for name, wrap := range map[string]func(io.Reader) io.Reader{"byte by byte": iotest.OneByteReader, "half": iotest.HalfReader, "end with the data": iotest.DataErrReader} {
		if got, _, err := decode(wrap(bytes.NewReader(msg)), int64(len(msg)), int64(len(data)), 100); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %v", name, err)
		}
	}
	broken := errors.New("broken")
	if _, _, err := decode(io.MultiReader(bytes.NewReader(msg[:40]), iotest.ErrReader(broken)), int64(len(msg)), int64(len(data)), 100); err != broken {
		t.Errorf("got %v", err)
	}
}

// TestEnd asks for the end before it.
func TestEnd(t *testing.T) {
	msg := encode(t, []byte("abc"), 4)
	d, err := NewDecoder(bytes.NewReader(msg), int64(len(msg)), 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.End(); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v", err)
	}
	if _, err := d.Read(make([]byte, 3)); !errors.Is(err, ErrMalformed) {
		t.Errorf("then %v", err)
	}
}

// TestSizes: how long messages are, up to blobs of 8 TiB, whose segments are larger so that they can be counted.
func TestSizes(t *testing.T) {
	f := func(data, segment, count int64) {
		t.Helper()
		e := NewEncoder(data, DefaultSegment)
		n, ok := segmentsIn(e.Len(), data)
		if e.segment != segment || e.count != count || !ok || n != count {
			t.Errorf("%d bytes: %d segments of %d, %d by the length", data, e.count, e.segment, n)
		}
		if e.Len()-data > OverheadMax {
			t.Errorf("%d bytes: %d more", data, e.Len()-data)
		}
	}
	f(0, 4<<20, 1)
	f(1, 4<<20, 1)
	f(4<<20, 4<<20, 1)
	f(4<<20+1, 4<<20, 2)
	f(65535*4<<20, 4<<20, 65535)
	f(65535*4<<20+1, 4<<20+1, 65535)
	f(8<<40, (8<<40)/65535+1, 65535)
	for _, l := range [][2]int64{{0, 0}, {38, 0}, {40, 0}, {39, 1}, {42, 2}, {39, -1}, {-1, -1}, {1<<63 - 1, 0}, {1<<63 - 1, 1<<63 - 1}, {21 + 65536*18, 0}} {
		if _, err := NewDecoder(nil, l[0], l[1]); !errors.Is(err, ErrMalformed) {
			t.Errorf("%v: %v", l, err)
		}
	}
}

// TestWriter: more data than announced, an end written twice, and a writer that fails.
func TestWriter(t *testing.T) {
	e := NewEncoder(3, 2)
	var out bytes.Buffer
	if _, err := e.Write(&out, []byte("abcd")); err != errTooMuch || out.Len() > 0 {
		t.Errorf("got %v", err)
	}
	for _, p := range []string{"", "a", "", "b", "", "c", "", ""} {
		if _, err := e.Write(&out, []byte(p)); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(out.Bytes(), encode(t, []byte("abc"), 2)) {
		t.Errorf("got %x", out.Bytes())
	}
	broken := errors.New("broken")
	e = NewEncoder(3, 2)
	if _, err := e.Write(failing{broken}, []byte("abc")); err != broken {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// TestAllocs: nothing is allocated for a segment.
func TestAllocs(t *testing.T) {
	data := make([]byte, 64<<10)
	msg := encode(t, data, 64)
	p := make([]byte, len(data))
	r := bytes.NewReader(msg)
	if n := testing.AllocsPerRun(10, func() {
		r.Reset(msg)
		d, err := NewDecoder(r, int64(len(msg)), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(d, p); err != nil {
			t.Fatal(err)
		}
		if _, err := d.End(); err != nil {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("%v allocations for %d segments", n, len(data)/64)
	}
	if n := testing.AllocsPerRun(10, func() {
		e := NewEncoder(int64(len(data)), 64)
		if _, err := e.Write(io.Discard, data); err != nil {
			t.Fatal(err)
		}
	}); n > 3 { // the encoder, and what its closure shares
		t.Errorf("%v allocations to write %d segments", n, len(data)/64)
	}
}

// FuzzRoundTrip cuts data into segments and the message into reads.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("some data"), uint16(3), uint16(4))
	f.Add([]byte{}, uint16(0), uint16(0))
	f.Fuzz(func(t *testing.T, data []byte, segment, size uint16) {
		msg := encode(t, data, int64(segment)+1)
		got, crc, err := decode(bytes.NewReader(msg), int64(len(msg)), int64(len(data)), int(size)+1)
		if err != nil || !bytes.Equal(got, data) || crc != crc64.Checksum(data, table) {
			t.Fatalf("got %d of %d bytes, %v", len(got), len(data), err)
		}
	})
}

// FuzzDecoder reads what may be no message. One that is taken is so by another reader too, which has all of it at hand.
func FuzzDecoder(f *testing.F) {
	msg, _ := hex.DecodeString(golden)
	f.Add(msg, int64(3))
	f.Add(encode(f, []byte("more segments"), 3), int64(13))
	f.Add(encode(f, nil, 3), int64(0))
	f.Fuzz(func(t *testing.T, msg []byte, data int64) {
		got, crc, err := decode(bytes.NewReader(msg), int64(len(msg)), data, 3)
		want, ok := plain(msg)
		if ok = ok && int64(len(want)) == data; ok != (err == nil) {
			t.Fatalf("%x: %v, the other reader takes it: %v", msg, err, ok)
		}
		if ok && (!bytes.Equal(got, want) || crc != crc64.Checksum(want, table)) {
			t.Fatalf("%x: got %x, want %x", msg, got, want)
		}
	})
}

var table = crc64.MakeTable(0x9A6C9329AC4BC9B5)

// plain reads a message as its description has it.
func plain(msg []byte) (data []byte, ok bool) {
	u := binary.LittleEndian
	if len(msg) < messageHeader || msg[0] != 1 || u.Uint64(msg[1:]) != uint64(len(msg)) || u.Uint16(msg[9:]) != 1 || u.Uint16(msg[11:]) == 0 {
		return nil, false
	}
	count := int(u.Uint16(msg[11:]))
	msg = msg[messageHeader:]
	for i := range count {
		if len(msg) < segmentHeader || int(u.Uint16(msg)) != i+1 {
			return nil, false
		}
		n := u.Uint64(msg[2:])
		msg = msg[segmentHeader:]
		if n > uint64(len(msg)) || len(msg)-int(n) < crcBytes || u.Uint64(msg[n:]) != crc64.Checksum(msg[:n], table) {
			return nil, false
		}
		data = append(data, msg[:n]...)
		msg = msg[n+crcBytes:]
	}
	return data, len(msg) == crcBytes && u.Uint64(msg) == crc64.Checksum(data, table)
}
