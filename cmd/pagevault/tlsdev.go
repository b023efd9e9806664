package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	// devDir is the folder of the development certificate, in the data directory.
	devDir = "tls-dev"

	devCAFor   = 10 * 365 * 24 * time.Hour
	devLeafFor = 397 * 24 * time.Hour // the longest that Apple's clients take
	devRenew   = 60 * 24 * time.Hour  // a start with less left makes a new one
)

// devFiles are the files of a development certificate.
type devFiles struct{ ca, caKey, cert, key string }

// makeDevCertificate returns the certificate for the address, made below the data directory if there is none that will
// do. The authority that signs it is made once and stays: it is what developers trust.
func makeDevCertificate(data, listen string, now time.Time) (*devFiles, error) {
	dir, err := filepath.Abs(filepath.Join(data, devDir))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f := &devFiles{filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca-key.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	ca, caKey, err := readPair(f.ca, f.caKey)
	if errors.Is(err, fs.ErrNotExist) {
		template := &x509.Certificate{Subject: pkix.Name{CommonName: "Pagevault development " + now.Format(time.DateOnly)},
			NotAfter: now.Add(devCAFor), KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true}
		ca, caKey, err = makePair(f.ca, f.caKey, template, nil, nil, now)
	}
	if err != nil {
		return nil, err
	}
	names, ips, err := devNames(listen)
	if err != nil {
		return nil, err
	}
	leaf, _, err := readPair(f.cert, f.key)
	if err == nil && leaf.CheckSignatureFrom(ca) == nil && leaf.NotAfter.Sub(now) > devRenew && covers(leaf, names, ips) {
		return f, nil
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "Pagevault development"}, NotAfter: now.Add(devLeafFor), DNSNames: names,
		IPAddresses: ips, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	_, _, err = makePair(f.cert, f.key, template, ca, caKey, now)
	return f, err
}

// devNames returns what clients may call a server at the address.
func devNames(listen string) (names []string, ips []net.IP, err error) {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, nil, err
	}
	names = []string{"localhost", "*.localhost", "*.blob.localhost"}
	ips = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	switch ip := net.ParseIP(host); {
	case host == "" || ip != nil && ip.IsUnspecified():
		if own, err := os.Hostname(); err == nil && own != "" {
			names = append(names, own)
		}
		addrs, err := net.InterfaceAddrs()
		if err != nil {
			return nil, nil, err
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				ips = append(ips, n.IP)
			}
		}
	case ip != nil:
		ips = append(ips, ip)
	default:
		names = append(names, host)
	}
	return names, ips, nil
}

// covers reports whether the certificate is good for all the names and addresses.
func covers(cert *x509.Certificate, names []string, ips []net.IP) bool {
	for _, name := range names {
		if !slices.Contains(cert.DNSNames, name) {
			return false
		}
	}
	for _, ip := range ips {
		if !slices.ContainsFunc(cert.IPAddresses, ip.Equal) {
			return false
		}
	}
	return true
}

// readPair reads a certificate and its key.
func readPair(certFile, keyFile string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	der, err := readPEM(certFile)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", certFile, err)
	}
	if der, err = readPEM(keyFile); err != nil {
		return nil, nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", keyFile, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, nil, fmt.Errorf("%s is not the key of %s", keyFile, certFile)
	}
	return cert, key, nil
}

func readPEM(file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s: there is no PEM in it", file)
	}
	return block.Bytes, nil
}

// makePair makes a key and a certificate as in the template, signed by the authority, or by itself if that is nil.
func makePair(certFile, keyFile string, template, ca *x509.Certificate, caKey *ecdsa.PrivateKey, now time.Time) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, nil, err
	}
	template.NotBefore = now.Add(-time.Hour) // clocks differ
	if ca == nil {
		ca, caKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, &key.PublicKey, caKey)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	// The key first: an authority without its key would be in the way for good, a key alone is written over.
	if err := replaceFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600); err != nil {
		return nil, nil, err
	}
	if err := replaceFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return cert, key, err
}

// replaceFile puts a file in the place of what has its name, whole or not at all.
func replaceFile(name string, content []byte, mode fs.FileMode) error {
	fresh := name + ".new"
	file, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(fresh, name)
}
