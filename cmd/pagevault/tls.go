package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"

	"pagevault/internal/clock"
)

// certEvery is how often the files of a certificate are looked at: whoever renews one does not wait for it.
const certEvery = 5 * time.Second

// tlsFlags say how the blob service speaks TLS.
type tlsFlags struct {
	cert, key string
	clientCA  string
	dev       bool
}

func (f *tlsFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.cert, "tls-cert", "", "file of the certificate chain, PEM; serves https. It is read again when it changes")
	flags.StringVar(&f.key, "tls-key", "", "file of the certificate's key, PEM")
	flags.BoolVar(&f.dev, "tls-dev", false, "serve https with a certificate of our own making, kept in "+devDir+" in --data; for development")
	flags.StringVar(&f.clientCA, "tls-client-ca", "", "file of certificates, PEM: clients must have one that they signed. It is read again when it changes")
}

// check finds what does not go together.
func (f *tlsFlags) check(memory bool) error {
	switch {
	case (f.cert == "") != (f.key == ""):
		return usagef("--tls-cert and --tls-key go together")
	case f.dev && f.cert != "":
		return usagef("--tls-dev makes a certificate: it does not go with --tls-cert")
	case f.dev && memory:
		return usagef("--tls-dev keeps its certificate in --data: it does not go with --memory")
	case f.clientCA != "" && !f.on():
		return usagef("--tls-client-ca needs --tls-cert or --tls-dev")
	}
	return nil
}

// on reports whether the blob service speaks TLS.
func (f *tlsFlags) on() bool { return f.dev || f.cert != "" }

// certificates is the TLS configuration that some files come to. It is read again when they change; files that make no
// sense leave what was there before.
type certificates struct {
	files   tlsFlags
	clock   clock.Clock
	log     *slog.Logger
	seen    []os.FileInfo // of the files, at the last look; used by one goroutine at a time
	current atomic.Pointer[tls.Config]
}

// openCertificates reads the files. That a certificate has expired is told and no reason not to serve: clients see it.
func openCertificates(f tlsFlags, c clock.Clock, log *slog.Logger) (*certificates, error) {
	cs := &certificates{files: f, clock: c, log: log}
	cs.seen = cs.look()
	config, err := cs.read()
	if err != nil {
		return nil, err
	}
	if err := cs.valid(config); err != nil {
		log.Warn("clients will not take the certificate", "error", err)
	}
	cs.current.Store(config)
	return cs, nil
}

// config returns what the listener is to use: for every handshake what the files last came to.
func (cs *certificates) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return cs.current.Load(), nil
	}}
}

// names returns the files.
func (cs *certificates) names() []string {
	names := []string{cs.files.cert, cs.files.key}
	if cs.files.clientCA != "" {
		names = append(names, cs.files.clientCA)
	}
	return names
}

// look returns how the files are now, nil for one that cannot be seen.
func (cs *certificates) look() (all []os.FileInfo) {
	for _, name := range cs.names() {
		info, err := os.Stat(name)
		if err != nil {
			info = nil
		}
		all = append(all, info)
	}
	return all
}

// read makes a configuration of the files. A new one has keys of its own for session tickets, so that nobody resumes a
// session under client certificates that are no longer taken.
func (cs *certificates) read() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(cs.files.cert, cs.files.key)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert %s, --tls-key %s: %w", cs.files.cert, cs.files.key, err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if name := cs.files.clientCA; name != "" {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("--tls-client-ca: %w", err)
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("--tls-client-ca %s: there is no certificate in it", name)
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return config, nil
}

// valid returns an error if the certificate is not good at this time.
func (cs *certificates) valid(config *tls.Config) error {
	leaf, now := config.Certificates[0].Leaf, cs.clock.Now()
	switch {
	case now.After(leaf.NotAfter):
		return fmt.Errorf("%s: it has expired at %s", cs.files.cert, leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("%s: it is not good before %s", cs.files.cert, leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// reload reads the files if they are not as they were at the last look. Of two that are replaced one after the other the
// first makes no sense alone: that is told, and the second look takes both.
func (cs *certificates) reload() {
	seen := cs.look() // before they are read: what changes meanwhile is found at the next look
	if sameFiles(seen, cs.seen) {
		return
	}
	cs.seen = seen
	config, err := cs.read()
	if err == nil {
		err = cs.valid(config)
	}
	if err != nil {
		cs.log.Error("the new certificate is not used, the one before is", "error", err)
		return
	}
	cs.current.Store(config)
	cs.log.Info("the certificate is a new one", "file", cs.files.cert, "until", config.Certificates[0].Leaf.NotAfter.UTC())
}

func sameFiles(a, b []os.FileInfo) bool {
	for i := range a {
		if (a[i] == nil) != (b[i] == nil) {
			return false
		}
		if a[i] != nil && (!os.SameFile(a[i], b[i]) || !a[i].ModTime().Equal(b[i].ModTime()) || a[i].Size() != b[i].Size()) {
			return false
		}
	}
	return true
}

// watch reloads again and again, until stop, which returns when it has ended.
func (cs *certificates) watch() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		timer := cs.clock.NewTimer(certEvery)
		defer timer.Stop()
		for {
			select {
			case <-done:
				return
			case <-timer.C():
			}
			cs.reload()
			timer.Reset(certEvery)
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// startTLS returns the certificates that the flags name, made if need be; nil for plain HTTP.
func (p *plan) startTLS(home *layout) (*certificates, error) {
	f := p.flags.tls
	if !f.on() {
		return nil, nil
	}
	if f.dev {
		dev, err := makeDevCertificate(home.data, p.flags.listen, clock.System.Now())
		if err != nil {
			return nil, fmt.Errorf("--tls-dev: %w", err)
		}
		f.cert, f.key, p.devCA = dev.cert, dev.key, dev.ca
	}
	return openCertificates(f, clock.System, p.log)
}

// readable returns an error if the files that the flags name make no sense, before ports are taken and disks opened.
func (f *tlsFlags) readable() error {
	if f.cert == "" {
		if f.clientCA == "" {
			return nil
		}
		_, err := os.Stat(f.clientCA)
		return err
	}
	_, err := (&certificates{files: *f}).read()
	return err
}
