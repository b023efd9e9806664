package main

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"pagevault/blobstore"
)

// banner is what a user is told first: all that is needed next.
type banner struct {
	plan    *plan
	home    *layout
	key     *masterKey
	service *blobstore.Service
	blob    net.Addr
	admin   net.Listener // nil: none
}

// printBanner writes it, one aligned line for each thing. Keys are printed only if everybody has them anyway.
func printBanner(w io.Writer, b *banner) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-11s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(w, "Pagevault %s\n\n", version)
	scheme, host := b.plan.scheme(), shownHost(b.blob)
	public := usesWellKnownKey(b.plan.accounts)
	for _, a := range b.plan.accounts {
		key := "<KEY>"
		if a.Name == public {
			key = wellKnownKey
		}
		url := fmt.Sprintf("%s://%s/%s", scheme, host, a.Name)
		line("address", "%s", url)
		if l := a.Limits; l != (blobstore.Limits{}) {
			line("limits", "%s: %s of data and %s of metadata", a.Name, shownBytes(l.DataBytes), shownBytes(l.MetadataBytes))
		}
		line("connect", "DefaultEndpointsProtocol=%s;AccountName=%s;AccountKey=%s;BlobEndpoint=%s;", scheme, a.Name, key, url)
	}
	if ca := b.plan.devCA; ca != "" {
		line("tls", "a certificate for development; clients trust it with SSL_CERT_FILE=%s", ca)
	}
	if b.plan.flags.oauth.on() {
		line("tokens", "%s", b.plan.flags.oauth.shown())
	}
	if b.home.fs != nil {
		line("data", "in memory: nothing survives the process")
	} else {
		line("data", "%s", b.home.data)
		line("members", "%s: %s", b.members(), b.home.shownMembers())
		for _, text := range b.redundancies() {
			line("redundancy", "%s", text)
		}
	}
	line("key", "%s", b.key.shown())
	if b.admin != nil {
		line("admin", "http://%s (/healthz /readyz /metrics /accounts)", shownHost(b.admin.Addr()))
	}
	for _, warning := range b.warnings() {
		fmt.Fprintf(w, "\n  warning: %s\n", warning)
	}
	fmt.Fprintln(w)
}

func (b *banner) warnings() (all []string) {
	all = b.plan.flags.oauth.warnings(b.plan.flags.tls.on())
	if b.home.fs != nil {
		return all
	}
	for _, a := range b.service.Accounts() {
		if !b.key.unencrypted && !a.Encrypted() {
			all = append(all, fmt.Sprintf("account %s is not encrypted: it was made with --encryption off", a.Name()))
		}
	}
	if n := len(b.home.members); n < defaultMembers {
		all = append(all, fmt.Sprintf("there are fewer than %d members: add some with pagevault member replace %d --dir DIR", defaultMembers, n+1))
	}
	health := b.service.Health()
	if shared := sharedDevice(health); len(shared) > 0 {
		all = append(all, fmt.Sprintf("members %s are on one device: that guards against damaged bytes, not against a lost disk", enumerate(shared)))
	}
	for _, d := range disks(health) {
		if d.worst.State != blobstore.MemberCurrent {
			all = append(all, fmt.Sprintf("%s. %s", d.what(), meaning(health)))
		}
	}
	if names := b.home.unserved(b.plan.accounts); len(names) > 0 {
		all = append(all, fmt.Sprintf("there is data of accounts that are not served: %s (name them with --account)", strings.Join(names, ", ")))
	}
	if name := usesWellKnownKey(b.plan.accounts); name != "" && !loopback(b.blob) {
		all = append(all, fmt.Sprintf("everybody who reaches this address can read and write account %s", name))
	}
	return all
}

// members says how many there are and what they hold.
func (b *banner) members() string {
	n, current := len(b.home.members), 0
	all := disks(b.service.Health())
	for _, d := range all {
		if d.worst.State == blobstore.MemberCurrent {
			current++
		}
	}
	switch {
	case current < len(all):
		return fmt.Sprintf("%d, of which %d %s up to date", n, current, isOrAre(current))
	case n > defaultMembers:
		return fmt.Sprintf("%d, every byte on %d of them", n, defaultMembers)
	}
	return fmt.Sprintf("%d, each with every byte", n)
}

func isOrAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// redundancies says how accounts keep sealed files, where that is not as copies.
func (b *banner) redundancies() (all []string) {
	for _, h := range b.service.Health() {
		r, err := blobstore.ParseRedundancy(h.Redundancy)
		if err == nil && r.K > 0 {
			all = append(all, fmt.Sprintf("account %s: %s, sealed files are %d shards, of which any %d may be lost", h.Account, h.Redundancy, r.K+r.M, r.M))
		}
	}
	return all
}

// sharedDevice returns the numbers of the members that lie on a device with another one; none if each has its own. Where
// the disk of one that is out would be mounted says nothing.
func sharedDevice(all []blobstore.Health) (shared []int) {
	on := map[string][]int{}
	for _, d := range disks(all) {
		if m := &d.worst; m.Device != "" && badness(m.State) <= badness(blobstore.MemberJoining) {
			on[m.Device] = append(on[m.Device], d.numbers...)
		}
	}
	for _, group := range on {
		if len(group) > 1 {
			shared = append(shared, group...)
		}
	}
	slices.Sort(shared)
	return shared
}

// shownHost returns host:port as this machine reaches it.
func shownHost(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return a.String()
	}
	ip := tcp.IP
	if ip.IsUnspecified() {
		ip = net.IPv4(127, 0, 0, 1)
	}
	return net.JoinHostPort(ip.String(), fmt.Sprint(tcp.Port))
}

// shownMembers names the members' folders, briefly if they lie below the data directory.
func (l *layout) shownMembers() string {
	names := slices.Clone(l.members)
	for i, dir := range names {
		if filepath.Dir(dir) == l.data {
			names[i] = filepath.Base(dir)
		}
	}
	return strings.Join(names, ", ")
}

// enumerate returns "1, 2 and 3".
func enumerate(ns []int) string {
	texts := make([]string, len(ns))
	for i, n := range ns {
		texts[i] = fmt.Sprint(n)
	}
	if len(texts) < 2 {
		return strings.Join(texts, "")
	}
	return strings.Join(texts[:len(texts)-1], ", ") + " and " + texts[len(texts)-1]
}
