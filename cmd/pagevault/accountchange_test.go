package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
	"github.com/rogpeppe/go-internal/testscript"
)

// accountCommands are the commands of scripts about accounts:
//
//	keyfrom VARIABLE N                    sets it to key N as account add or rotate, run just before, has printed it
//	azure create|look URL NAME KEY [CODE] makes container things, or lists the account, through Azure's SDK; with a code that
//	                                      must be the error
//	azure sas VARIABLE URL NAME KEY       sets it to the URL of container things with a signature that lets it be listed
//	azure list URL [CODE]                 lists a container of which that is the URL
var accountCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"keyfrom": keyFrom, "azure": azure,
}

func keyFrom(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: keyfrom VARIABLE N")
	}
	said := ts.ReadFile("stdout")
	m := regexp.MustCompile(`(?m)^  key ` + args[1] + `  ([A-Za-z0-9+/]{86}==)$`).FindStringSubmatch(said)
	if m == nil {
		ts.Fatalf("no key %s in %q", args[1], said)
	}
	ts.Setenv(args[0], m[1])
}

func azure(ts *testscript.TestScript, neg bool, args []string) {
	wanted := map[string]int{"create": 4, "look": 4, "sas": 5, "list": 2}
	if n := wanted[first(args)]; neg || n == 0 || len(args) < n || len(args) > n+1 {
		ts.Fatalf("usage: azure create|look URL NAME KEY [CODE], azure sas VARIABLE URL NAME KEY, azure list URL [CODE]")
	}
	code := ""
	if n := wanted[args[0]]; len(args) > n {
		code = args[n]
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	options := azcore.ClientOptions{Retry: policy.RetryOptions{MaxRetries: -1}}
	var err error
	switch args[0] {
	case "list":
		var c *container.Client
		c, err = container.NewClientWithNoCredential(args[1], &container.ClientOptions{ClientOptions: options})
		ts.Check(err)
		_, err = c.NewListBlobsFlatPager(nil).NextPage(ctx)
	case "sas":
		c := accountClient(ts, args[2:], options).NewContainerClient("things")
		signed, err := c.GetSASURL(sas.ContainerPermissions{List: true}, time.Now().Add(time.Hour), nil)
		ts.Check(err)
		ts.Setenv(args[1], signed)
		return
	case "create":
		_, err = accountClient(ts, args[1:], options).CreateContainer(ctx, "things", nil)
	case "look":
		_, err = accountClient(ts, args[1:], options).NewListContainersPager(nil).NextPage(ctx)
	}
	var failed *azcore.ResponseError
	got := ""
	if errors.As(err, &failed) {
		got = failed.ErrorCode
	} else if err != nil {
		got = err.Error()
	}
	if got != code {
		ts.Fatalf("azure %s: got %q, want %q", args[0], got, code)
	}
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// accountClient returns Azure's client of an account: args are the URL of any account of the server, the name and the key.
func accountClient(ts *testscript.TestScript, args []string, options azcore.ClientOptions) *service.Client {
	cred, err := service.NewSharedKeyCredential(args[1], args[2])
	ts.Check(err)
	u, err := url.Parse(args[0])
	ts.Check(err)
	client, err := service.NewClientWithSharedKeyCredential(fmt.Sprintf("%s://%s/%s", u.Scheme, u.Host, args[1]), cred, &service.ClientOptions{ClientOptions: options})
	ts.Check(err)
	return client
}
