//go:build e2e

package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"pagevault/internal/testkit"
)

// TestTokens: Azure's JavaScript SDK works on page blobs by shared access signatures that it makes itself.
func TestTokens(t *testing.T) {
	server := testkit.StartServer(t, testkit.ServerOptions{})
	out := testkit.Command{
		Args: []string{"node", filepath.Join(testkit.Root(t), "internal/testkit/e2e/js/token.cjs"), "tokens"},
		Env:  []string{"NODE_PATH=" + testkit.NodeModules(t), "AZURE_STORAGE_CONNECTION_STRING=" + server.ConnectionString()},
	}.Run(t)
	if strings.TrimSpace(out) != "ok" {
		t.Errorf("the script said %q", out)
	}
	server.Stop(t)
}
