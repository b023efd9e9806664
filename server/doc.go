// Package server is the HTTP door of the Blob service: it takes requests off the wire, finds out what they ask for and who
// is asking, has the account do it, and writes the reply in the words of the protocol.
//
// # The way of a request
//
//	conn.go      a connection is accepted, counted, and later closed so that the client gets the last reply
//	  crowd.go     which one makes room when there are too many
//	  pace.go      which one is too slow
//	dispatch.go  handle: admit, then the handler of the operation, then the end of the body
//	  framing.go   the headers, as they came over the wire
//	  target.go    the address: account, container, blob
//	  version.go   which service version the request wants
//	  (op)         which operation of the table it names
//	  auth.go      who is asking
//	  rate.go      whether that one asks for too much
//	  (op)         whether it asks for anything we do not do
//	body.go      the body, whole or not at all
//	service.go, container.go, list.go, blob.go, page.go, lease.go   the handlers, by noun
//	reply.go     the reply; the one place where an error becomes bytes
//	download.go  the body of a large reply
//	audit.go     the line that tells of it
//
// # What it promises
//
// A reply of success goes out after the account has done what was asked, durably. A body that ends early, or whose end
// is in doubt, is never acted on: such requests are refused and their connection ends. After a refusal the connection
// is either in step, the body having been read and dropped, or closed. A download that cannot go on breaks the
// connection short of Content-Length. A panic costs its own request and connection. Keys, signatures and queries are
// not logged.
//
// It leaves to others what names, leases, conditions and limits mean (blobstore), and the syntax of the protocol
// (internal/azure). HTTP/1.1 itself is fasthttp's, in which header names keep their case and paths are not normalised.
package server
