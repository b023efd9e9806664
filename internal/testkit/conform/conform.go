package conform

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"pagevault/internal/clock"
)

// T is what a test of this package needs of *testing.T, so that the list can also run outside go test.
type T interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any) // marks the test failed and goes on
	Fatalf(format string, args ...any) // marks the test failed and ends it
	Cleanup(func())
	Run(name string, f func(T)) bool // a part of the test, under its own name
}

// Test is one entry of the list. A test leaves the account as it found it and does not depend on other tests.
type Test struct {
	Name string              // a row of the operation table names it in Row.Tests
	Run  func(t T, env *Env) // the whole test
}

// Env is the endpoint under test. The exported fields are set before the first test; tests of one Env run one at a time.
type Env struct {
	URL       string // scheme, host and port, no path: "http://127.0.0.1:10000"
	Account   string // addressed path-style: URL/Account/container/blob
	PublicURL string // the same account where containers may be made public. "": what that needs is left out
	Immutable string // a container of the account that has immutable storage when it is made. "": what that needs is left out
	Premium   string // another account with the same keys, of premium storage. "": what that needs is left out
	Versioned string // another one, of premium storage, with versioning and Immutable. "": what that needs is left out
	Key       string // the account's first key, base64

	// TokenURL is an address of the same account where bearer tokens are taken, such as Token returns: signed by the issuer
	// that the server trusts, with its URL and what claims say. The server has the roles that Roles says. "": what that
	// needs is left out.
	TokenURL string
	TokenTLS *tls.Config // with which TokenURL is trusted. nil: as the system has it
	Token    func(claims map[string]any) string

	SecondKey string // its second key; required, the tests sign with both

	// Clock is what the server takes for the time; requests are dated by it. nil: the system's clock.
	Clock clock.Clock
	// Advance lets time pass at the server: it moves the server's clock or, where that cannot be done, waits. nil: waits.
	// The whole list asks for some minutes.
	Advance func(time.Duration)
	// NoWait leaves out the parts that need more time than a moment to pass, where Advance is nil; LeftOut names them.
	NoWait bool

	ContainerDays int // for how many days the server keeps deleted containers. 0: what that needs is left out

	MaxPageBlob int64  // the largest page blob the server allows, in bytes. 0: 1 TiB
	Seed        uint64 // decides contents, names and ids; logged by whoever runs the list

	once   sync.Once
	rng    *rand.Rand
	wires  *connection
	ledger ledger
	album  album
	serial int
	out    []string // names of the parts that were left out

	versioning bool // the account has versioning
}

// setUp fills the defaults. Every way into an Env passes here.
func (e *Env) setUp() {
	e.once.Do(func() {
		e.URL = strings.TrimRight(e.URL, "/")
		if e.Clock == nil {
			e.Clock = clock.System
		}
		if e.MaxPageBlob == 0 {
			e.MaxPageBlob = 1 << 40
		}
		e.rng = rand.New(rand.NewPCG(e.Seed, 0))
		e.wires = &connection{url: e.URL}
	})
}

// pass lets d go by at the server. What the account looked like before is forgotten: leases run out.
func (e *Env) pass(d time.Duration) {
	e.album.forget()
	if e.Advance == nil {
		<-time.After(d)
		return
	}
	e.Advance(d)
}

// moment is what is waited for even with NoWait.
const moment = 3 * time.Second

// canPass reports whether pass(d) is to be called.
func (e *Env) canPass(d time.Duration) bool { return e.Advance != nil || !e.NoWait || d <= moment }

// LeftOut returns the names of the parts that NoWait has left out so far, in the order of the list, without the names of
// their tests.
func (e *Env) LeftOut() []string { return slices.Clone(e.out) }

// unique returns a name that no other test of this run and, but for bad luck, no other run has used: 3 to 63 lower-case
// letters, digits and single hyphens, which is a container name.
func (e *Env) unique() string {
	e.setUp()
	e.serial++
	return fmt.Sprintf("%s%04d", e.family(), e.serial)
}

// family is what every name of this run begins with.
func (e *Env) family() string { return fmt.Sprintf("conform-%08x-", uint32(e.Seed^e.Seed>>32)) }

// Close gives the connections to the endpoint back.
func (e *Env) Close() {
	e.setUp()
	e.wires.drop()
}

// Tests is the list, in the order of the operation table and then the tests that belong to no single operation.
var Tests = []Test{
	{"ListContainers", listContainers},
	{"GetServiceProperties", getServiceProperties},
	{"GetServiceStats", getServiceStats},
	{"SetServiceProperties", setServiceProperties},
	{"ServiceBatch", serviceBatch},
	{"FindBlobsByTags", findBlobsByTags},
	{"GetAccountInformation", getAccountInformation},
	{"GetUserDelegationKey", getUserDelegationKey},
	{"CORSPreflight", corsPreflight},
	{"CreateContainer", createContainer},
	{"GetContainerProperties", getContainerProperties},
	{"GetContainerMetadata", getContainerMetadata},
	{"SetContainerMetadata", setContainerMetadata},
	{"GetContainerACL", getContainerACL},
	{"SetContainerACL", setContainerACL},
	{"DeleteContainer", deleteContainer},
	{"LeaseContainer", leaseContainer},
	{"RestoreContainer", restoreContainer},
	{"ListBlobs", listBlobs},
	{"FindBlobsByTagsInContainer", findBlobsByTagsInContainer},
	{"ContainerBatch", containerBatch},
	{"PutPageBlob", putPageBlob},
	{"GetBlob", getBlob},
	{"GetBlobProperties", getBlobProperties},
	{"GetBlobMetadata", getBlobMetadata},
	{"SetBlobMetadata", setBlobMetadata},
	{"SetBlobProperties", setBlobProperties},
	{"DeleteBlob", deleteBlob},
	{"LeaseBlob", leaseBlob},
	{"SnapshotBlob", snapshotBlob},
	{"GetBlobTags", getBlobTags},
	{"SetBlobTags", setBlobTags},
	{"CopyBlob", copyBlob},
	{"CopyBlobFromURL", copyBlobFromURL},
	{"PutBlobFromURL", putBlobFromURL},
	{"PutBlockFromURL", putBlockFromURL},
	{"AppendBlockFromURL", appendBlockFromURL},
	{"AbortCopyBlob", abortCopyBlob},
	{"IncrementalCopyBlob", incrementalCopyBlob},
	{"SetBlobTier", setBlobTier},
	{"SetImmutabilityPolicy", setImmutabilityPolicy},
	{"DeleteImmutabilityPolicy", deleteImmutabilityPolicy},
	{"SetLegalHold", setLegalHold},
	{"UndeleteBlob", undeleteBlob},
	{"BlobVersions", blobVersions},
	{"PutPage", putPage},
	{"ClearPages", clearPages},
	{"PutPageFromURL", putPageFromURL},
	{"GetPageRanges", getPageRanges},
	{"GetPageRangesDiff", getPageRangesDiff},
	{"PutBlockBlob", putBlockBlob},
	{"PutBlock", putBlock},
	{"PutBlockList", putBlockList},
	{"GetBlockList", getBlockList},
	{"PutAppendBlob", putAppendBlob},
	{"AppendBlock", appendBlock},
	{"SealAppendBlob", sealAppendBlob},
	{"Conditions", conditions},
	{"Signatures", signatures},
	{"Tokens", tokens},
	{"PublicAccess", publicAccess},
	{"Versions", versions},
	{"Dispatch", dispatch},
	{"Names", names},
	{"Transport", transport},
	{"RefusedOperations", refusedOperations},
	{"Retention", retention},
}
