package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"pagevault/bench"
)

// memoryRoundBytes bounds the new data of a round for a server that keeps three copies of everything in memory.
const memoryRoundBytes = 64 << 20

// peerNames are what --compare knows by name, in the order of the report when nobody chooses; azurite only runs when it is named.
var peerNames = []string{"pagevault", "memory", "null", "disk", "azurite"}

// benchPeers are the servers and directories of a run, to be stopped and removed.
type benchPeers struct {
	servers []*bench.Peer
	dir     string // made on the first use
}

func (p *benchPeers) close() error {
	var err error
	for _, s := range p.servers {
		err = errors.Join(err, s.Stop())
	}
	if p.dir != "" {
		err = errors.Join(err, os.RemoveAll(p.dir))
	}
	return err
}

// open returns the targets of the run, in the order in which they are given, and starts those that are our own.
func (f *benchFlags) open(ctx context.Context, p *benchPeers) ([]bench.Target, error) {
	names, err := f.compared()
	if err != nil {
		return nil, err
	}
	if _, _, err := parseBenchAccount(f.account); err != nil { // a typo is one whatever is measured
		return nil, err
	}
	var targets []bench.Target
	for _, n := range names {
		var t bench.Target
		if isURL(n) {
			t, err = f.openURL(n, targets)
		} else {
			t, err = f.openPeer(ctx, n, p)
		}
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// writesToDir reports whether something is measured that writes below --dir.
func (f *benchFlags) writesToDir() bool {
	names, err := f.compared()
	return err == nil && slices.ContainsFunc(names, func(n string) bool { return slices.Contains([]string{"pagevault", "disk", "azurite"}, n) })
}

func isURL(text string) bool { return strings.Contains(text, "://") }

// compared returns the names and URLs of what is measured, each once.
func (f *benchFlags) compared() ([]string, error) {
	compare := f.compare
	if compare == nil {
		compare = peerNames[:4]
		if f.targets != nil {
			compare = []string{"null"}
		}
	}
	var list []string
	for _, n := range append(slices.Clone(f.targets), compare...) {
		if !isURL(n) && slices.Contains(f.targets, n) {
			return nil, usagef("--target: %q is not the URL of a Blob endpoint", n)
		}
		if !isURL(n) && !slices.Contains(peerNames, n) {
			return nil, usagef("--compare: no target %q: did you mean %s? There are %s, and URLs", n, bench.Nearest(n, peerNames)[0], strings.Join(peerNames, ", "))
		}
		if !slices.Contains(list, n) {
			list = append(list, n)
		}
	}
	return list, nil
}

// openURL returns the endpoint there, under a name that none of the others has.
func (f *benchFlags) openURL(text string, others []bench.Target) (bench.Target, error) {
	account, key, err := parseBenchAccount(f.account)
	if err != nil {
		return nil, err
	}
	o := bench.WireOptions{Name: text, URL: text, Account: account, Key: key}
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		o.Name = u.Host
	}
	for label, n := o.Name, 2; slices.ContainsFunc(others, func(t bench.Target) bool { return t.Info().Name == o.Name }); n++ {
		o.Name = fmt.Sprintf("%s (%d)", label, n)
	}
	t, err := bench.NewWire(o)
	if err != nil {
		return nil, usagef("--target: %w", err)
	}
	return t, nil
}

// directory returns one below parent that is removed in the end.
func (p *benchPeers) directory(parent, name string) (string, error) {
	if p.dir == "" {
		dir, err := os.MkdirTemp(parent, "pagevault-bench-")
		if err != nil {
			return "", err
		}
		p.dir = dir
	}
	return filepath.Join(p.dir, name), nil
}

// parseBenchAccount reads NAME:KEY.
func parseBenchAccount(text string) (name string, key []byte, err error) {
	name, encoded, ok := strings.Cut(text, ":")
	if key, err = base64.StdEncoding.DecodeString(encoded); !ok || err != nil || name == "" || len(key) == 0 {
		return "", nil, usagef("--account must be NAME:KEY with the key in base64, as in a connection string")
	}
	return name, key, nil
}

// openPeer starts one of the servers that have a name, on a free port.
func (f *benchFlags) openPeer(ctx context.Context, name string, p *benchPeers) (bench.Target, error) {
	if name == "disk" {
		return bench.NewDisk(filepath.Clean(f.dir)), nil
	}
	o, w, err := f.peer(name, p)
	if err != nil {
		return nil, err
	}
	server, err := bench.StartPeer(ctx, o)
	if err != nil {
		return nil, err
	}
	p.servers = append(p.servers, server)
	w.URL, w.PID = server.Address(), server.PID()
	if w.Account, w.Key, err = parseBenchAccount(wellKnownAccount + ":" + wellKnownKey); err != nil {
		return nil, err
	}
	return bench.NewWire(w)
}

// peer says how a server is started, and what is to be known of it as a target.
func (f *benchFlags) peer(name string, p *benchPeers) (o bench.PeerOptions, w bench.WireOptions, err error) {
	o = bench.PeerOptions{Name: name, Ready: findEndpoint}
	w = bench.WireOptions{Name: name}
	if o.Path, err = os.Executable(); err != nil {
		return o, w, err
	}
	serve := []string{"serve", "--listen", "127.0.0.1:0", "--admin", "", "--account", wellKnownAccount + ":" + wellKnownKey}
	var dir string
	switch name {
	case "pagevault":
		dir, err = p.directory(f.dir, "data")
		o.Args = append(serve, "--data", dir)
	case "memory":
		o.Args = append(serve, "--memory")
		w.Name, w.RoundBytes = "pagevault --memory", memoryRoundBytes
	case "null":
		o.Args = []string{"bench", "null-server"}
		w.Name, w.Baseline, w.Unchecked = "null server", true, true
	case "azurite":
		w.Baseline = true // so that the others are shown as multiples of it
		if o.Path, err = findAzurite(); err == nil {
			dir, err = p.directory(f.dir, "azurite")
		}
		o.Args, o.Env, o.Ready = azuriteArgs(dir), []string{"AZURITE_ACCOUNTS=" + wellKnownAccount + ":" + wellKnownKey}, findAzuriteEndpoint
	}
	return o, w, err
}

// endpointPattern finds the address in the connection string that a server prints.
var endpointPattern = regexp.MustCompile(`BlobEndpoint=([^;\s]+)`)

func findEndpoint(line string) (string, bool) {
	m := endpointPattern.FindStringSubmatch(line)
	if m == nil {
		return "", false
	}
	return m[1], true
}
