// Command gendoc prints docs/protocol-coverage.md from the table of operations.
package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"pagevault/internal/azure/op"
)

func main() {
	if _, err := os.Stdout.WriteString(coverage()); err != nil {
		fmt.Fprintln(os.Stderr, "gendoc:", err)
		os.Exit(1)
	}
}

// coverage returns the document.
func coverage() string {
	var b strings.Builder
	b.WriteString(intro)
	counts := map[op.State]int{}
	b.WriteString("| Operation | Request | Since | State | What the client sees | Tests | Clients |\n|---|---|---|---|---|---|---|\n")
	for i := range op.Table {
		r := &op.Table[i]
		counts[r.State]++
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", r.Name, request(r), r.Since, r.State, seen(r), tests(r), clients(r))
	}
	fmt.Fprintf(&b, "\n%d operations: %d done, %d partial, %d refused.\n", len(op.Table), counts[op.Done], counts[op.Partial], counts[op.Refused])
	b.WriteString(authentication)
	grants(&b)
	refusals(&b)
	return b.String()
}

const intro = `# Protocol coverage

Generated from the table of operations in internal/azure/op by ` + "`go generate ./internal/azure/op`" + `; do not edit.

Every operation of the Blob service is here. *Done* means that the conformance test of that name passes against the real
process with three members on disk (` + "`make conform`, and CI's `make e2e`" + `). The parts of the lease tests that wait for a
lease to expire or for a break to end are run in the test process only, where the clock can be moved, unless
PAGEVAULT_CONFORM_WAIT=1 lets the real process wait for them.

*Clients* are Azure's clients that have done the operation in the test TestClients (` + "`make e2e`" + `), besides the Go SDK, with which
all the conformance tests are made.

*Refused* means that the client gets the error named and nothing happens. A request that names none of these operations
gets 400 InvalidQueryParameterValue for its comp or restype, 405 UnsupportedHttpVerb or 400 InvalidHttpVerb.

## Operations

`

// authentication is what the server takes for credentials. The conformance test Signatures holds it to the codes.
const authentication = `
## Authentication

| Credentials | State | What the client sees |
|---|---|---|
| SharedKey, by either key of the account | done | as Azure |
| SharedKeyLite, by either key of the account | done | as Azure |
| account SAS, of every version | done | as Azure |
| service SAS for a container, blob, snapshot or version of a blob, of every version of the protocol, with or without a stored access policy | done | as Azure |
| service SAS for a directory (sr=d) | refused | 403 AuthenticationFailed, with a detail that says why |
| user delegation SAS | partial | as Azure, but that suoid and sduoid are 403 AuthenticationFailed |
| a SAS with an encryption scope (ses) | refused | 400 UnsupportedQueryParameter |
| bearer token (OpenID Connect, such as of Microsoft Entra ID) | done | as Azure, of the issuer that --oidc-issuer names, over https; without that flag 400 InvalidAuthenticationInfo. Who may do what --roles says: see docs/auth.md |
| none: anonymous access | done | reads what is public; all else is 401 NoAuthenticationInformation, 404 ResourceNotFound before version 2019-12-12 |

An Authorization header counts, where there is one, and a SAS beside it does not. Containers can be made public if the
server was started with --allow-public-access; otherwise x-ms-blob-public-access is 409 PublicAccessNotPermitted, and so
is reading without credentials what was made public before.

## Encryption

x-ms-server-encrypted, x-ms-request-server-encrypted and ServerEncrypted are true for accounts whose content is encrypted
on the disks, which it is unless they were made with --encryption off, and false for the others.
`

// request returns how a request names the operation.
func request(r *op.Row) string {
	var b strings.Builder
	b.WriteString(strings.Join(r.Methods, ", "))
	b.WriteString(map[op.Level]string{op.Service: " /", op.Container: " /container", op.Blob: " /container/blob", op.AnyLevel: " any path"}[r.Level])
	sep := "?"
	for _, p := range [][2]string{{"restype", r.Restype}, {"comp", r.Comp}} {
		if p[1] != "" {
			b.WriteString(sep + p[0] + "=" + p[1])
			sep = "&"
		}
	}
	line := "`" + b.String() + "`"
	if r.Selector != "" {
		line += ", `" + r.Selector + "`"
	}
	return line
}

// seen returns what a client gets.
func seen(r *op.Row) string {
	note := r.Note
	if r.State == op.Refused {
		s := fmt.Sprintf("%d %s", r.Refusal.Status(), r.Refusal.Wire())
		if note != "" {
			s += ": " + note
		}
		return s
	}
	if note == "" {
		return "as Azure"
	}
	return "as Azure, " + note
}

// tests returns the conformance tests' names.
func tests(r *op.Row) string {
	names := make([]string, len(r.Tests))
	for i, t := range r.Tests {
		names[i] = "Test" + t
	}
	return strings.Join(names, ", ")
}

// clients returns the clients besides the Go SDK that have done it in a test.
func clients(r *op.Row) string {
	var names []string
	for _, c := range op.Clients {
		if slices.Contains(c.Does, r.ID) {
			names = append(names, c.Name)
		}
	}
	return strings.Join(names, ", ")
}

func grants(b *strings.Builder) {
	b.WriteString(`
## Authorization

What a token must permit. Operations that are not here take a key of the account and nothing else: 403
AuthorizationFailure. Breaking a lease takes w or d; deleting a version x, permanently y; tags, lists
of them and conditions on them take t besides, and are not public; policies and holds that a blob is made with take i
besides. A token with c and without w makes blobs and does not
overwrite any: 403 UnauthorizedBlobOverwrite.

| Operation | Account SAS: resource type | One permission of | Service SAS | Without credentials, if public |
|---|---|---|---|---|
`)
	for i := range op.Table {
		r := &op.Table[i]
		g := r.Grant()
		if g.Letters == "" {
			continue
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", r.Name, strings.Join(strings.Split(g.Type, ""), " or "),
			strings.Join(strings.Split(g.Letters, ""), " "), map[bool]string{true: "yes", false: "no"}[g.Service],
			[...]string{"no", "blob, container", "container"}[g.Public])
	}
}

func refusals(b *strings.Builder) {
	b.WriteString(`
## Headers and parameters that are refused

On operations that are done, a header or query parameter that would change what is stored, who may read it or what is
answered, and that is not honoured, is an error too. Conditional headers that an operation does not take are 400
ConditionHeadersNotSupported. Anything the service does not know either is ignored, as it does.

| Header or parameter | About | On | What the client sees |
|---|---|---|---|
`)
	for i := range op.Refusals {
		f := &op.Refusals[i]
		name := f.Header.String()
		if f.Query != "" {
			name = f.Query + "="
		}
		where := "every operation"
		if f.Rows != nil {
			names := make([]string, len(f.Rows))
			for i, id := range f.Rows {
				names[i] = id.String()
			}
			where = strings.Join(names, ", ")
		}
		for i, id := range f.But {
			where += map[bool]string{true: " but ", false: ", "}[i == 0] + id.String()
		}
		seen := fmt.Sprintf("%d %s", f.Code.Status(), f.Code.Wire())
		if f.Except != "" {
			seen += ", unless `" + f.Except + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", name, f.Note, where, seen)
	}
}
