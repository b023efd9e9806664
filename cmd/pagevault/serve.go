package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pagevault/blobstore"
	"pagevault/internal/clock"
	"pagevault/server"
)

const (
	// shutdownGrace is how long requests may go on after the first signal. Less than what service managers wait.
	shutdownGrace = 20 * time.Second

	// signalTwice is how long after a signal another one is taken for the same.
	signalTwice = 200 * time.Millisecond

	// adminTimeout bounds a request to the admin listener.
	adminTimeout = 10 * time.Second
)

// serveFlags are the flags of serve as given.
type serveFlags struct {
	data        string
	memory      bool
	replicas    []string
	keyFile     string
	encryption  string
	listen      string
	admin       string
	adminNames  []string
	accounts    []string
	allowKnown  bool
	tls         tlsFlags
	maxPageBlob string
	limits      []string
	premium     []string
	versioning  []string
	immutable   []string
	door        doorFlags
	oauth       oauthFlags
	maintenance maintenanceFlags
	replication replicationFlags
	pathOnly    bool
	suffixes    []string
	public      bool
	copySources []string
	logLevel    string
	logFormat   string
	given       func(flag string) bool // whether it is on the command line

	containerDays int // for which deleted containers are kept
}

const serveLong = `Serve the Blob service over HTTP.

Without --account and without AZURITE_ACCOUNTS="name:key[:key2];..." in the environment there is one account,
devstoreaccount1, with the key that every storage emulator has; it is served on loopback addresses only. The accounts that
pagevault account add has made in the data directory are served beside those.

SIGTERM or SIGINT finishes what is under way and exits with 0; a second one exits at once. Whatever was acknowledged is
on disk at any time.`

func newServe() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the Blob service",
		Long:  serveLong,
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.given = cmd.Flags().Changed
			return serve(&f, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.data, "data", "./pagevault-data", "directory of the index, and of the members if no --replica is given")
	flags.BoolVar(&f.memory, "memory", false, "keep everything in memory; nothing survives the process")
	flags.StringArrayVar(&f.replicas, "replica", nil, "directory of a member of the log; three of them or more, on as many disks, in any order")
	flags.StringVar(&f.keyFile, "master-key-file", "", "file of the key that all content is sealed under; made if there is no data yet. Empty: "+masterKeyName+" in --data")
	flags.StringVar(&f.encryption, "encryption", "on", "on, or off: accounts that are new do not encrypt what they store")
	flags.StringVar(&f.listen, "listen", "127.0.0.1:10000", "address of the Blob service; port 0 picks a free one")
	flags.StringVar(&f.admin, "admin", "127.0.0.1:10001", "address of /healthz, /readyz and /metrics, and of what account, member, scrub, compact and check --online ask; port 0 picks a free one, empty is none")
	flags.StringArrayVar(&f.adminNames, "admin-name", nil, "name that the admin listener is reached by, beside addresses, localhost and the host of --admin; may be repeated")
	flags.StringArrayVar(&f.accounts, "account", nil, "NAME:KEY or NAME:KEY:KEY2, keys in base64; may be repeated")
	flags.BoolVar(&f.allowKnown, "allow-well-known-key", false, "serve the emulators' key on an address that is not loopback")
	f.tls.register(flags)
	flags.StringVar(&f.maxPageBlob, "max-page-blob", "1TiB", "largest page blob, up to 8TiB")
	flags.IntVar(&f.containerDays, "container-delete-retention", 0, "keep deleted containers for so many days, to be restored; up to 365")
	flags.StringArrayVar(&f.limits, "limits", nil, "[ACCOUNT=]TOTAL/DATA/METADATA or [ACCOUNT=]vault[/N]: what accounts may hold; may be repeated")
	flags.StringArrayVar(&f.versioning, "versioning", nil, "account in which what is overwritten or deleted stays as a version of its blob; may be repeated")
	flags.StringArrayVar(&f.premium, "premium", nil, "account of premium storage: its page blobs have tiers; may be repeated")
	flags.StringArrayVar(&f.immutable, "immutable-storage", nil, "ACCOUNT or ACCOUNT/CONTAINER: where policies and legal holds can protect blobs from everybody; may be repeated")
	f.door.register(flags)
	f.oauth.register(flags)
	f.maintenance.register(flags)
	f.replication.register(flags)
	flags.BoolVar(&f.pathOnly, "path-style-only", false, "never read the account from the host name, only from the path")
	flags.StringArrayVar(&f.suffixes, "host-suffix", nil, "NAME: read ACCOUNT.NAME as the address of an account, whatever NAME is; may be repeated. ACCOUNT.blob.anything is one without it")
	flags.BoolVar(&f.public, "allow-public-access", false, "let containers be made public, to be read without credentials")
	flags.StringArrayVar(&f.copySources, "copy-source-allow", nil, "NETWORK, ADDRESS or HOST: copies may be made from there although it is not on the public internet; may be repeated")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug (a line for each request), info, warn or error")
	flags.StringVar(&f.logFormat, "log-format", "text", "text or json")
	return cmd
}

