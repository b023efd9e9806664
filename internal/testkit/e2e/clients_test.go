//go:build e2e

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc64"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pagevault/internal/azure/op"
	"pagevault/internal/testkit"
)

// TestClients has three of Azure's clients do all that they can do with blobs and containers, by all credentials they
// have, over HTTP and HTTPS, and compares what they say came of each step, errors with their codes, with
// testdata/clients/CLIENT.txt, which is what they say with the account's key over HTTP. Where the credential makes a
// difference, the difference is in credentials_test.go. PAGEVAULT_REWRITE writes those files anew.
//
// What is left out as it adds nothing: bearer tokens over HTTP, which are refused there; and az has one credential over HTTP
// and two over HTTPS, as it sends what the Python SDK sends. Versions of blobs are not here until the server has them. What
// the clients have not got, or cannot do here, is in docs/clients.md.
func TestClients(t *testing.T) {
	done := map[string]map[string]bool{} // by client, the operations that the server has done for it
	ran := map[string]int{}              // by client, how often its script was run: less often than always if -run says so
	for _, scheme := range both {
		if !t.Run(scheme, func(t *testing.T) { testClients(t, scheme, done, ran) }) {
			return
		}
	}
	for _, c := range clients(t) {
		all := 0
		for _, credential := range c.credentials {
			all += len(credential.schemes)
		}
		if ran[c.name] == all {
			checkOperations(t, c.name, done[c.name])
		}
	}
}

// premiumAccount is an account whose page blobs have tiers, and whose containers have immutable storage.
const premiumAccount = "premium1"

func testClients(t *testing.T, scheme string, done map[string]map[string]bool, ran map[string]int) {
	data := filepath.Join(t.TempDir(), "data")
	args := []string{"--account", testkit.Account + ":" + testkit.AccountKey, "--account", premiumAccount + ":" + testkit.AccountKey,
		"--premium", premiumAccount, "--immutable-storage", premiumAccount, "--container-delete-retention", "7", "--copy-source-allow", "127.0.0.1"}
	if scheme == "https" {
		args = append(args, "--tls-dev", "--oauth", "basic")
	}
	server := testkit.StartServer(t, testkit.ServerOptions{Data: data, Args: args})
	if !strings.HasPrefix(server.URL(), scheme+"://") {
		t.Fatalf("the server is at %s", server.URL())
	}
	connection := fmt.Sprintf("DefaultEndpointsProtocol=%s;AccountName=%s;AccountKey=%s;BlobEndpoint=%s;", scheme, testkit.Account, testkit.AccountKey, server.URL())
	env := []string{"AZURE_STORAGE_CONNECTION_STRING=" + connection, "PAGEVAULT_SLOW_SOURCE=" + slowSource(t),
		"PAGEVAULT_PREMIUM=" + strings.ReplaceAll(connection, testkit.Account, premiumAccount)}
	if scheme == "https" {
		authority, identity := filepath.Join(data, "tls-dev", "ca.pem"), identityEndpoint(t, filepath.Join(data, "tls-dev"))
		env = append(env, "NODE_EXTRA_CA_CERTS="+authority, "REQUESTS_CA_BUNDLE="+authority, "PAGEVAULT_BEARER="+bearerToken("https://storage.azure.com/"),
			"PAGEVAULT_IDENTITY="+identity, "MSI_ENDPOINT="+identity+"/oauth2/token")
	}
	for _, c := range clients(t) {
		if done[c.name] == nil {
			done[c.name] = map[string]bool{}
		}
		for _, credential := range c.credentials {
			if slices.Contains(credential.schemes, scheme) {
				t.Run(c.name+"/"+credential.name, func(t *testing.T) {
					ran[c.name]++
					before := operationsDone(t, server)
					testClient(t, c, credential, scheme, env)
					for operation, n := range operationsDone(t, server) {
						if n > before[operation] {
							done[c.name][operation] = true
						}
					}
				})
			}
		}
	}
	server.Stop(t)
}

