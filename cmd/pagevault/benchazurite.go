package main

import (
	"errors"
	"os/exec"
	"path/filepath"
	"regexp"
)

// azuriteInstalled is where `make bench-azurite` puts Azurite, seen from the root of the repository.
const azuriteInstalled = "build/azurite/node_modules/.bin/azurite-blob"

// findAzurite returns the program of Azurite's Blob service.
func findAzurite() (string, error) {
	for _, name := range []string{azuriteInstalled, "azurite-blob"} {
		if path, err := exec.LookPath(name); err == nil {
			return filepath.Abs(path)
		}
	}
	return "", errors.New("azurite is not installed: `make bench-azurite` puts it into build/azurite, and azurite-blob in the PATH is found too")
}

// azuriteArgs have it listen on a free port of this machine, store below dir, take any version of the protocol, and neither
// log requests nor tell anybody of them.
func azuriteArgs(dir string) []string {
	return []string{"--blobHost", "127.0.0.1", "--blobPort", "0", "--location", dir, "--skipApiVersionCheck", "--silent", "--disableTelemetry"}
}

var azuritePattern = regexp.MustCompile(`successfully listens on (http://\S+)`)

// findAzuriteEndpoint finds the address in what Azurite prints.
func findAzuriteEndpoint(line string) (string, bool) {
	m := azuritePattern.FindStringSubmatch(line)
	if m == nil {
		return "", false
	}
	return m[1] + "/" + wellKnownAccount, true
}