// serve runs until it is told to stop, or cannot start.
func serve(f *serveFlags, stdout, stderr io.Writer) (err error) {
	plan, err := f.plan(stderr)
	if err != nil {
		return err
	}
	tuneMemory(f.memory)
	tuneProcs()
	warnFiles(plan.log, plan.server.MaxConns)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)

	// Ports first: that one is taken is known before a long recovery, not after it.
	blob, err := listen("--listen", f.listen)
	if err != nil {
		return err
	}
	defer blob.Close()
	if name := usesWellKnownKey(plan.accounts); name != "" && !loopback(blob.Addr()) && !f.allowKnown {
		err := usagef("everybody knows the key of account %s, and %s is not a loopback address: give an --account of your own, or --allow-well-known-key", name, f.listen)
		if plan.source != sourceDefault || f.memory || !exists(filepath.Join(f.data, accountsName)) {
			return err
		}
		plan.needOthers = err // the file may have accounts
	}
	var admin net.Listener
	if err := f.oauth.start(&plan.server, blob.Addr(), plan.log); err != nil {
		return err
	}
	if plan.server.Bearer != nil {
		defer plan.server.Bearer.Close()
		defer f.oauth.watch(plan.server.Bearer, clock.System, plan.log)()
	}
	if f.admin != "" {
		if admin, err = listen("--admin", f.admin); err != nil {
			return err
		}
		defer admin.Close()
	}
	if f.door.audit != "" {
		audit, err := openAudit(f.door.audit)
		if err != nil {
			return fmt.Errorf("--audit-log: %w", err)
		}
		defer audit.Close()
		defer audit.reopenOnHangUp(plan.log)()
		plan.server.Audit = audit
	}
	home, err := plan.home()
	if err != nil {
		return err
	}
	alarm := newAlarm(plan.log, clock.System, commandFor(admin))
	service, key, book, err := openService(plan, home, alarm)
	if err != nil {
		return err
	}
	defer func() {
		if !errors.Is(err, server.ErrStuck) { // closing what is in use is worse than leaving it to be recovered
			err = errors.Join(err, service.Close())
		}
	}()
	var config *tls.Config
	certs, err := plan.startTLS(home)
	if err != nil {
		return err
	}
	if certs != nil {
		config = certs.config()
		defer certs.watch()()
	}
	o := plan.server
	o.Service, o.Log, o.Product, o.TLS, o.NoHostStyle = service, plan.log, "Pagevault/"+version, config, f.pathOnly
	o.MemberDir, o.MemberMoved = home.moveMember, home.memberMoved
	o.Accounts, o.AdminNames = book, f.adminHosts()
	srv, err := server.New(o)
	if err != nil {
		return err
	}
	printBanner(stdout, &banner{plan: plan, home: home, key: key, service: service, blob: blob.Addr(), admin: admin})
	alarm.start(service.Health)
	defer alarm.stop() // before the service is closed
	return runUntil(signals, srv, blob, admin, plan.log)
}

// plan is what the flags come to, checked as far as that needs no ports and no disks.
type plan struct {
	flags       *serveFlags
	accounts    []blobstore.AccountOptions
	source      string // of the accounts: sourceFlag, sourceEnvironment or sourceDefault
	needOthers  error  // why the default account is not served, and without others nothing is; nil: it may be
	maxPageBlob int64
	server      server.Options // what the flags say of it
	devCA       string         // file of the authority behind the development certificate, once there is one
	log         *slog.Logger
}

func (f *serveFlags) plan(stderr io.Writer) (*plan, error) {
	p := &plan{flags: f}
	var err error
	switch {
	case f.memory && (f.given("data") || f.given("replica")):
		return nil, usagef("--memory goes with neither --data nor --replica")
	case f.data == "":
		return nil, usagef("--data is empty")
	case f.memory && f.keyFile != "":
		return nil, usagef("--memory has a key of its own: it does not go with --master-key-file")
	case f.encryption != "on" && f.encryption != "off":
		return nil, usagef("--encryption: %q is not on or off", f.encryption)
	}
	if err := f.tls.check(f.memory); err != nil {
		return nil, err
	}
	if err := f.oauth.check(f.tls.on()); err != nil {
		return nil, err
	}
	if p.log, err = newLog(f.logLevel, f.logFormat, stderr); err != nil {
		return nil, err
	}
	if p.maxPageBlob, err = parseSize(f.maxPageBlob); err != nil {
		return nil, usagef("--max-page-blob: %w", err)
	}
	if p.maxPageBlob > 8<<40 || p.maxPageBlob%blobstore.PageSize != 0 {
		return nil, usagef("--max-page-blob: %s is not a multiple of %d up to 8TiB", f.maxPageBlob, blobstore.PageSize)
	}
	if f.containerDays < 0 || f.containerDays > 365 {
		return nil, usagef("--container-delete-retention: %d is not a number of days up to 365", f.containerDays)
	}
	if err := f.maintenance.parse(); err != nil {
		return nil, err
	}
	if err := f.replication.parse(f.members(), f.given); err != nil {
		return nil, err
	}
	environment := os.Getenv(accountsVariable)
	if p.accounts, err = parseAccounts(f.accounts, environment); err != nil {
		return nil, &usageError{err}
	}
	p.source = sourceOf(f.accounts, environment)
	if err := setLimits(p.accounts, f.limits); err != nil {
		return nil, usagef("--limits: %w", err)
	}
	if err := setKinds(p.accounts, f.premium, f.versioning, f.immutable); err != nil {
		return nil, err
	}
	if err := f.door.set(&p.server, p.accounts); err != nil {
		return nil, err
	}
	p.server.AllowPublicAccess = f.public
	if p.server.HostSuffixes, err = f.hostSuffixes(); err != nil {
		return nil, err
	}
	if err := server.CheckCopySources(f.copySources); err != nil {
		return nil, usagef("--copy-source-allow: %w", err)
	}
	p.server.CopySourceAllow = f.copySources
	if len(f.accounts) > 0 && environment != "" {
		p.log.Info("--account is given: " + accountsVariable + " in the environment does not count")
	}
	if err := errors.Join(checkAddress("--listen", f.listen), checkAddress("--admin", f.admin)); err != nil {
		return nil, err
	}
	if err := f.tls.readable(); err != nil {
		return nil, err
	}
	return p, nil
}

