package main

import (
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// auditFile is the file of the audit log. Lines are appended, each with one write; they are not synced, so the last ones
// may be lost with the machine, not with the process. It is safe for concurrent use.
type auditFile struct {
	name string

	mu struct {
		sync.Mutex
		file *os.File
		torn bool // what is at the end of the file is not a whole line
	}
}

func openAudit(name string) (*auditFile, error) {
	a := &auditFile{name: name}
	return a, a.Reopen()
}

// Write appends a line. The lock is held over it so that lines do not mix.
func (a *auditFile) Write(line []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := a.mu.file.Write(line)
	a.mu.torn = err != nil && (n > 0 || a.mu.torn)
	return n, err
}

// Reopen opens the file by its name, for when it was renamed. If that fails the one before goes on to be used.
func (a *auditFile) Reopen() error {
	file, err := os.OpenFile(a.name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.file != nil {
		a.mu.file.Close() // what was written to it is with the kernel
	}
	a.mu.file, a.mu.torn = file, false
	return nil
}

// Close ends the log.
func (a *auditFile) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.mu.file.Close()
}

// reopenOnHangUp reopens the file at every SIGHUP, until stop, which returns when that has ended.
func (a *auditFile) reopenOnHangUp(log *slog.Logger) (stop func()) {
	signals, ended := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGHUP)
	go func() {
		defer close(ended)
		for range signals {
			if err := a.Reopen(); err != nil {
				log.Error("the audit log is not opened again, the file before is written", "error", err)
			} else {
				log.Info("opened the audit log again", "file", a.name)
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-ended
	}
}
