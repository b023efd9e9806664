package conform

import (
	"errors"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/pageblob"
)

// lend returns what x-ms-copy-source-authorization says to have the source read as a user.
func (w *wire) lend(user string, changes ...any) string {
	return "Bearer " + w.env.Token(w.claims(user, changes...))
}

// copyBearers: a bearer token for the source counts, whoever asks for the copy, and for the source alone.
func copyBearers(w *wire) {
	a := w.pageBlob(2 * page)
	b := a.container().blob("copy")
	data := fill(240, 2*page)
	w.update(a, 0, data).ok(201)
	source := w.env.TokenURL + "/" + w.env.Account + string(a)
	ask := func(as, authorization string, more ...string) *reply {
		w.Helper()
		return w.as(as, "PUT", string(b), nil, append(more, "x-ms-copy-source", source, "x-ms-copy-source-authorization", authorization)...)
	}
	if r := ask(userContributor, w.lend(userReader)); r.status != 202 || r.get("x-ms-copy-status") != "success" {
		w.Fatalf("read by a reader's token:\n%v", r)
	}
	w.same("content", w.content(b), data)
	w.refused("a reader's copy", ask(userReader, w.lend(userOwner)), "AuthorizationPermissionMismatch")
	w.refused("not a bearer token", ask(userOwner, "Basic x"), "InvalidHeaderValue")
	w.refused("no token", ask(userOwner, "Bearer"), "InvalidHeaderValue")
	w.refused("before its time", ask(userOwner, w.lend(userOwner), "x-ms-version", "2020-08-04"), "UnsupportedHeader")
	for what, authorization := range byKey(map[string]string{"no role": w.lend(userNobody), "a role that does not read": w.lend(userDelegator), "no token at all": "Bearer x",
		"expired": w.lend(userOwner, "exp", w.env.Clock.Now().Add(-time.Hour).Unix()), "for another account": w.lend(userOwner, "aud", "https://other.blob.core.windows.net")}) {
		r := ask(userOwner, authorization)
		if r.status != 403 || r.get("x-ms-error-code") != "CannotVerifyCopySource" || r.get("x-ms-copy-source-status-code") != "403" {
			w.Errorf("%s: want 403 CannotVerifyCopySource:\n%v", what, r)
		}
	}
	source += "?" + w.service("b", "r").query(a)
	w.refused("two tokens", ask(userOwner, w.lend(userOwner)), "InvalidHeaderValue")
}

func pagesFromBearerSDK(w *wire) {
	a := w.pageBlob(2 * page)
	b := a.container().blob("copy")
	data := fill(241, 2*page)
	w.update(a, 0, data).ok(201)
	w.create(b, 2*page).ok(201)
	client := w.sdkAs(userContributor).NewContainerClient(string(a.container()[1:])).NewPageBlobClient("copy")
	source := w.hostStyle() + string(a)
	from := func(authorization string) error {
		_, err := client.UploadPagesFromURL(ctx, source, page, 0, page, &pageblob.UploadPagesFromURLOptions{CopySourceAuthorization: to.Ptr(authorization)})
		return err
	}
	w.must(from(w.lend(userReader)))
	w.same("content", w.content(b), append(data[page:], make([]byte, page)...))
	for what, authorization := range byKey(map[string]string{"no role": w.lend(userNobody), "no token at all": "Bearer x"}) {
		var e *azcore.ResponseError
		if err := from(authorization); !errors.As(err, &e) || e.StatusCode != 403 || e.ErrorCode != "CannotVerifyCopySource" {
			w.Errorf("%s: want 403 CannotVerifyCopySource, got %v", what, err)
		}
	}
}
