package bench

import (
	"strings"
	"testing"
)

// FuzzParseEndpoint: what is taken has a place to dial and paths to ask for, and an error never tells what follows a ?.
func FuzzParseEndpoint(f *testing.F) {
	f.Add("http://127.0.0.1:10000/acc")
	f.Add("https://acc.blob.core.windows.net/disks?sr=c&sig=a%2B")
	f.Add("https://acc.blob.core.windows.net/?srt=sco&sig=a")
	f.Fuzz(func(t *testing.T, text string) {
		e, err := parseEndpoint(text, "acc")
		if err != nil {
			if _, secret, _ := strings.Cut(text, "?"); len(secret) > 20 && strings.Contains(err.Error(), secret) {
				t.Errorf("%q: error %v", text, err)
			}
			return
		}
		if e.addr == "" || e.host == "" || e.prefix != "" && e.prefix[0] != '/' || strings.HasSuffix(e.prefix, "/") || e.container != "" && e.sas == "" ||
			e.container != "" && !strings.HasPrefix(e.container, e.prefix+"/") {
			t.Errorf("%q: %+v", text, e)
		}
	})
}
