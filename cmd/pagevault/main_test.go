package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"pagevault": main})
}

// patience bounds every wait for a process.
const patience = 30 * time.Second

// TestScript runs testdata/script. Beside the commands of testscript there are:
//
//	server NAME [args]   starts pagevault serve with these arguments and free ports, waits until it serves, and sets
//	                     $NAME_url, $NAME_admin, $NAME_port; what it prints goes to the files NAME.out and NAME.err
//	end NAME [SIGNAL]    sends it the signal, TERM if none, and waits; it must end with status 0 (KILL: by the signal)
//	hangup NAME          sends it SIGHUP
//	await FILE TEXT      waits until the text is in the file
//	busy VARIABLE        takes a port for the length of the script
//	get URL              GETs it; status and body are stdout; with ! anything but 200 is expected
//	failure ARGS         runs pagevault, which must end with 1 and one line on stderr
//	usage ARGS           runs pagevault, which must end with 2 and one line on stderr
//	certificate C K      makes a certificate for 127.0.0.1 and its key
//
// and those of checkCommands, memberCommands and accountCommands.
func TestScript(t *testing.T) {
	commands := map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"server": startServer, "end": stopServer, "hangup": hangUp, "await": awaitText, "busy": takePort, "get": get, "certificate": makeCertificate,
		"failure": expectExit(exitFailure), "usage": expectExit(exitUsage),
	}
	maps.Copy(commands, checkCommands)
	maps.Copy(commands, memberCommands)
	maps.Copy(commands, accountCommands)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("AZURITE_ACCOUNTS", "")
			env.Values[processesKey{}] = map[string]*process{}
			env.Values[loadsKey{}] = map[string]*load{}
			return nil
		},
		Cmds: commands,
	})
}

// expectExit returns the command that runs pagevault in this process's image and checks how it ends.
func expectExit(code int) func(ts *testscript.TestScript, neg bool, args []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		err := ts.Exec("pagevault", args...)
		var exit *exec.ExitError
		if neg || !errors.As(err, &exit) || exit.ExitCode() != code {
			ts.Fatalf("pagevault %v: %v, want exit code %d", args, err, code)
		}
		said := ts.ReadFile("stderr")
		if strings.Count(said, "\n") != 1 || !strings.HasPrefix(said, "pagevault: ") {
			ts.Fatalf("pagevault %v: want one line of error, got %q", args, said)
		}
	}
}

type processesKey struct{}

// process is a server that a script has started.
type process struct {
	cmd      *exec.Cmd
	out, err *os.File
	exited   chan struct{}
	failed   error // of Wait
}

func processes(ts *testscript.TestScript) map[string]*process {
	return ts.Value(processesKey{}).(map[string]*process)
}

var (
	urlLine   = regexp.MustCompile(`(?m)^ +address +(\S+)$`)
	adminLine = regexp.MustCompile(`(?m)^ +admin +(\S+)`)
)

func startServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: server NAME [args]")
	}
	name := args[0]
	line := append([]string{"serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, args[1:]...)
	self, err := os.Executable()
	ts.Check(err)
	p := &process{cmd: exec.Command(self, line...), exited: make(chan struct{})}
	p.cmd.Args[0] = "pagevault" // by which testscript.Main knows what to be
	p.cmd.Dir = ts.MkAbs(".")
	p.cmd.Env = append(os.Environ(), "AZURITE_ACCOUNTS="+ts.Getenv("AZURITE_ACCOUNTS"))
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.out, err = os.Create(ts.MkAbs(name + ".out"))
	ts.Check(err)
	p.err, err = os.Create(ts.MkAbs(name + ".err"))
	ts.Check(err)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.err
	ts.Check(p.cmd.Start())
	go func() {
		p.failed = p.cmd.Wait()
		close(p.exited)
	}()
	processes(ts)[name] = p
	ts.Defer(func() {
		p.cmd.Process.Kill()
		<-p.exited
		p.out.Close()
		p.err.Close()
	})
	out := p.await(ts, name, func(out string) bool { return strings.HasSuffix(out, "\n\n") && urlLine.MatchString(out) })
	url := urlLine.FindStringSubmatch(out)[1]
	ts.Setenv(name+"_url", url)
	_, rest, _ := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, "/")
	_, port, err := net.SplitHostPort(host)
	ts.Check(err)
	ts.Setenv(name+"_port", port)
	if m := adminLine.FindStringSubmatch(out); m != nil {
		ts.Setenv(name+"_admin", m[1])
	}
}

