package conform

import "fmt"

// refusedEncryption: keys that come with a request, and encryption scopes, are refused where refusedParts does not look: in
// the requests of a batch, of which the others are carried out, and by way of a token.
func refusedEncryption(w *wire) {
	c := w.container()
	kept, gone := c.blob("kept"), c.blob("gone")
	w.create(kept, page).ok(201)
	for _, f := range [][2]string{{"x-ms-encryption-key", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}, {"x-ms-encryption-key-sha256", "3QFFFTJq7mkpKjVBHCqvO6Ck1Zs1Fj+E1ZLPXMPKPjw="},
		{"x-ms-encryption-algorithm", "AES256"}, {"x-ms-encryption-scope", "mine"}} {
		w.part(f[0], func(w *wire) {
			for _, to := range []ref{"/", c} {
				w.create(gone, page).ok(201)
				w.equal("answers", w.parts(w.batch(to, w.delete(kept, "").h(f[0], f[1]), w.delete(gone, ""))), "0 400 Bad Request UnsupportedHeader, 1 202 Accepted")
			}
		})
	}
	w.part("scope of a token", func(w *wire) {
		scoped := w.delete(kept, "").by(w.account("sco", allLetters).with("ses", "mine"))
		w.equal("answers", w.parts(w.batch("/", scoped)), "0 400 Bad Request UnsupportedQueryParameter")
		for name, query := range map[string]string{"Snapshot Blob": "comp=snapshot", "Set Blob Metadata": "comp=metadata", "Lease Blob": "comp=lease"} {
			w.part(name, func(w *wire) {
				w.put(kept, query).by(w.service("c", allLetters).with("ses", "mine")).fails("UnsupportedQueryParameter", "QueryParameterName", "ses")
			})
		}
		w.update(kept, 0, fill(1, page)).by(w.service("c", allLetters).with("ses", "mine")).fails("UnsupportedQueryParameter", "QueryParameterName", "ses")
		w.get(kept, "").by(w.service("c", allLetters).with("ses", "mine")).fails("UnsupportedQueryParameter", "QueryParameterName", "ses")
	})
	w.equal("what was refused is there", fmt.Sprint(w.head(kept, "").send().status), "200")
}
