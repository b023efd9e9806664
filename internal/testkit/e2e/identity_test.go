//go:build e2e

package e2e

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// bearerToken returns a token for somebody as Microsoft Entra ID makes them, which nobody has signed: see --oauth basic.
func bearerToken(audience string) string {
	now := time.Now().Unix()
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	return part(`{"alg":"RS256","typ":"JWT"}`) + "." + part(fmt.Sprintf(`{"aud":%q,"iss":"https://sts.windows.net/tenant/",`+
		`"iat":%d,"nbf":%d,"exp":%d,"oid":"user","tid":"tenant"}`, audience, now, now, now+3600)) + "." + part("nobody")
}

// identityEndpoint starts what az logs in at on a machine that has an identity of its own, and returns its URL: at
// /oauth2/token it is given tokens, and at /subscriptions it asks, as of Azure's resource manager, for what there is to manage,
// which is nothing. folder has the certificate.
func identityEndpoint(t *testing.T, folder string) string {
	certificate, err := tls.LoadX509KeyPair(filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	answer := func(w http.ResponseWriter, value any) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(value); err != nil {
			t.Error(err)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth2/token", func(w http.ResponseWriter, r *http.Request) {
		resource := r.PostFormValue("resource")
		answer(w, map[string]string{"token_type": "Bearer", "resource": resource, "access_token": bearerToken(strings.TrimSuffix(resource, "/")),
			"expires_on": strconv.FormatInt(time.Now().Unix()+3600, 10)})
	})
	mux.HandleFunc("GET /subscriptions", func(w http.ResponseWriter, _ *http.Request) { answer(w, map[string]any{"value": []string{}}) })
	server := httptest.NewUnstartedServer(mux)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

// slowSource starts a server of a page blob of 1 MiB that never gives its pages, and returns the blob's URL.
func slowSource(t *testing.T) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"0x8"`)
		w.Header().Set("x-ms-blob-type", "PageBlob")
		w.Header().Set("Content-Length", strconv.Itoa(1<<20))
		if r.Method == http.MethodGet {
			<-r.Context().Done()
		}
	}))
	t.Cleanup(server.Close)
	return server.URL + "/container/blob"
}
