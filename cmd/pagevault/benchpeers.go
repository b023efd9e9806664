package main

import (
	"context"
	"encoding/base64"
	"errors"
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

// Names of what --peers can add to a run, in the order of the report.
var peerNames = []string{"pagevault", "memory", "null", "disk"}

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

// open returns the targets of the run and starts those that are our own.
func (f *benchFlags) open(ctx context.Context, p *benchPeers) ([]bench.Target, error) {
	name, key, err := parseBenchAccount(f.account)
	if err != nil {
		return nil, err
	}
	peers := f.peers
	if peers == nil {
		peers = peerNames
		if f.targets != nil {
			peers = []string{"null"}
		}
	}
	for _, n := range peers {
		if !slices.Contains(peerNames, n) {
			return nil, usagef("--peers: no peer %q: there are %s", n, strings.Join(peerNames, ", "))
		}
	}
	var targets []bench.Target
	for _, text := range f.targets {
		label := text
		if u, err := url.Parse(text); err == nil && u.Host != "" {
			label = u.Host
		}
		t, err := bench.NewWire(bench.WireOptions{Name: label, URL: text, Account: name, Key: key})
		if err != nil {
			return nil, usagef("--target: %w", err)
		}
		targets = append(targets, t)
	}
	for _, n := range peerNames {
		if slices.Contains(peers, n) {
			t, err := f.openPeer(ctx, n, p)
			if err != nil {
				return nil, err
			}
			targets = append(targets, t)
		}
	}
	return targets, nil
}

// parseBenchAccount reads NAME:KEY.
func parseBenchAccount(text string) (name string, key []byte, err error) {
	name, encoded, ok := strings.Cut(text, ":")
	if key, err = base64.StdEncoding.DecodeString(encoded); !ok || err != nil || name == "" || len(key) == 0 {
		return "", nil, usagef("--account must be NAME:KEY with the key in base64, as in a connection string")
	}
	return name, key, nil
}

// openPeer starts one of our own servers on a free port.
func (f *benchFlags) openPeer(ctx context.Context, name string, p *benchPeers) (bench.Target, error) {
	if name == "disk" {
		return bench.NewDisk(f.dir), nil
	}
	serve := []string{"serve", "--listen", "127.0.0.1:0", "--admin", "", "--account", wellKnownAccount + ":" + wellKnownKey}
	o := bench.PeerOptions{Name: name, Ready: findEndpoint}
	w := bench.WireOptions{Name: name}
	switch name {
	case "pagevault":
		if p.dir == "" {
			dir, err := os.MkdirTemp(f.dir, "pagevault-bench-")
			if err != nil {
				return nil, err
			}
			p.dir = dir
		}
		o.Args = append(serve, "--data", filepath.Join(p.dir, "data"))
	case "memory":
		o.Args = append(serve, "--memory")
		w.Name, w.RoundBytes = "pagevault --memory", memoryRoundBytes
	case "null":
		o.Args = []string{"bench", "null-server"}
		w.Name, w.Baseline, w.Unchecked = "null server", true, true
	}
	var err error
	if o.Path, err = os.Executable(); err != nil {
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

// endpointPattern finds the address in the connection string that a server prints.
var endpointPattern = regexp.MustCompile(`BlobEndpoint=([^;\s]+)`)

func findEndpoint(line string) (string, bool) {
	m := endpointPattern.FindStringSubmatch(line)
	if m == nil {
		return "", false
	}
	return m[1], true
}
