// Package conform is the list of everything Pagevault promises on the wire, as tests that drive a running endpoint from
// outside: through Azure's own Go SDK, and byte by byte where an SDK refuses to send what has to be answered.
//
// Tests is the list. Every operation the server has (a row of internal/azure/op that says done) has one test of its name;
// the others cover what cuts across operations: the conditional headers, the signatures, the HTTP edge, the operations
// that are refused. A test needs only an Env, the address and keys of an endpoint, so the same list runs in go test
// against a server in the process, and elsewhere against any address.
//
// Three things are checked without a test asking for them:
//
//   - every reply, of the SDK too, has the headers and the error body that every reply must have (check.go);
//   - after every refusal the account looks as it did before: properties, listing, pages and contents (picture.go);
//   - every error code that was provoked and found right is entered in a ledger, so that a code nobody provokes shows
//     (ledger.go).
//
// Facts about Azure carry where they come from where that matters: [R] seen in recorded traffic of the service, [S] SDK
// sources and tests, [D] Microsoft's reference, [A] Azurite's sources and issues, [K] general knowledge, [?] conflicting
// evidence, where the test holds the server to the behaviour we chose.
package conform
