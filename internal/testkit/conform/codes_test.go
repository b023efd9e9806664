package conform

import (
	"slices"
	"testing"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/op"
)

// unprovoked says of every code of the server's table that is not in Codes why no operation we have can answer it.
var unprovoked = map[string][]azerr.Code{
	"needs credentials other than account keys and tokens signed with them": {azerr.KeyBasedAuthenticationNotPermitted},
	"belongs to the management of accounts": {
		azerr.AccountAlreadyExists, azerr.AccountBeingCreated, azerr.AccountIsDisabled, azerr.ContainerBeingDeleted,
		azerr.ContainerDisabled, azerr.SystemInUse},
	"is a failure of the server itself, of its disks or of its time": {
		azerr.InternalError, azerr.OperationTimedOut, azerr.ServerBusy},
	"is answered by accounts with limits only: TestLimits":            {azerr.AccountCapacityExceeded},
	"needs 50,000 requests":                                           {azerr.BlockCountExceedsLimit},
	"is for sources of a type that is not read, and all are":          {azerr.InvalidSourceBlobType},
	"needs a copy that takes its time: TestPendingCopy of the server": {azerr.CopyIdMismatch, azerr.PendingCopyOperation},
	"has another name since":                                          {azerr.IncrementalCopyOfEarlierVersionSnapshotNotAllowed, azerr.IncrementalCopyOfEralierVersionSnapshotNotAllowed},
	"is of versions before copies between accounts":                   {azerr.CopyAcrossAccountsNotSupported},
	"is for an archive from which it takes time to come back, and limits of premium accounts that we do not have": {
		azerr.BlobBeingRehydrated, azerr.BlobNotArchived,
		azerr.PreviousSnapshotOperationNotSupported, azerr.SnapshotCountExceeded,
		azerr.SnapshotOperationRateExceeded},
	"is for features that are refused as a whole: client keys, hierarchical accounts": {
		azerr.BlobUsesCustomerSpecifiedEncryption},
	"is for versions we do not tell apart: all that are well-formed are served": {
		azerr.FeatureVersionMismatch, azerr.InvalidVersionForPageBlobOperation, azerr.LeaseAlreadyBroken},
	"has a more precise sibling that we answer instead": {
		azerr.InvalidOperation, azerr.InvalidRequestUrl, azerr.RequestUrlFailedToParse,
		azerr.ResourceAlreadyExists, azerr.ResourceTypeMismatch, azerr.NotImplemented},
}

// tableCodes are all codes of the server's table.
func tableCodes() (codes []azerr.Code) {
	for c := azerr.Code(1); c == azerr.InternalError || c.Wire() != azerr.InternalError.Wire(); c++ {
		codes = append(codes, c)
	}
	return codes
}

func TestEveryCodeIsProvokedOrExplained(t *testing.T) {
	explained := map[azerr.Code]string{}
	for why, codes := range unprovoked {
		for _, c := range codes {
			if explained[c] != "" {
				t.Errorf("%s is explained twice", c.Wire())
			}
			explained[c] = why
		}
	}
	listed := map[string]bool{}
	for _, c := range Codes {
		if listed[c.Code] {
			t.Errorf("%s is listed twice", c.Code)
		}
		listed[c.Code] = true
	}
	all := tableCodes()
	if len(all) < 100 {
		t.Fatalf("the table has %d codes?", len(all))
	}
	for _, c := range all {
		name := codeOf(c)
		if listed[name] == (explained[c] != "") {
			t.Errorf("%s: listed %v, explained %q", name, listed[name], explained[c])
		}
		if listed[name] && statusOf(name) != c.Status() {
			t.Errorf("%s: the server says %d, the suite %d", name, c.Status(), statusOf(name))
		}
		delete(listed, name)
	}
	for name := range listed {
		t.Errorf("%s is no code of the server's table", name)
	}
}

// crossCutting are the tests that belong to no row of the operation table.
var crossCutting = []string{"Conditions", "Signatures", "Tokens", "PublicAccess", "Versions", "BlobVersions", "Dispatch", "Names", "Transport", "RefusedOperations", "Retention"}

func TestEveryOperationHasItsTest(t *testing.T) {
	rows := map[string]string{} // test → operation
	for i := range op.Table {
		row := &op.Table[i]
		if row.State == op.Refused {
			if len(row.Tests) > 0 {
				t.Errorf("%s is refused and names the tests %v", row.Name, row.Tests)
			}
			continue
		}
		if len(row.Tests) == 0 {
			t.Errorf("%s is %v and names no test", row.Name, row.State)
		}
		for _, name := range row.Tests {
			rows[name] = row.Name
		}
	}
	seen := map[string]bool{}
	for _, test := range Tests {
		if seen[test.Name] {
			t.Errorf("two tests are named %s", test.Name)
		}
		seen[test.Name] = true
		if rows[test.Name] == "" && !slices.Contains(crossCutting, test.Name) {
			t.Errorf("the test %s belongs to no operation", test.Name)
		}
	}
	for name, row := range rows {
		if !seen[name] {
			t.Errorf("%s names the test %s, which is not there", row, name)
		}
	}
	for _, name := range crossCutting {
		if !seen[name] {
			t.Errorf("no test %s", name)
		}
	}
}
