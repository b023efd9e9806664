package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/spf13/pflag"

	"pagevault/internal/azure/bearer"
	"pagevault/internal/clock"
	"pagevault/server"
)

// oauthFlags say whose bearer tokens are taken.
type oauthFlags struct {
	issuer    string
	audiences []string
	roles     string
	mode      string
	overHTTP  bool
	anywhere  bool

	seen rolesFile
}

func (f *oauthFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.issuer, "oidc-issuer", "", "URL of the OpenID Connect issuer whose bearer tokens are taken; needs --roles")
	flags.StringArrayVar(&f.audiences, "oidc-audience", nil, "whom tokens must be for; may be repeated. Not given: https://storage.azure.com and what else Azure takes")
	flags.StringVar(&f.roles, "roles", "", "file of lines ROLE WHO WHERE, such as: reader group:backup disks/vms")
	flags.StringVar(&f.mode, "oauth", "", "basic: take every bearer token for true without a look at its signature, for tests of clients")
	flags.BoolVar(&f.overHTTP, "oauth-over-http", false, "take bearer tokens over plain http too, as behind a proxy that has the certificate")
	flags.BoolVar(&f.anywhere, "allow-oauth-basic", false, "serve --oauth basic on an address that is not loopback")
}

// on reports whether bearer tokens are taken.
func (f *oauthFlags) on() bool { return f.issuer != "" || f.mode != "" }

// check returns an error for flags that do not go together.
func (f *oauthFlags) check(https bool) error {
	switch {
	case f.mode != "" && f.mode != "basic":
		return usagef("--oauth: %q is not basic", f.mode)
	case f.mode != "" && f.issuer != "":
		return usagef("--oauth basic looks at no signature and does not go with --oidc-issuer")
	case f.anywhere && f.mode == "":
		return usagef("--allow-oauth-basic goes with --oauth basic")
	case !f.on() && (len(f.audiences) > 0 || f.roles != "" || f.overHTTP):
		return usagef("--oidc-audience, --roles and --oauth-over-http go with --oidc-issuer")
	case f.issuer != "" && f.roles == "":
		return usagef("--oidc-issuer: nobody may do anything without --roles FILE")
	case f.on() && !https && !f.overHTTP:
		return usagef("bearer tokens are taken over https: give --tls-cert and --tls-key, or --tls-dev, or --oauth-over-http")
	}
	return nil
}

// warmFor is how long a start waits for the issuer's keys. They may come later, too.
const warmFor = 3 * time.Second

// start puts what the flags say into the options, for a listener at the address.
func (f *oauthFlags) start(o *server.Options, at net.Addr, log *slog.Logger) error {
	if !f.on() {
		return nil
	}
	if f.mode != "" && !loopback(at) && !f.anywhere {
		return usagef("with --oauth basic everybody can be anybody, and %s is not a loopback address: give an --oidc-issuer, or --allow-oauth-basic", at)
	}
	options := bearer.Options{Issuer: f.issuer, Unsigned: f.mode != "", Audiences: f.audiences, Events: bearer.Events{
		KeysRead: func(n int) {
			log.Info("read the keys that bearer tokens are signed with", "issuer", f.issuer, "keys", n)
		},
		KeysFailed: func(err error) { log.Warn("the keys that bearer tokens are signed with cannot be read", "error", err) },
	}}
	if f.roles != "" {
		var err error
		if options.Roles, err = f.seen.read(f.roles); err != nil {
			return err
		}
		if options.Roles.Empty() { // while the server runs that takes everybody's; at the start it is no use
			return usagef("--roles %s: nobody has a role", f.roles)
		}
	}
	authority, err := bearer.New(options)
	if err != nil {
		return &usageError{err}
	}
	if f.mode != "" {
		log.Warn("signatures of bearer tokens are not looked at (--oauth basic): everybody can say to be anybody")
	}
	ctx, cancel := context.WithTimeout(context.Background(), warmFor)
	defer cancel()
	authority.Warm(ctx)
	o.Bearer, o.BearerOverHTTP = authority, f.overHTTP
	return nil
}

// rolesEvery is how often the file of roles is looked at.
const rolesEvery = 5 * time.Second

// rolesFile is what the file of roles was like when it was last read. One goroutine at a time uses it.
type rolesFile struct{ text []byte }

// read reads the file.
func (s *rolesFile) read(name string) (*bearer.Roles, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("--roles: %w", err)
	}
	s.text = text
	roles, err := bearer.ParseRoles(text)
	if err != nil {
		return nil, usagef("--roles %s: %w", name, err)
	}
	return roles, nil
}

// reload has the roles of the file used, if it is not as it was. Those before stay if it makes no sense, or is gone.
func (s *rolesFile) reload(name string, a *bearer.Authority, log *slog.Logger) {
	text, err := os.ReadFile(name)
	if err == nil && bytes.Equal(text, s.text) || err != nil && s.text == nil {
		return
	}
	s.text = text // nil when it cannot be read: that is told once
	roles, err := s.read(name)
	if err != nil {
		log.Error("the new roles are not used, those before are", "error", err)
		return
	}
	a.SetRoles(roles)
	log.Info("the roles are new ones", "file", name)
}

// watch reloads the roles again and again, until stop, which returns when it has ended.
func (f *oauthFlags) watch(a *bearer.Authority, c clock.Clock, log *slog.Logger) (stop func()) {
	if f.roles == "" {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		timer := c.NewTimer(rolesEvery)
		defer timer.Stop()
		for {
			select {
			case <-done:
				return
			case <-timer.C():
			}
			f.seen.reload(f.roles, a, log)
			timer.Reset(rolesEvery)
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// shown says whose tokens are taken.
func (f *oauthFlags) shown() string {
	who := "bearer tokens of " + f.issuer
	if f.mode != "" {
		who = "bearer tokens of anybody, unverified"
	}
	if f.roles == "" {
		return who + "; all of them are owners"
	}
	return who + ", roles of " + f.roles
}

// warnings are what whoever starts the server must know.
func (f *oauthFlags) warnings(https bool) (all []string) {
	if f.mode != "" {
		all = append(all, "--oauth basic: signatures of bearer tokens are not looked at, and everybody who reaches this address can say to be anybody. For tests only")
	}
	if f.overHTTP && !https {
		all = append(all, "bearer tokens are taken over plain http: whoever is on the way can read and use them")
	}
	return all
}
