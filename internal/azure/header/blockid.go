package header

import (
	"bytes"
	"encoding/base64"
)

// blockIDMax is the longest id of a block, in bytes before it is base64.
const blockIDMax = 64

// AppendBlockID appends the id of a block that v is the base64 of, 1 to 64 bytes, and reports whether v is that. Nothing is
// appended if it is not.
func AppendBlockID(dst, v []byte) ([]byte, bool) {
	if len(v) == 0 || len(v) > base64.StdEncoding.EncodedLen(blockIDMax) || bytes.ContainsAny(v, "\r\n") { // which the decoder skips
		return dst, false
	}
	var id [base64Room]byte
	n, err := base64.StdEncoding.Decode(id[:], v)
	if err != nil || n == 0 || n > blockIDMax {
		return dst, false
	}
	return append(dst, id[:n]...), true
}

// base64Room is what Decode may write for the longest id: more than it returns.
const base64Room = (blockIDMax + 2) / 3 * 3