// testClient runs the script of a client with a credential.
func testClient(t *testing.T, c client, credential clientCredential, scheme string, env []string) {
	args := append(slices.Clone(c.args), credential.name, c.name+"-"+credential.name)
	env = append(slices.Clone(env), c.env...)
	if c.folders {
		args = append(args, t.TempDir())
		env = append(env, "AZURE_CONFIG_DIR="+t.TempDir())
	}
	said := testkit.Command{Args: args, Env: env}.Run(t)
	golden := filepath.Join(testkit.Root(t), "internal/testkit/e2e/testdata/clients", c.name+".txt")
	if os.Getenv("PAGEVAULT_REWRITE") != "" && scheme == "http" && credential.name == "key" {
		if err := os.WriteFile(golden, []byte(said), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	compareSteps(t, said, expected(t, golden, scheme, credential))
}

// byHostName are what the Python SDK does by the host name alone: see by_host_name in clients.py.
var byHostName = []string{"batch by host name", "batch tier in a standard account", "list after batch", "batch of tiers", "service stats"}

// expected returns what a client must say: the golden file, with the differences that the credential makes.
func expected(t *testing.T, golden, scheme string, c clientCredential) (steps []string) {
	t.Helper()
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		name := stepName(line)
		told, differs := c.told[name]
		switch {
		case scheme == "https" && slices.Contains(byHostName, name) && strings.HasSuffix(golden, "python.txt"):
			continue
		case slices.ContainsFunc(c.without, func(w string) bool {
			prefix, all := strings.CutSuffix(w, "*")
			return !differs && (name == w || all && strings.HasPrefix(name, prefix))
		}):
			continue
		case differs:
			line = name + told
		case name == "delete with snapshots":
			steps = append(steps, c.also...)
		}
		steps = append(steps, line)
	}
	return steps
}

// stepName returns the name of the step that a line tells of.
func stepName(line string) string {
	if i := strings.IndexAny(line, ":!"); i >= 0 {
		return line[:i]
	}
	return line
}

func compareSteps(t *testing.T, said string, want []string) {
	t.Helper()
	got := strings.Split(strings.TrimSpace(said), "\n")
	if len(want) < 20 || want[len(want)-1] != "end" {
		t.Fatalf("there are only these steps: %q", want)
	}
	for i := range max(len(got), len(want)) {
		g, w := "nothing", "nothing"
		if i < len(got) {
			g = strings.TrimSpace(got[i])
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Fatalf("step %d: got %q, want %q; all of it:\n%s", i+1, g, w, said)
		}
	}
}

// operationsDone returns how many requests of each operation the server has answered with a success.
func operationsDone(t *testing.T, server *testkit.Server) map[string]float64 {
	t.Helper()
	done := map[string]float64{}
	for line := range strings.Lines(server.Get(t, "/metrics")) {
		var operation, status string
		var n float64
		rest, ok := strings.CutPrefix(line, `pagevault_requests_total{operation="`)
		if !ok {
			continue
		}
		operation, rest, _ = strings.Cut(rest, `",status="`)
		status, rest, _ = strings.Cut(rest, `"} `)
		if _, err := fmt.Sscan(rest, &n); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		if strings.HasPrefix(status, "2") {
			done[operation] += n
		}
	}
	return done
}

// checkOperations compares the operations that a client has had done with those that docs/protocol-coverage.md says it
// had, which are in op.Clients.
func checkOperations(t *testing.T, name string, done map[string]bool) {
	t.Helper()
	i := slices.IndexFunc(op.Clients, func(c op.Client) bool { return c.Test == name })
	if i < 0 {
		t.Fatalf("op.Clients does not have %s", name)
	}
	var got, want []string
	for _, row := range op.Table {
		if done[row.Name] {
			got = append(got, row.Name)
		}
		if slices.Contains(op.Clients[i].Does, row.ID) {
			want = append(want, row.Name)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s has done %q, and op.Clients says %q", name, got, want)
	}
}

// TestClientContents: the digests of contents in the transcripts are those of what was written.
func TestClientContents(t *testing.T) {
	digest := digestOf
	at := func(size int, parts map[int][]byte) []byte {
		p := make([]byte, size)
		for off, part := range parts {
			copy(p[off:], part)
		}
		return p
	}
	const kib = 1024
	full := func(letter string, n int) []byte { return bytes.Repeat([]byte(letter), n) }
	first := at(64*kib, map[int][]byte{0: full("a", 4*kib), 8 * kib: full("b", 4*kib)})
	kept := func(second string) []byte {
		return at(4*kib, map[int][]byte{0: full("k", 512), 512: full(second, 512)})
	}
	// of the blob and of its snapshot, before they are deleted and when they are back
	undeleted := digest(kept("l")) + " " + digest(kept("\x00")) + " one"
	sdk := map[string]string{"read": digest(first), "read range": digest(full("b", 4*kib)), "snapshot content": digest(first), "copy": "success " + digest(first),
		"pages from url": digest(full("c", 512)), "pages from url with md5": digest(full("c", 512)), "before deletion": undeleted, "snapshot undeleted": undeleted,
		"blob undeleted": undeleted, "container restored": "kept " + digest(full("m", 512)), "read under policy": digest(full("p", 512))}
	js, python := maps.Clone(sdk), maps.Clone(sdk)
	js["read range with crc64"] = crc64Of(full("b", 4*kib))
	js["hold taken off"] = "none false false " + digest(full("q", 512))
	python["read range with md5"] = digest(full("b", 4*kib))
	one, two := digest(full("a", 64*kib)), digest(full("b", 64*kib))
	az := map[string]string{"blob download": two, "blob download validated": two, "blob download snapshot": one, "blob download range": digest(full("b", 512)),
		"blob download if tags": two, "blob copy download": two, "blob incremental-copy start": "pending success 2 " + two, "blob generate-sas": two,
		"snapshot undeleted": one, "blob undeleted": two, "blob download-batch": two, "container restored": one}
	for name, steps := range map[string]map[string]string{"js": js, "python": python, "az": az} {
		text, err := os.ReadFile(filepath.Join("testdata/clients", name+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		for step, want := range steps {
			if line := fmt.Sprintf("\n%s: %s\n", step, want); !strings.Contains(string(text), line) {
				t.Errorf("%s: no line %q", name, line)
			}
		}
	}
}

// digestOf returns what the scripts say of a content.
func digestOf(p []byte) string {
	sum := sha256.Sum256(p)
	return hex.EncodeToString(sum[:])[:16]
}

// crc64Of returns the checksum of Azure's, as headers have it.
func crc64Of(p []byte) string {
	sum := crc64.Checksum(p, crc64.MakeTable(0x9a6c9329ac4bc9b5))
	return base64.StdEncoding.EncodeToString(binary.LittleEndian.AppendUint64(nil, sum))
}
