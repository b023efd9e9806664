// Package faultproxy stands between the HTTP clients and the server of a test and hurts what passes: it resets connections
// before the server has seen a request and after it has carried it out, cuts requests and replies in two, has them wait, and
// answers 503 itself. A client then knows less than the server, which is when retries do harm.
//
// Which request is hurt, and how, follows from the seed, the request (its method, its target, its range) and how often it has
// come, not from the order in which several clients send theirs: the same test with the same seed meets the same faults.
//
// It passes on bytes as they are, one request after the other on each connection, so that signatures hold and the server sees
// what the client has sent. Who asks before sending a body (Expect: 100-continue) is told to go on by the proxy; interim replies
// of the server are left out. It does not know TLS or upgrades.
package faultproxy
