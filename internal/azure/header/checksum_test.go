package header

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc64"
	"math/rand/v2"
	"testing"

	"pagevault/internal/azure/azerr"
)

// TestCRC64 holds the reference's values. The one of GoBlockBlobData was recorded from the service.
func TestCRC64(t *testing.T) {
	counting := make([]byte, 512)
	for i := range counting {
		counting[i] = byte(i)
	}
	f := func(in []byte, want string) {
		t.Helper()
		if got := string(AppendCRC64(nil, CRC64(in))); got != want {
			t.Errorf("%d bytes: got %s, want %s", len(in), got, want)
		}
	}
	f([]byte("123456789"), "iJh5CoYUi64=")
	f(nil, "AAAAAAAAAAA=")
	f([]byte("abc"), "6/rBP7vK5QU=")
	f([]byte("GoBlockBlobData"), "+JGsS7CR5kg=")
	f(make([]byte, 512), "6YKnaCgO5h0=")
	f(make([]byte, 4<<20), "7fxeieZXMgQ=")
	f(counting, "BxtKCTKG9GU=")
}

// TestCRC64Slow compares with the standard library's tables, at lengths around the vector code's block sizes.
func TestCRC64Slow(t *testing.T) {
	table := crc64.MakeTable(0x9A6C9329AC4BC9B5)
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range 1025 {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		if got, want := CRC64(b), crc64.Checksum(b, table); got != want {
			t.Fatalf("%d bytes: got %x, want %x", n, got, want)
		}
	}
}

func TestChecksum(t *testing.T) {
	const md5abc, crcabc, zero = "kAFQmDzST7DWlj99KOF/cg==", "6/rBP7vK5QU=", "AAAAAAAAAAA="
	f := func(want azerr.Code, md5, crc bool, lines ...string) {
		t.Helper()
		c, err := ParseChecksum(set(t, lines...))
		var v Verified
		if err == nil {
			v, err = c.Verify([]byte("abc"))
		}
		if want != 0 {
			if !errors.Is(err, want) || v != (Verified{}) {
				t.Errorf("%q: got %+v, %v, want %v", lines, v, err, want)
			}
			return
		}
		if err != nil || v.HasMD5 != md5 || v.HasCRC != crc {
			t.Errorf("%q: got %+v, %v, want md5 %v, crc64 %v", lines, v, err, md5, crc)
		}
		if md5 && string(AppendMD5(nil, v.MD5)) != md5abc || crc && string(AppendCRC64(nil, v.CRC)) != crcabc {
			t.Errorf("%q: wrong sums %+v", lines, v)
		}
	}
	// None asked for: the reply carries a CRC64.
	f(0, false, true)
	// The one that was sent comes back, and from 2026-10-06 the other as well.
	f(0, false, true, "x-ms-content-crc64: "+crcabc)
	f(0, true, false, "Content-MD5: "+md5abc)
	f(0, true, false, "Content-MD5: "+md5abc, "x-ms-version: 2026-06-06")
	f(0, true, true, "Content-MD5: "+md5abc, "x-ms-version: 2026-10-06")
	// Damage.
	f(azerr.Crc64Mismatch, false, false, "x-ms-content-crc64: "+zero)
	f(azerr.Md5Mismatch, false, false, "Content-MD5: AAAAAAAAAAAAAAAAAAAAAA==")
	// Values that are none.
	f(azerr.InvalidMd5, false, false, "Content-MD5:")
	f(azerr.InvalidMd5, false, false, "Content-MD5: AAAA")
	f(azerr.InvalidMd5, false, false, "Content-MD5: "+md5abc+md5abc)
	f(azerr.InvalidMd5, false, false, "Content-MD5: kAFQmDzST7DWlj99KOF?cg==")
	f(azerr.InvalidMd5, false, false, "Content-MD5: kAFQmDzST7DWlj99KOF/cg=A")
	f(azerr.InvalidHeaderValue, false, false, "x-ms-content-crc64:")
	f(azerr.InvalidHeaderValue, false, false, "x-ms-content-crc64: AAAAAAAAAAAA")
	f(azerr.InvalidHeaderValue, false, false, "x-ms-content-crc64: ?AAAAAAAAAA=")
	// Two.
	f(azerr.BothCrc64AndMd5HeaderPresent, false, false, "Content-MD5: "+md5abc, "x-ms-content-crc64: "+crcabc)

	c, err := ParseChecksum(set(t, "x-ms-content-crc64: "+zero))
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Verify([]byte("abc"))
	var e *azerr.Error
	if !errors.As(err, &e) || e.Error() != "Crc64Mismatch UserSpecifiedCrc64="+zero+" ServerCalculatedCrc64="+crcabc {
		t.Errorf("got %v", err)
	}
}

// TestBlobChecksum: the MD5 that a blob is to have guards the transport as well, and counts in place of the other one.
func TestBlobChecksum(t *testing.T) {
	const md5abc, crcabc, zero, wrong = "kAFQmDzST7DWlj99KOF/cg==", "6/rBP7vK5QU=", "AAAAAAAAAAA=", "AAAAAAAAAAAAAAAAAAAAAA=="
	f := func(want azerr.Code, hasMD5 bool, lines ...string) {
		t.Helper()
		c, err := ParseBlobChecksum(set(t, lines...))
		if err == nil && c.HasMD5() != hasMD5 {
			t.Errorf("%q: HasMD5 is %v", lines, c.HasMD5())
		}
		if err == nil {
			_, err = c.Verify([]byte("abc"))
		}
		if want == 0 && err != nil || want != 0 && !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", lines, err, want)
		}
	}
	f(0, false)
	f(0, false, "x-ms-blob-content-md5:") // it is to have none of the client's
	f(0, true, "x-ms-blob-content-md5: "+md5abc)
	f(0, true, "x-ms-blob-content-md5: "+md5abc, "Content-MD5: "+wrong)
	f(0, true, "x-ms-blob-content-md5: "+md5abc, "x-ms-content-crc64: "+crcabc)
	f(azerr.Md5Mismatch, true, "x-ms-blob-content-md5: "+wrong, "Content-MD5: "+md5abc)
	f(azerr.Crc64Mismatch, true, "x-ms-blob-content-md5: "+md5abc, "x-ms-content-crc64: "+zero)
	f(azerr.InvalidMd5, true, "x-ms-blob-content-md5: "+md5abc, "Content-MD5: AAAA")
	f(azerr.InvalidMd5, true, "x-ms-blob-content-md5: AAAA")
}

func BenchmarkVerifyCRC64(b *testing.B) {
	body := bytes.Repeat(binary.LittleEndian.AppendUint64(nil, 0x0123456789abcdef), 4<<20/8)
	var c Checksum
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Verify(body); err != nil {
			b.Fatal(err)
		}
	}
}
