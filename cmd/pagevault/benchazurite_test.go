package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindAzuriteEndpoint(t *testing.T) {
	f := func(line, want string) {
		t.Helper()
		if got, ok := findAzuriteEndpoint(line); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", line, got, ok)
		}
	}
	f("Azurite Blob service is starting on 127.0.0.1:0", "")
	f("Azurite Blob service successfully listens on http://127.0.0.1:34203", "http://127.0.0.1:34203/devstoreaccount1")
}

// TestBenchAzurite starts what is found as azurite-blob, here a script that says where a null server is, stops it in the end,
// and says what to do where nothing is found.
func TestBenchAzurite(t *testing.T) {
	t.Chdir(t.TempDir())
	path := os.Getenv("PATH")
	t.Setenv("PATH", t.TempDir())
	if _, _, err := runBench(t, "--compare", "azurite"); err == nil || !strings.Contains(err.Error(), "make bench-azurite") {
		t.Errorf("error %v", err)
	}
	url := strings.TrimSuffix(serveNull(t), "/"+wellKnownAccount)
	script := "#!/bin/sh\necho \"$@\" >args\ntrap 'echo stopped >>args; exit 0' TERM\n" +
		"echo \"Azurite Blob service successfully listens on " + url + "\"\nwhile :; do sleep 0.01; done\n"
	t.Setenv("PATH", path)
	if err := os.MkdirAll(filepath.Dir(azuriteInstalled), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(azuriteInstalled, []byte(script), 0o777); err != nil {
		t.Fatal(err)
	}
	out, _, err := runBench(t, "--compare", "azurite,"+url+","+url+"/", "--workload", "put-4k-random", "--rounds", "1", "--duration", "5ms", "--connections", "1")
	if err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(url, "http://")
	for _, want := range []string{"× azurite", "  azurite ", "  " + host + " ", "  " + host + " (2) "} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	args, err := os.ReadFile("args")
	if err != nil || !strings.Contains(string(args), "--blobPort 0 --location ") || !strings.HasSuffix(string(args), "stopped\n") {
		t.Errorf("%s, %v", args, err)
	}
}
