package header

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"

	"github.com/minio/crc64nvme"

	"pagevault/internal/azure/azerr"
)

// bothSince is the first version in which the reply to a body sent with an MD5 carries a CRC64 as well.
const bothSince = "2026-10-06"

// Checksum is the transport checksum a client sent with a body: an MD5, a CRC64 or, as the zero value says, none. It
// guards the transport only and is not stored.
type Checksum struct {
	hasMD5, hasCRC bool
	md5            [md5.Size]byte
	crc            uint64
	crcToo         bool // the reply to an MD5 carries a CRC64 as well
}

// ParseChecksum reads Content-MD5 and x-ms-content-crc64. Errors are InvalidMd5 for what is not 16 bytes of base64,
// InvalidHeaderValue for a CRC64 that is not 8, and BothCrc64AndMd5HeaderPresent.
func ParseChecksum(s *Set) (Checksum, error) { return parseChecksum(s, ContentMD5, XMsContentCRC64) }

// ParseSourceChecksum reads x-ms-source-content-md5 and x-ms-source-content-crc64, which are of what is read from the
// source of a copy. Errors are those of ParseChecksum.
func ParseSourceChecksum(s *Set) (Checksum, error) {
	return parseChecksum(s, XMsSourceContentMD5, XMsSourceContentCRC64)
}

func parseChecksum(s *Set, md5, crc ID) (Checksum, error) {
	var c Checksum
	if s.Has(md5) && s.Has(crc) {
		return c, azerr.BothCrc64AndMd5HeaderPresent
	}
	if s.Has(md5) {
		sum, err := ParseMD5(s.Get(md5))
		if err != nil {
			return Checksum{}, err
		}
		c.hasMD5, c.md5 = true, sum
		c.crcToo = string(s.Get(XMsVersion)) >= bothSince
	}
	if s.Has(crc) {
		var sum [8]byte
		if !decodeSum(sum[:], s.Get(crc)) {
			return Checksum{}, azerr.BadHeader(crc.String(), s.String(crc))
		}
		c.hasCRC, c.crc = true, binary.LittleEndian.Uint64(sum[:])
	}
	return c, nil
}

// ParseBlobChecksum is ParseChecksum for the content of a whole blob: x-ms-blob-content-md5, which the blob is to have, guards the
// transport as well. It counts in place of Content-MD5, and beside a CRC64.
func ParseBlobChecksum(s *Set) (Checksum, error) {
	c, err := ParseChecksum(s)
	if v := s.Get(XMsBlobContentMD5); err == nil && len(v) > 0 {
		c.hasMD5 = true
		c.md5, err = ParseMD5(v)
	}
	return c, err
}

// HasMD5 reports whether the client sent an MD5.
func (c *Checksum) HasMD5() bool { return c.hasMD5 }

// ParseMD5 reads an MD5 as headers carry it. The error is InvalidMd5.
func ParseMD5(v []byte) (sum [md5.Size]byte, err error) {
	if !decodeSum(sum[:], v) {
		return sum, azerr.InvalidMd5
	}
	return sum, nil
}

// decodeSum decodes base64 that must fill dst exactly.
func decodeSum(dst, v []byte) bool {
	var buf [24]byte // room for what Decode may write, which is more than it returns
	if len(v) != base64.StdEncoding.EncodedLen(len(dst)) {
		return false
	}
	n, err := base64.StdEncoding.Decode(buf[:], v)
	return err == nil && n == len(dst) && copy(dst, buf[:n]) == n
}

// Verified says which checksums of a body the reply carries: those the client can compare with its own.
type Verified struct {
	MD5 [md5.Size]byte // valid if HasMD5
	CRC uint64         // valid if HasCRC

	HasMD5, HasCRC bool
}

// Verify compares a whole body with its checksum. Errors and results are those of Check.
func (c *Checksum) Verify(body []byte) (Verified, error) {
	var sum [md5.Size]byte
	var crc uint64
	if c.hasMD5 {
		sum = md5.Sum(body)
	}
	if !c.hasMD5 || c.hasCRC || c.crcToo {
		crc = CRC64(body)
	}
	return c.Check(sum, crc)
}

// Check compares the sums of a whole body with its checksum; the MD5 counts only if HasMD5. The error is Md5Mismatch or
// Crc64Mismatch, with both values. The reply to an MD5 carries the MD5, from 2026-10-06 with a CRC64, and any other reply the
// CRC64; operations differ in whether they send one at all.
func (c *Checksum) Check(sum [md5.Size]byte, crc uint64) (Verified, error) {
	v := Verified{HasMD5: c.hasMD5, HasCRC: !c.hasMD5 || c.crcToo}
	if v.HasMD5 {
		v.MD5 = sum
	}
	if v.HasCRC {
		v.CRC = crc
	}
	switch {
	case c.hasMD5 && sum != c.md5:
		return Verified{}, azerr.Md5Mismatch.With(
			"UserSpecifiedMd5", string(AppendMD5(nil, c.md5)), "ServerCalculatedMd5", string(AppendMD5(nil, sum)))
	case c.hasCRC && crc != c.crc:
		return Verified{}, azerr.Crc64Mismatch.With(
			"UserSpecifiedCrc64", string(AppendCRC64(nil, c.crc)), "ServerCalculatedCrc64", string(AppendCRC64(nil, crc)))
	}
	return v, nil
}

// CRC64 returns the checksum of the service: CRC-64/NVME.
func CRC64(b []byte) uint64 { return crc64nvme.Checksum(b) }

// UpdateCRC64 returns the checksum of what has the checksum crc, and b behind it.
func UpdateCRC64(crc uint64, b []byte) uint64 { return crc64nvme.Update(crc, b) }

// AppendCRC64 appends the value of x-ms-content-crc64: base64 of the 8 bytes, the least significant first.
func AppendCRC64(dst []byte, crc uint64) []byte {
	return base64.StdEncoding.AppendEncode(dst, binary.LittleEndian.AppendUint64(make([]byte, 0, 8), crc))
}

// AppendMD5 appends the value of Content-MD5.
func AppendMD5(dst []byte, sum [md5.Size]byte) []byte {
	return base64.StdEncoding.AppendEncode(dst, sum[:])
}
