package testkit

import (
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

// requestTimeout bounds one request of a test's client, body and all.
const requestTimeout = 60 * time.Second

// ClientOptions returns options for Azure's Go SDK that never retry, so that a test sees every answer, and that keep
// their connections apart from those of other clients.
func ClientOptions(t testing.TB) azcore.ClientOptions {
	t.Helper()
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: requestTimeout}).DialContext,
		MaxIdleConnsPerHost: 64, // as many as the writers of any test
	}
	t.Cleanup(transport.CloseIdleConnections)
	return azcore.ClientOptions{
		Retry:     policy.RetryOptions{MaxRetries: -1},
		Transport: &http.Client{Transport: transport, Timeout: requestTimeout},
	}
}

// Credential returns the default account's.
func Credential(t testing.TB) *azblob.SharedKeyCredential {
	t.Helper()
	cred, err := azblob.NewSharedKeyCredential(Account, AccountKey)
	if err != nil {
		t.Fatal(err)
	}
	return cred
}

// Container returns a client for a container of the default account, whose requests pass through the policies.
func (s *Server) Container(t testing.TB, name string, policies ...policy.Policy) *container.Client {
	t.Helper()
	options := ClientOptions(t)
	options.PerCallPolicies = policies
	c, err := container.NewClientWithSharedKeyCredential(s.URL()+"/"+name, Credential(t), &container.ClientOptions{ClientOptions: options})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