// await waits until what the process has printed is as wanted, and returns it.
func (p *process) await(ts *testscript.TestScript, name string, ok func(out string) bool) string {
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		out := ts.ReadFile(name + ".out")
		if ok(out) {
			return out
		}
		select {
		case <-tick.C:
		case <-p.exited:
			ts.Fatalf("server %s ended: %v\n%s%s", name, p.failed, ts.ReadFile(name+".out"), ts.ReadFile(name+".err"))
		case <-deadline:
			ts.Fatalf("server %s did not start within %v\n%s", name, patience, out)
		}
	}
}

func stopServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: end NAME [SIGNAL]")
	}
	p := processes(ts)[args[0]]
	sig := syscall.SIGTERM
	if len(args) == 2 {
		sig = map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL}[args[1]]
	}
	ts.Check(p.cmd.Process.Signal(sig))
	select {
	case <-p.exited:
	case <-time.After(patience):
		ts.Fatalf("server %s did not end within %v of %v", args[0], patience, sig)
	}
	if (p.failed != nil) != (sig == syscall.SIGKILL) {
		ts.Fatalf("server %s ended with %v after %v\n%s", args[0], p.failed, sig, ts.ReadFile(args[0]+".err"))
	}
}

func hangUp(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hangup NAME")
	}
	ts.Check(processes(ts)[args[0]].cmd.Process.Signal(syscall.SIGHUP))
}

func awaitText(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await FILE TEXT")
	}
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && strings.Contains(string(text), args[1]) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("waited %v in vain for %q in %s: %v\n%s", patience, args[1], args[0], err, text)
		}
	}
}

func takePort(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: busy VARIABLE")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { ln.Close() })
	ts.Setenv(args[0], ln.Addr().String())
}

func get(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] get URL")
	}
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // the script has just made the certificate itself
	resp, err := client.Get(args[0])
	if err != nil {
		if !neg {
			ts.Fatalf("%v", err)
		}
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if (resp.StatusCode != 200) != neg {
		ts.Fatalf("GET %s: %s\n%s", args[0], resp.Status, body)
	}
	fmt.Fprintf(ts.Stdout(), "%s\n%s", resp.Status, body)
}

func makeCertificate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: certificate CERTFILE KEYFILE")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "127.0.0.1"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	ts.Check(err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	write := func(name, kind string, der []byte) {
		var b bytes.Buffer
		ts.Check(pem.Encode(&b, &pem.Block{Type: kind, Bytes: der}))
		ts.Check(os.WriteFile(ts.MkAbs(name), b.Bytes(), 0o600))
	}
	write(args[0], "CERTIFICATE", cert)
	write(args[1], "PRIVATE KEY", pkcs8)
}

func TestEnumerate(t *testing.T) {
	f := func(want string, ns ...int) {
		t.Helper()
		if got := enumerate(ns); got != want {
			t.Errorf("%v: got %q, want %q", ns, got, want)
		}
	}
	f("")
	f("1", 1)
	f("1 and 2", 1, 2)
	f("1, 2 and 3", 1, 2, 3)
}

func TestParseSize(t *testing.T) {
	f := func(text string, want int64) {
		t.Helper()
		got, err := parseSize(text)
		if got != want || (err != nil) != (want == 0) {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
	f("512", 512)
	f("1KiB", 1<<10)
	f("3MiB", 3<<20)
	f("1GiB", 1<<30)
	f("8TiB", 8<<40)
	f("2kB", 2e3)
	f("850GB", 850e9)
	f("1TB", 1e12)
	for _, bad := range []string{"", "0", "-1", "1 TiB", "1KB", "1tb", "99999999TB", "TiB", "TB", "1.5TiB", "1TiBs", "99999999TiB", "9999999999999999999", "0x10"} {
		f(bad, 0)
	}
}
