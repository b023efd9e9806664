package server

import (
	"crypto/md5"

	"pagevault/internal/azure/header"
)

// crc64Version is the first service version whose page writes answer with a CRC-64; before it they answer with an MD5.
const crc64Version = "2019-02-02"

// setCRC64 sends a CRC-64.
func (r *request) setCRC64(sum uint64) {
	r.out = header.AppendCRC64(r.out[:0], sum)
	r.set("x-ms-content-crc64", r.out)
}

// setSum sends an MD5 as Content-MD5.
func (r *request) setSum(sum [md5.Size]byte) {
	r.out = header.AppendMD5(r.out[:0], sum)
	r.set("Content-MD5", r.out)
}

// setVerified sends the checksums of a body that was taken, as the version of the request has it.
func (r *request) setVerified(v *header.Verified, body []byte) {
	switch old := string(r.version) < crc64Version; {
	case v.HasMD5:
		r.setSum(v.MD5)
	case old:
		r.setSum(md5.Sum(body))
		return
	}
	if v.HasCRC {
		r.setCRC64(v.CRC)
	}
}
