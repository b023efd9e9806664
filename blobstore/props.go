package blobstore

import (
	"encoding/binary"

	"pagevault/internal/azure/header"
)

// HTTPHeaders are the properties of a blob that Azure stores and gives back as they came. Empty means not set.
type HTTPHeaders struct {
	ContentType        string
	ContentEncoding    string
	ContentLanguage    string
	ContentDisposition string
	CacheControl       string
	ContentMD5         []byte // 16 bytes or none; never checked against the content of a page blob
}

// texts returns the fields that are text, in the order of their flags.
func (h *HTTPHeaders) texts() [5]*string {
	return [...]*string{&h.ContentType, &h.ContentEncoding, &h.ContentLanguage, &h.ContentDisposition, &h.CacheControl}
}

// flagMD5 comes after the flags of the five texts.
const flagMD5 = 1 << 5

// appendProps appends properties and metadata as blob rows hold them:
//
//	which are set (1) · those texts in the order of HTTPHeaders · MD5 text · metadata
func appendProps(dst []byte, h *HTTPHeaders, meta []header.Pair) []byte {
	return appendMetadata(appendHeaders(dst, h), meta)
}

func appendHeaders(dst []byte, h *HTTPHeaders) []byte {
	at := len(dst)
	dst = append(dst, 0)
	for i, s := range h.texts() {
		if *s != "" {
			dst[at] |= 1 << i
			dst = appendText(dst, *s)
		}
	}
	if len(h.ContentMD5) > 0 {
		dst[at] |= flagMD5
		dst = binary.AppendUvarint(dst, uint64(len(h.ContentMD5)))
		dst = append(dst, h.ContentMD5...)
	}
	return dst
}

// decodeProps reads what appendProps wrote. The results do not borrow p.
func decodeProps(p []byte) (HTTPHeaders, []header.Pair, error) {
	d := rowReader{p: p}
	h := d.headers()
	meta := d.metadata()
	if d.bad || len(d.p) > 0 {
		return HTTPHeaders{}, nil, badRow("properties", p)
	}
	return h, meta, nil
}

// splitProps returns the two parts of encoded properties: the headers and the metadata. Both borrow p.
func splitProps(p []byte) (headers, meta []byte, err error) {
	d := rowReader{p: p}
	d.headers()
	if d.bad {
		return nil, nil, badRow("properties", p)
	}
	at := len(p) - len(d.p)
	return p[:at:at], p[at:], nil
}

func (d *rowReader) headers() HTTPHeaders {
	var h HTTPHeaders
	flags := d.flags(1<<6 - 1)
	for i, s := range h.texts() {
		if flags&(1<<i) != 0 {
			if b := d.bytes(); string(b) == defaultContentType { // as nearly every blob's is: no copy for each read
				*s = defaultContentType
			} else {
				*s = string(b)
			}
			d.must(*s != "")
		}
	}
	if flags&flagMD5 != 0 {
		h.ContentMD5 = []byte(d.text())
		d.must(len(h.ContentMD5) > 0)
	}
	return h
}
