package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pagevault/internal/clock"
)

// authority signs certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
	pool *x509.CertPool
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{file: filepath.Join(t.TempDir(), name+".pem"), pool: x509.NewCertPool()}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	var err error
	a.cert, a.key, err = makePair(a.file, a.file+".key", template, nil, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

// sign writes a certificate for 127.0.0.1 with that name, good for the time, into the files.
func (a *authority) sign(t *testing.T, cert, key, name string, good time.Duration) {
	t.Helper()
	template := &x509.Certificate{Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(good), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	if _, _, err := makePair(cert, key, template, a.cert, a.key, time.Now()); err != nil {
		t.Fatal(err)
	}
}

// tlsServer says hello to everybody whose handshake succeeds, with the certificates of the files.
type tlsServer struct {
	*certificates
	addr string
	log  bytes.Buffer // of reload, which the test calls itself
}

func serveTLS(t *testing.T, f tlsFlags) *tlsServer {
	t.Helper()
	s := &tlsServer{}
	var err error
	s.certificates, err = openCertificates(f, clock.System, slog.New(slog.NewTextHandler(&s.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", s.config())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(patience))
			c.Write([]byte("hello"))
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-ended })
	s.addr = ln.Addr().String()
	return s
}

// dial returns the name in the server's certificate, or why there is no connection.
func (s *tlsServer) dial(c *tls.Config) (string, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", s.addr, c)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, 5)); err != nil { // under TLS 1.3 a client learns only now that it is refused
		return "", err
	}
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

// TestCertificateReload replaces the files of a server: new connections get the new certificate, and what makes no
// sense changes nothing.
func TestCertificateReload(t *testing.T) {
	ca, dir := newAuthority(t, "ca"), t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	ca.sign(t, cert, key, "first", time.Hour)
	s := serveTLS(t, tlsFlags{cert: cert, key: key})
	f := func(want, logged string) {
		t.Helper()
		s.log.Reset()
		s.reload()
		got, err := s.dial(&tls.Config{RootCAs: ca.pool})
		if err != nil || got != want {
			t.Errorf("got certificate %q, %v, want %q", got, err, want)
		}
		if !strings.Contains(s.log.String(), logged) || logged == "" && s.log.Len() > 0 {
			t.Errorf("the log says %q, want %q", s.log.String(), logged)
		}
	}
	f("first", "")
	ca.sign(t, cert, key, "second", time.Hour)
	f("second", "a new one")
	f("second", "")
	ca.sign(t, cert, key, "third", -time.Minute)
	f("second", "has expired")
	f("second", "") // told once

	// A renewal in two steps: the certificate, and later its key.
	ca.sign(t, filepath.Join(dir, "next.pem"), filepath.Join(dir, "next.key"), "fourth", time.Hour)
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(filepath.Join(dir, from), to); err != nil {
			t.Fatal(err)
		}
	}
	rename("next.pem", cert)
	f("second", "private key does not match")
	rename("next.key", key)
	f("fourth", "a new one")

	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	f("fourth", "no such file")
	if err := os.WriteFile(cert, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	f("fourth", "failed to find any PEM data")
	ca.sign(t, cert, key, "fifth", time.Hour)
	f("fifth", "a new one")
}

// TestCertificateWatch shows that the files are looked at by themselves, and that watching ends.
func TestCertificateWatch(t *testing.T) {
	ca, dir := newAuthority(t, "ca"), t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	ca.sign(t, cert, key, "first", time.Hour)
	manual := clock.NewManual(time.Now())
	cs, err := openCertificates(tlsFlags{cert: cert, key: key}, manual, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	stop := cs.watch()
	ca.sign(t, cert, key, "second", time.Hour)
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for cs.current.Load().Certificates[0].Leaf.Subject.CommonName != "second" {
		select {
		case <-tick.C:
			manual.Advance(certEvery)
		case <-deadline:
			t.Fatal("the new certificate is not used")
		}
	}
	stop()
}

// TestTLSClients shows who gets through: TLS 1.2 and later, and with --tls-client-ca whom that has signed.
func TestTLSClients(t *testing.T) {
	ca, clients, other, dir := newAuthority(t, "ca"), newAuthority(t, "clients"), newAuthority(t, "other"), t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	ca.sign(t, file("cert.pem"), file("key.pem"), "server", time.Hour)
	s := serveTLS(t, tlsFlags{cert: file("cert.pem"), key: file("key.pem")})
	f := func(fails string, c *tls.Config) {
		t.Helper()
		_, err := s.dial(c)
		if (err != nil) != (fails != "") || err != nil && !strings.Contains(err.Error(), fails) {
			t.Errorf("got error %v, want %q", err, fails)
		}
	}
	f("", &tls.Config{RootCAs: ca.pool})
	f("", &tls.Config{RootCAs: ca.pool, MaxVersion: tls.VersionTLS12})
	f("protocol version", &tls.Config{RootCAs: ca.pool, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	f("protocol version", &tls.Config{RootCAs: ca.pool, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10})
	f("unknown authority", &tls.Config{RootCAs: other.pool})

	s = serveTLS(t, tlsFlags{cert: file("cert.pem"), key: file("key.pem"), clientCA: clients.file})
	with := func(a *authority, good time.Duration) *tls.Config {
		t.Helper()
		a.sign(t, file("client.pem"), file("client.key"), "client", good)
		pair, err := tls.LoadX509KeyPair(file("client.pem"), file("client.key"))
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Config{RootCAs: ca.pool, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }}
	}
	f("", with(clients, time.Hour))
	f("certificate required", &tls.Config{RootCAs: ca.pool})
	f("unknown certificate authority", with(other, time.Hour))
	f("expired certificate", with(clients, -time.Minute))

	// Other authorities, from now on.
	text, err := os.ReadFile(other.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := replaceFile(clients.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s.reload()
	f("", with(other, time.Hour))
	f("unknown certificate authority", with(clients, time.Hour))
}

// TestExpiredCertificate shows that a server starts with one, says so, and that clients refuse it.
func TestExpiredCertificate(t *testing.T) {
	ca, dir := newAuthority(t, "ca"), t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	ca.sign(t, cert, key, "old", -time.Minute)
	s := serveTLS(t, tlsFlags{cert: cert, key: key})
	if !strings.Contains(s.log.String(), "has expired") {
		t.Errorf("the log says %q", s.log.String())
	}
	if _, err := s.dial(&tls.Config{RootCAs: ca.pool}); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("got %v", err)
	}
}

// TestDevCertificate shows that clients which trust the authority take the certificate, and when there is a new one.
func TestDevCertificate(t *testing.T) {
	data, now := t.TempDir(), time.Now()
	f := func(listen string, now time.Time, names ...string) (ca, cert string) {
		t.Helper()
		dev, err := makeDevCertificate(data, listen, now)
		if err != nil {
			t.Fatal(err)
		}
		s := serveTLS(t, tlsFlags{cert: dev.cert, key: dev.key})
		text, err := os.ReadFile(dev.ca)
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(text)
		for _, name := range append(names, "localhost", "127.0.0.1", "::1", "account.blob.localhost") {
			if _, err := s.dial(&tls.Config{RootCAs: pool, ServerName: name, Time: func() time.Time { return now }}); err != nil {
				t.Errorf("listening on %s, called %s: %v", listen, name, err)
			}
		}
		if _, err := s.dial(&tls.Config{RootCAs: pool, ServerName: "example.com"}); err == nil {
			t.Error("it is good for example.com")
		}
		for _, name := range []string{dev.key, dev.caKey} {
			if info, err := os.Stat(name); err != nil || info.Mode() != 0o600 {
				t.Errorf("%s: %v, %v", name, info.Mode(), err)
			}
		}
		leaf, err := os.ReadFile(dev.cert)
		if err != nil {
			t.Fatal(err)
		}
		return string(text), string(leaf)
	}
	ca, first := f("127.0.0.1:10000", now)
	again, second := f("127.0.0.1:0", now.Add(24*time.Hour))
	if again != ca || second != first {
		t.Error("what would do was made again")
	}
	again, third := f("disks.example.org:10000", now, "disks.example.org")
	if again != ca || third == first {
		t.Error("want the same authority, and a certificate for the new name")
	}
	again, fourth := f("disks.example.org:10000", now.Add(devLeafFor-devRenew), "disks.example.org")
	if again != ca || fourth == third {
		t.Error("want the same authority, and a certificate in the place of the one that is about to expire")
	}
	f("0.0.0.0:10000", now)
	f("[::1]:10000", now)

	if err := os.WriteFile(filepath.Join(data, devDir, "ca-key.pem"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := makeDevCertificate(data, "127.0.0.1:0", now); err == nil {
		t.Error("an authority without its key was replaced, which nobody would trust")
	}
}
