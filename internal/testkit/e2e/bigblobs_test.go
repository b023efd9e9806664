//go:build e2e

package e2e

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

// testBulk returns random bytes that are the same in every run.
func testBulk(n byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{n}) }

// uncommitted returns the names of blobs of which there are only blocks that nobody has committed.
func uncommitted(t *testing.T, c *container.Client) []string {
	t.Helper()
	committed := listed(t, c, container.ListBlobsInclude{})
	return slices.DeleteFunc(listed(t, c, container.ListBlobsInclude{UncommittedBlobs: true}), func(name string) bool {
		return slices.Contains(committed, name)
	})
}

// listed returns the names of a container's blobs.
func listed(t *testing.T, c *container.Client, include container.ListBlobsInclude) (names []string) {
	t.Helper()
	pager := c.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Include: include})
	for pager.More() {
		page, err := pager.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range page.Segment.BlobItems {
			names = append(names, *b.Name)
		}
	}
	return names
}
