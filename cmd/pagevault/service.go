package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"pagevault/blobstore"
	"pagevault/internal/clock"
	"pagevault/pagestore"
	"pagevault/replication"
)

// openService finds the master key and the accounts that were added before, opens the stores of all accounts and has their
// events logged.
func openService(p *plan, home *layout, alarm *alarm) (*blobstore.Service, *masterKey, *accountBook, error) {
	if err := home.checkStores(p.accounts); err != nil {
		return nil, nil, nil, err
	}
	key, err := findMasterKey(p.flags.keyFile, p.flags.encryption == "on", home)
	if err != nil {
		return nil, nil, nil, err
	}
	book, err := openAccountBook(p, home, key)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := home.checkStores(p.accounts); err != nil {
		return nil, nil, nil, err
	}
	service, err := openStores(p, home, key, alarm)
	if errors.Is(err, pagestore.ErrWrongKey) {
		err = fmt.Errorf("%w (the master key is looked for in %s)", err, key.file)
	}
	book.service = service
	return service, key, book, err
}

// checkStores looks at all accounts before the first one is made: disks that are not mounted are so for all.
func (l *layout) checkStores(accounts []blobstore.AccountOptions) error {
	for _, a := range accounts {
		if err := l.checkStore(a.Name); err != nil {
			return err
		}
	}
	return nil
}

func (l *layout) checkStore(account string) error {
	err := pagestore.CheckMembers(l.store(account))
	if err == nil {
		err = l.checkNew(account)
	}
	if err != nil {
		return fmt.Errorf("account %s: %w", account, err)
	}
	return nil
}

// openStores opens the stores of all accounts.
func openStores(p *plan, home *layout, key *masterKey, alarm *alarm) (*blobstore.Service, error) {
	return blobstore.Open(blobstore.Options{
		MaxPageBlob:   p.maxPageBlob,
		ContainerDays: p.flags.containerDays,
		Accounts:      p.accounts,
		Store: func(account string) (pagestore.Options, error) {
			o := home.store(account)
			o.MasterKey, o.Unencrypted = key.key, key.unencrypted
			p.flags.maintenance.set(&o, p.flags.given("segment-size"))
			p.flags.replication.set(&o)
			log := p.log.With("account", account)
			few := &throttle{clock: clock.System}
			o.Events = &pagestore.Events{
				DamagedCopy: func(member int, at replication.Position, n int, err error) {
					few.warn(log, "a copy is damaged", "member", member+1, "segment", at.Segment, "offset", at.Offset, "bytes", n, "error", err)
				},
				Failed: func(err error) { log.Error("the store takes no more writes until it is started again", "error", err) },
				IndexRebuilt: func(r pagestore.RebuildResult) {
					log.Warn("made the index anew", "reason", r.Reason, "checkpoint", r.Checkpoint, "replayed", r.Replayed)
				},
				ReapFailed: func(err error) { log.Error("what was dropped stays", "error", err) },
				Compacted: func(id replication.SegmentID, moved, freed int, bytes int64) {
					log.Info("rewrote a segment", "segment", id, "moved", moved, "freed", freed, "bytes", bytes)
				},
				MaintenanceFailed: func(err error) { log.Error("space is not given back", "error", err) },
				Mismatch: func(at replication.LSN, what string) {
					log.Error("counts of what refers to stored blocks are wrong; nothing is freed any more", "record", at, "what", what)
				},
				SummaryLost: func(err error) { log.Warn("the file of fingerprints", "error", err) },
				Replayed:    func(from, to replication.LSN) { log.Info("replayed the log", "from", from, "to", to) },
			}
			o.Log.Events = logEvents(log, few, alarm, o.Members)
			return o, nil
		},
		Events: &blobstore.Events{
			Reaped: func(account string, r blobstore.Reaped) {
				p.log.Debug("removed the blobs of a deleted container", "account", account, "what", fmt.Sprintf("%+v", r))
			},
			Expired: func(account string, n int) {
				p.log.Debug("removed what was deleted and kept", "account", account, "rows", n)
			},
			ReapFailed: func(account string, err error) {
				p.log.Error("what is deleted stays", "account", account, "error", err)
			},
			VersioningOff: func(account string) {
				p.log.Warn("the account has had versioning and is started without it: what is overwritten or deleted is lost; --versioning "+account+" keeps it",
					"account", account)
			},
		},
	})
}

