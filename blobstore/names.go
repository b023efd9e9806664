package blobstore

import (
	"strings"
	"unicode/utf8"

	"pagevault/internal/azure/azerr"
)

// Limits of the protocol on names.
const (
	containerNameMin = 3
	containerNameMax = 63
	blobNameUnitsMax = 1024 // UTF-16 code units
	blobSegmentsMax  = 254  // parts between slashes
)

// Containers with a meaning of their own.
const (
	rootContainer       = "$root" // its blobs are addressed without naming it
	webContainer        = "$web"
	logsContainer       = "$logs"
	changeFeedContainer = "$blobchangefeed"
)

// checkContainerName returns the 400 for a name no container can have. System containers pass: they may be looked for.
func checkContainerName(name string) error {
	switch name {
	case rootContainer, webContainer, logsContainer, changeFeedContainer:
		return nil
	}
	if len(name) < containerNameMin || len(name) > containerNameMax {
		return azerr.OutOfRangeInput
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case c == '-' && i > 0 && i < len(name)-1 && name[i-1] != '-':
		default:
			return azerr.InvalidResourceName
		}
	}
	return nil
}

// ValidContainerName reports whether a container can have the name.
func ValidContainerName(name string) bool { return checkContainerName(name) == nil }

// checkNewContainerName is checkContainerName for a container that is to be created: clients create $root and $web, the
// service alone creates the other system containers.
func checkNewContainerName(name string) error {
	if name == logsContainer || name == changeFeedContainer {
		return azerr.InvalidResourceName
	}
	return checkContainerName(name)
}

// checkBlobName returns the 400 for a name no blob can have. Any bytes will do; only their number is limited, and in the
// root container a slash would make the name unreachable.
func checkBlobName(container, name string) error {
	if name == "" || len(name) > blobNameUnitsMax && utf16Units(name) > blobNameUnitsMax {
		return azerr.OutOfRangeInput
	}
	slashes := strings.Count(name, "/")
	if slashes >= blobSegmentsMax || slashes > 0 && container == rootContainer {
		return azerr.InvalidResourceName
	}
	return nil
}

// utf16Units counts the code units of s in UTF-16, the measure of the protocol. A byte that is no UTF-8 counts as one.
func utf16Units(s string) int {
	n := 0
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		n++
		if r > 0xFFFF {
			n++
		}
		s = s[size:]
	}
	return n
}
