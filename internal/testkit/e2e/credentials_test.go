//go:build e2e

package e2e

import (
	"bytes"
	"path/filepath"
	"slices"
	"testing"

	"pagevault/internal/testkit"
)

// client is one of Azure's clients, as a script drives it.
type client struct {
	name        string
	args        []string // of the command; credential and container follow
	env         []string
	folders     bool // the name of an empty folder follows, too, and another is where the client is configured
	credentials []clientCredential
}

// clientCredential is a credential, and in what its steps differ from those with the key.
type clientCredential struct {
	name    string
	schemes []string
	without []string          // steps that are not there: a name, or with * at the end all that begin so
	told    map[string]string // steps that come to something else, as "name" and ": result" or "! error"
	also    []string          // steps that come in addition, before the blob is deleted
}

var both = []string{"http", "https"}

// debianPython has the packages of Debian, az among them, whatever other Python stands first in the path.
const debianPython = "/usr/bin/python3"

func clients(t *testing.T) []client {
	folder := filepath.Join(testkit.Root(t), "internal/testkit/e2e")
	python := func(script string) []string { return []string{debianPython, "-B", filepath.Join(folder, script)} }
	return []client{
		{name: "js", args: []string{"node", filepath.Join(folder, "js/client.cjs")}, env: []string{"NODE_PATH=" + testkit.NodeModules(t)},
			credentials: ofSDK("true", "service stats")},
		{name: "python", args: python("py/client.py"), credentials: ofSDK("True")},
		{name: "az", args: python("az/client.py"), folders: true, env: []string{"AZURE_CORE_COLLECT_TELEMETRY=0", "AZURE_CORE_NO_COLOR=1"},
			credentials: ofAz()},
	}
}

// told returns steps that all come to the same.
func told(result string, steps ...string) map[string]string {
	all := map[string]string{}
	for _, step := range steps {
		all[step] = result
	}
	return all
}

// ofSDK returns the credentials that an SDK has, which says yes in its way, and what more it is told that a user may not.
func ofSDK(yes string, more ...string) []clientCredential {
	const notAuthorized, notPermitted = "! 403 AuthorizationFailure", "! 403 AuthorizationPermissionMismatch"
	byPolicy := []string{"by policy", "beyond policy", "policy revoked"}
	batches := []string{"batch*", "list after batch"} // whose parts are signed by themselves
	ofService := slices.Concat(byPolicy, []string{"policy", "container *", "find by tags", "list containers", "list kept containers", "service *", "secondary*",
		"kept container create", "premium *"})
	ofContainer := []string{"block *", "append*", "copy", "copy of nothing", "copy deleted", "copy pending", "copy aborted*", "abort copy*", "write while copied to", "incremental*",
		"pages from url*", "upload as a whole*", "delete by the container", "list*", "find by tags in container", "bad tag expression", "tier listed",
		"container delete under policy"}
	return []clientCredential{
		{name: "key", schemes: both},
		{name: "account-sas", schemes: both, told: told(notAuthorized, "policy", "container of another version", "container restored"),
			without: slices.Concat(batches, byPolicy)},
		{name: "container-sas", schemes: both, told: told(notAuthorized, "container delete under policy"), without: slices.Concat(batches, ofService),
			also: []string{"container properties by token" + notAuthorized, "container delete by token" + notAuthorized}},
		{name: "blob-sas", schemes: both, without: slices.Concat(batches, ofService, ofContainer)},
		{name: "bearer", schemes: []string{"https"}, without: byPolicy,
			told: told(notPermitted, append(more, "service properties", "service stats of the primary")...),
			also: []string{
				"delegation key: tenant user b 32",
				"user's blob token: " + yes,
				"user's blob token beyond" + notPermitted,
				"user's container token: " + digestOf(bytes.Repeat([]byte("u"), 512)) + " 1",
				"user's container token beyond" + notPermitted,
				"user's container token forged! 403 AuthenticationFailed",
				"key that is over! 400 InvalidXmlNodeValue",
			}},
	}
}

// ofAz returns the credentials that az has.
func ofAz() []clientCredential {
	sas := told("! AuthorizationFailure", "container policy create", "container policy list", "container policy update", "container policy show", "container policy delete",
		"container show-permission", "container set-permission", "container restore of another version", "container restore")
	sas["container restored"] = "! ContainerNotFound"
	return []clientCredential{
		{name: "key", schemes: []string{"http"}},
		{name: "account-sas", schemes: []string{"https"}, told: sas, without: []string{"container generate-sas*", "blob generate-sas*"}},
		// what is left out knows no bearer tokens, or no address but Azure's
		{name: "bearer", schemes: []string{"https"}, told: told("! AuthorizationPermissionMismatch", "service properties", "static website refused"),
			without: []string{"blob update*", "blob incremental-copy*", "cors*", "logging*", "metrics*"}},
	}
}
