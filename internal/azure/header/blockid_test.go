package header

import (
	"bytes"
	"encoding/base64"
	"testing"
)

func TestAppendBlockID(t *testing.T) {
	f := func(v string, want []byte) {
		t.Helper()
		got, ok := AppendBlockID([]byte("x"), []byte(v))
		if ok != (want != nil) || !bytes.Equal(got, append([]byte("x"), want...)) {
			t.Errorf("%q: got %q, %v", v, got, ok)
		}
	}
	for n := 1; n <= blockIDMax; n++ {
		id := bytes.Repeat([]byte{0xfb}, n) // with plus signs
		f(base64.StdEncoding.EncodeToString(id), id)
	}
	f("", nil)
	f("=", nil)
	f("AAA", nil)                                 // not padded
	f("AA A", nil)                                // nor is a plus that was not encoded one
	f("AAAA\n", nil)                              //
	f("-_-_", nil)                                // of URLs
	f("QQ==QQ==", nil)                            //
	f(string(bytes.Repeat([]byte("A"), 88)), nil) // 66 bytes
	f(base64.StdEncoding.EncodeToString(make([]byte, blockIDMax+1)), nil)
	f(string(bytes.Repeat([]byte("A"), 92)), nil)
	f("QR==", []byte("A")) // bits that count for nothing, as .NET has it
}

func FuzzAppendBlockID(f *testing.F) {
	f.Add([]byte("AAAA"))
	f.Add([]byte("QUI="))
	f.Fuzz(func(t *testing.T, v []byte) {
		id, ok := AppendBlockID(nil, v)
		if !ok {
			return
		}
		if len(id) == 0 || len(id) > blockIDMax || len(v) != base64.StdEncoding.EncodedLen(len(id)) {
			t.Errorf("%q: %q", v, id)
		}
	})
}
