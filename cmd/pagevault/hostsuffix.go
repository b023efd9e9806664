package main

import (
	"regexp"
	"strings"
)

// hostName is a name of the domain name system, in lower case and of one label at least.
var hostName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,62})(\.[a-z0-9]([-a-z0-9]{0,62}))*$`)

// hostSuffixes returns what --host-suffix says, in lower case. A dot in front is what some people write.
func (f *serveFlags) hostSuffixes() (all []string, err error) {
	if f.pathOnly && len(f.suffixes) > 0 {
		return nil, usagef("--host-suffix does not go with --path-style-only")
	}
	for _, text := range f.suffixes {
		name := strings.ToLower(strings.TrimPrefix(text, "."))
		if !hostName.MatchString(name) || len(name) > 253 {
			return nil, usagef("--host-suffix: %q is not a name such as blob.example.org", text)
		}
		all = append(all, name)
	}
	return all, nil
}