// logEvents has what happens to a log told. What the state of its members means the alarm says, once for all accounts.
func logEvents(log *slog.Logger, few *throttle, alarm *alarm, members []replication.Member) *replication.Events {
	return &replication.Events{
		Recovered: func(r replication.Recovery) { logRecovery(log, r, members) },
		Failed:    func(err error) { log.Error("the log takes no more writes", "error", err) },
		ReadFailed: func(member int, at replication.Position, err error) {
			few.warn(log, "a member could not be read", "member", member+1, "segment", at.Segment, "offset", at.Offset, "error", err)
		},
		MemberState: func(c replication.MemberChange) {
			log.Debug("a member has changed", "member", c.Number+1, "dir", c.Dir, "from", c.From, "to", c.To, "reason", c.Reason, "error", c.Err)
			alarm.kick()
		},
		Halted:  func(err error) { log.Debug("writes are refused", "error", err); alarm.kick() },
		Resumed: func() { log.Debug("writes go on"); alarm.kick() },
		Healed: func(r replication.Repair) {
			few.warn(log, "made a damaged file whole again from other members", "member", r.Member+1, "segment", r.Segment, "file", r.File, "bytes", r.Bytes, "found", r.Reason)
		},
		Unhealable: func(p replication.Problem) { alarm.unhealable(log, &p) },
		Scrubbed:   func(r replication.ScrubResult) { alarm.scrubbed(log, &r) },
	}
}

// logRecovery says what opening a log found and did. Copies that had to be completed are worth a look at the disk: after a
// crash they may lack the last records, at other times something has taken bytes away.
func logRecovery(log *slog.Logger, r replication.Recovery, members []replication.Member) {
	if r.Created {
		log.Info("made a new log", "members", len(members))
	}
	for _, c := range r.Repaired {
		what, at := "repaired a segment from the other members", []any{"member", c.Member + 1, "segment", c.Segment}
		if c.Segment == 0 {
			what, at = "made a file of a member again", append(at[:2], "file", c.File)
		}
		log.Warn(what, append(at, "dir", members[c.Member].Dir, "bytes", c.Bytes, "found", c.Reason)...)
	}
	if r.Sealed > 0 || r.Removed > 0 || r.Dropped > 0 || r.CutBytes > 0 {
		log.Info("completed what a crash had left of the log", "sealed", r.Sealed, "removed", r.Removed,
			"dropped", r.Dropped, "cut_bytes", r.CutBytes, "last", r.Last)
	}
}

// gcPercent is how much the heap grows before it is collected, in percent of what is in use. That is mostly buffers of bodies,
// which hold no pointers: collecting somewhat earlier than at Go's 100 takes 100 MiB less and no time that could be measured.
const gcPercent = 75

// tuneMemory sets the garbage collector where the environment does not. The limit is a backstop: buffers and caches are
// bounded, so the heap stays far below it unless everything is kept in memory; then garbage is worth collecting even earlier,
// since live data is most of the heap.
func tuneMemory(memory bool) {
	if os.Getenv("GOMEMLIMIT") == "" {
		if total, err := availableMemory(); err == nil {
			debug.SetMemoryLimit(total / 10 * 9)
		}
	}
	if os.Getenv("GOGC") == "" {
		percent := gcPercent
		if memory {
			percent = 50
		}
		debug.SetGCPercent(percent)
	}
}

// leastProcs is how many goroutines may run at a time, also where there are fewer processors: in a sync, as the three members of
// an account are for most of the time while it is written, a goroutine keeps its place until the runtime notices.
const leastProcs = 4

// tuneProcs sets the number of goroutines that run at a time, where neither the environment nor a quota of a control group does:
// more of them would only use up such a quota sooner.
func tuneProcs() {
	if os.Getenv("GOMAXPROCS") == "" && runtime.NumCPU() < leastProcs && runtime.GOMAXPROCS(0) == runtime.NumCPU() {
		runtime.GOMAXPROCS(leastProcs)
	}
}

// availableMemory returns the bytes this process may use: those of its control group, or of the machine.
func availableMemory() (int64, error) {
	if text, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil {
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
			return n, nil
		}
	}
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("/proc/meminfo has no MemTotal")
}
