package conform

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc64"
	"io"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/pageblob"
)

// xsm names the form of structured messages that there is.
const xsm = "XSM/1.0; properties=crc64"

// structured writes data as a structured message, in segments of the size, as the protocol describes it.
func structured(data []byte, segment int) []byte {
	u := binary.LittleEndian
	count := max(1, (len(data)+segment-1)/segment)
	msg := u.AppendUint64([]byte{1}, uint64(13+count*18+len(data)+8))
	msg = u.AppendUint16(u.AppendUint16(msg, 1), uint16(count))
	for i := range count {
		part := data[i*segment : min(len(data), (i+1)*segment)]
		msg = u.AppendUint64(u.AppendUint16(msg, uint16(i+1)), uint64(len(part)))
		msg = u.AppendUint64(append(msg, part...), crc64.Checksum(part, crcTable))
	}
	return u.AppendUint64(msg, crc64.Checksum(data, crcTable))
}

// putStructured: Put Page with a body that is a structured message.
func putStructured(w *wire) {
	b := w.pageBlob(8 * mib)
	client := w.sdkPageBlob(b, "blob")
	want := make([]byte, 8*mib)
	w.part("through the SDK", func(w *wire) {
		for i, segment := range []int{0, 1000, 512, 5 << 20} {
			off, data := i*mib, fill(uint64(30+i), mib)
			if i == 3 {
				data = fill(33, 4*mib) // the most there may be
			}
			got, err := client.UploadPages(ctx, streaming.NopCloser(bytes.NewReader(data)), blob.HTTPRange{Offset: int64(off), Count: int64(len(data))},
				&pageblob.UploadPagesOptions{TransactionalValidation: blob.TransferValidationTypeComputeStructuredMessageCRC64(segment)})
			w.must(err)
			w.equal("the form", val(got.StructuredBodyType), xsm)
			copy(want[off:], data)
		}
		w.same("content", w.content(b), want)
	})

	data := fill(40, 4*page)
	plain := func(body []byte) *call {
		return w.put(b, "comp=page").hs("x-ms-page-write", "update", "x-ms-range", "bytes=0-2047").b(body)
	}
	put := func(body []byte) *call {
		return plain(body).hs("x-ms-structured-body", xsm, "x-ms-structured-content-length", "2048")
	}
	good := structured(data, 600)
	w.part("the reply", func(w *wire) {
		r := put(good).ok(201)
		copy(want, data)
		w.exactly(r, "ETag", "Last-Modified", "x-ms-blob-sequence-number", "x-ms-request-server-encrypted", "x-ms-content-crc64", "x-ms-structured-body")
		w.headers(r, "x-ms-content-crc64", crcOf(data), "x-ms-structured-body", xsm)
		plain(good).hs("x-ms-structured-body", "xsm/1.0; PROPERTIES=CRC64", "x-ms-structured-content-length", "2048").ok(201)
	})
	before := w.stamp(b)
	w.part("sums", func(w *wire) {
		for name, at := range map[string]int{"data": 40, "footer of a segment": 13 + 10 + 600 + 2, "trailer": len(good) - 1} {
			bad := bytes.Clone(good)
			bad[at] ^= 4
			w.part(name, func(w *wire) {
				put(bad).fails("Crc64Mismatch", "UserSpecifiedCrc64", "*", "ServerCalculatedCrc64", "*")
			})
		}
	})
	w.part("form", func(w *wire) {
		for name, change := range map[string]func(msg []byte) []byte{
			"version":             func(m []byte) []byte { m[0] = 2; return m },
			"length":              func(m []byte) []byte { m[1]++; return m },
			"flags":               func(m []byte) []byte { m[9] = 0; return m },
			"segments":            func(m []byte) []byte { m[11]++; return m },
			"number of a segment": func(m []byte) []byte { m[13]++; return m },
			"length of a segment": func(m []byte) []byte { m[16] = 255; return m },
			"more behind it":      func(m []byte) []byte { return append(m, 0) },
			"cut off":             func(m []byte) []byte { return m[:len(m)-1] },
			"not framed":          func([]byte) []byte { return data },
			"nothing":             func([]byte) []byte { return nil },
		} {
			w.part(name, func(w *wire) { put(change(bytes.Clone(good))).fails("InvalidInput") })
		}
	})
	w.part("headers", func(w *wire) {
		for _, v := range []string{"XSM/1.0", "XSM/2.0; properties=crc64", "XSM/1.0; properties=md5", ""} {
			plain(good).hs("x-ms-structured-body", v, "x-ms-structured-content-length", "2048").fails("InvalidHeaderValue", "HeaderName", "x-ms-structured-body")
		}
		for _, v := range []string{"2047", "2560", "-1", "x"} {
			plain(good).hs("x-ms-structured-body", xsm, "x-ms-structured-content-length", v).fails("InvalidHeaderValue", "HeaderName", "x-ms-structured-content-length")
		}
		plain(good).h("x-ms-structured-body", xsm).fails("MissingRequiredHeader", "HeaderName", "x-ms-structured-content-length")
		plain(good).h("x-ms-structured-content-length", "2048").fails("MissingRequiredHeader", "HeaderName", "x-ms-structured-body")
		put(good).h("Content-MD5", md5Of(good)).fails("UnsupportedHeader", "HeaderName", "Content-MD5")
		put(good).h("x-ms-content-crc64", crcOf(data)).fails("UnsupportedHeader", "HeaderName", "x-ms-content-crc64")
		w.put(b, "comp=page").hs("x-ms-page-write", "clear", "x-ms-range", "bytes=0-2047", "x-ms-structured-body", xsm).
			fails("UnsupportedHeader", "HeaderName", "x-ms-structured-body")
		large := fill(41, 4*mib+page)
		w.put(b, "comp=page").hs("x-ms-page-write", "update", "x-ms-range", fmt.Sprintf("bytes=0-%d", len(large)-1),
			"x-ms-structured-body", xsm, "x-ms-structured-content-length", fmt.Sprint(len(large))).b(structured(large, mib)).fails("RequestBodyTooLarge")
	})
	w.unstamped("what was refused", before, b)
	w.same("content", w.content(b), want)
}