// members returns how many members the logs are to have.
func (f *serveFlags) members() int {
	switch {
	case f.memory:
		return 1
	case len(f.replicas) > 0:
		return len(f.replicas)
	}
	return defaultMembers
}

// commandFor returns what to type to have the server of an admin listener, nil if it has none, do something.
func commandFor(admin net.Listener) func(args ...string) string {
	return func(args ...string) string {
		text := "pagevault " + strings.Join(args, " ")
		if admin == nil {
			return text + " (it is started without --admin, which that needs)"
		}
		if at := "http://" + shownHost(admin.Addr()); at != defaultAdmin {
			text += " --admin " + at
		}
		return text
	}
}

// home finds the place where the stores live.
func (p *plan) home() (*layout, error) {
	if p.flags.memory {
		return memoryLayout(), nil
	}
	return diskLayout(p.flags.data, p.flags.replicas)
}

// newLog returns the logger, which writes to stderr.
func newLog(level, format string, stderr io.Writer) (*slog.Logger, error) {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	l, ok := levels[level]
	if !ok {
		return nil, usagef("--log-level: %q is not debug, info, warn or error", level)
	}
	o := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(stderr, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(stderr, o)), nil
	}
	return nil, usagef("--log-format: %q is not text or json", format)
}

// checkAddress returns an error if an address makes no sense. Whether it can be had shows when it is opened.
func checkAddress(flag, address string) error {
	if address == "" && flag == "--admin" {
		return nil
	}
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	var ae *net.AddrError
	if errors.As(err, &ae) {
		err = errors.New(ae.Err)
	}
	var de *net.DNSError
	if errors.As(err, &de) {
		err = errors.New(de.Err)
	}
	if err != nil {
		return usagef("%s %s: %w: want HOST:PORT", flag, address, err)
	}
	return nil
}

// listen opens a port.
func listen(flag, address string) (net.Listener, error) {
	ln, err := net.Listen("tcp", address)
	if err == nil {
		return ln, nil
	}
	var oe *net.OpError
	if errors.As(err, &oe) {
		err = oe.Err
	}
	var se *os.SyscallError
	if errors.As(err, &se) {
		err = se.Err
	}
	return nil, fmt.Errorf("%s %s: %w", flag, address, err)
}

// loopback reports whether only this machine reaches the address.
func loopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// runUntil serves until a signal comes or a listener fails, then brings what is under way to an end.
func runUntil(signals <-chan os.Signal, srv *server.Server, blob, admin net.Listener, log *slog.Logger) error {
	failed := make(chan error, 2)
	go func() { failed <- srv.Serve(blob) }()
	if admin != nil {
		side := &http.Server{Handler: srv.Admin(), ReadTimeout: adminTimeout, WriteTimeout: adminTimeout,
			ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
		go func() {
			if err := side.Serve(admin); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("admin listener: %w", err)
			}
		}()
		defer side.Close()
	}
	var err error
	select {
	case s := <-signals:
		log.Info("stopping", "signal", s.String())
	case err = <-failed:
	}
	go exitOnSecond(signals, log)
	ctx, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	switch e := srv.Shutdown(ctx); {
	case errors.Is(e, server.ErrStuck):
		return errors.Join(err, e)
	case e != nil:
		log.Warn("requests were cut off", "after", shutdownGrace)
	}
	return err
}

// exitOnSecond ends the process when a second signal comes. timeout(1) and shells send the first one twice, to the
// process and to its group, so what comes right behind it does not count.
func exitOnSecond(signals <-chan os.Signal, log *slog.Logger) {
	first := clock.System.Now()
	for s := range signals {
		if clock.System.Now().Sub(first) > signalTwice {
			log.Warn("stopping at once", "signal", s.String())
			os.Exit(exitFailure)
		}
	}
}

// scheme returns the scheme of the blob service's URL.
func (p *plan) scheme() string {
	if p.flags.tls.on() {
		return "https"
	}
	return "http"
}