// getStructured: Get Blob as a structured message.
func getStructured(w *wire) {
	b := w.pageBlob(10 * mib)
	want := make([]byte, 10*mib)
	copy(want[3*mib:], fill(50, 4*mib))
	w.update(b, 3*mib, want[3*mib:7*mib]).ok(201)
	w.part("through the SDK", func(w *wire) {
		client := w.sdkPageBlob(b, "blob")
		validate := blob.TransferValidationTypeComputeStructuredMessageCRC64(0)
		for _, rg := range []blob.HTTPRange{{}, {Offset: 3*mib - 1, Count: 4*mib + 2}, {Offset: 5, Count: 1}, {Offset: 9 * mib}} {
			got, err := client.DownloadStream(ctx, &blob.DownloadStreamOptions{Range: rg, TransactionalValidation: validate})
			w.must(err)
			data, err := io.ReadAll(got.Body)
			w.must(err)
			part := want[rg.Offset:]
			if rg.Count > 0 {
				part = part[:rg.Count]
			}
			w.same("content", data, part)
			w.equal("the form", val(got.StructuredBodyType), xsm)
			w.equal("bytes of data", fmt.Sprint(val(got.StructuredContentLength)), fmt.Sprint(len(part)))
		}
		buf := make([]byte, len(want))
		_, err := client.DownloadBuffer(ctx, buf, &blob.DownloadBufferOptions{BlockSize: mib + 1, Concurrency: 3, TransactionalValidation: validate})
		w.must(err)
		w.same("content in blocks", buf, want)
	})
	w.part("the reply", func(w *wire) {
		r := w.get(b, "").hs("Range", "bytes=3145000-9999999", "x-ms-structured-body", xsm).ok(206)
		w.headers(r, "Content-Range", "bytes 3145000-9999999/10485760", "x-ms-structured-body", xsm, "x-ms-structured-content-length", "6855000")
		w.same("message", r.body, structured(want[3145000:10000000], 4*mib))
		r = w.get(b, "").h("x-ms-structured-body", xsm).ok(200)
		w.headers(r, "Content-Range", "-", "x-ms-structured-content-length", "10485760")
		w.same("message", r.body, structured(want, 4*mib))
		r = w.get(b, "").hs("Range", "bytes=0-511", "x-ms-structured-body", xsm, "x-ms-range-get-content-crc64", "true").ok(206)
		w.headers(r, "x-ms-content-crc64", crcOf(want[:512]))
		w.same("message", r.body, structured(want[:512], 4*mib))
		r = w.get(w.pageBlob(0), "").h("x-ms-structured-body", xsm).ok(200)
		w.headers(r, "x-ms-structured-content-length", "0")
		w.same("message without data", r.body, structured(nil, 4*mib))
	})
	w.part("errors", func(w *wire) {
		w.get(b, "").h("x-ms-structured-body", "XSM/1.0").fails("InvalidHeaderValue", "HeaderName", "x-ms-structured-body")
		r := w.get(b, "").hs("x-ms-structured-body", xsm, "Range", "bytes=10485760-").fails("InvalidRange")
		w.headers(r, "x-ms-structured-body", "-")
		w.head(b, "").h("x-ms-structured-body", xsm).fails("UnsupportedHeader")
		w.get(b, "").h("x-ms-structured-content-length", "5").fails("UnsupportedHeader")
	})
}
