package blobstore

import (
	"encoding/hex"
	"time"

	"pagevault/pagestore"
)

// Health is how the log of an account is, and its members: what the admin listener tells, and commands show.
type Health struct {
	Account         string         `json:"account"`
	Writable        bool           `json:"writable"`
	Degraded        bool           `json:"degraded"`             // a member is not current, something lacks a copy or a shard, or cannot be healed
	Error           string         `json:"error,omitempty"`      // why it is not writable
	Final           bool           `json:"final,omitempty"`      // it will not be before the server is started again
	MinReplicas     int            `json:"minReplicas"`          // current members that writing needs
	Redundancy      string         `json:"redundancy"`           // of sealed segments: "3", or "rs:K+M"
	UnderReplicated int64          `json:"underReplicatedBytes"` // that lack a copy or a shard
	Survives        int            `json:"survives"`             // how many more members may be lost before something that is stored is; negative: some cannot be read now
	CopyBytes       int64          `json:"copyBytes"`            // of segments that are whole copies, on all members together
	ShardBytes      int64          `json:"shardBytes"`           // of shards, on all members together
	Healing         int            `json:"healingSegments"`      // that wait to be compared and healed
	Unhealable      int            `json:"unhealableSegments"`   // of which something can be had from no member that is there
	Scrub           ScrubState     `json:"scrub"`
	Members         []MemberHealth `json:"members"`
}

// MemberHealth is how one member is. Counts are since the start, bytes those on its disk.
type MemberHealth struct {
	Number int         `json:"number"` // from 1
	Dir    string      `json:"dir"`    // of this account
	Device string      `json:"device"` // members with the same one die together
	ID     string      `json:"id"`     // in hexadecimal digits; "": nobody knows
	State  MemberState `json:"state"`
	Reason string      `json:"reason,omitempty"` // why it is not current; MemberFilling if it is, and gets what is lacking
	Error  string      `json:"error,omitempty"`  // the same in the words of its file system
	Since  *time.Time  `json:"since,omitempty"`  // it is in this state

	Have int64 `json:"haveBytes"` // while it is caught up or filled: what is there of
	Want int64 `json:"wantBytes"` // what it should hold

	BytesWritten int64  `json:"bytesWritten"`
	ReadErrors   int64  `json:"readErrors"`
	WriteErrors  int64  `json:"writeErrors"`
	Damaged      int64  `json:"damaged"`     // reads that found wrong bytes
	Repaired     int64  `json:"repaired"`    // files that were made whole again from others
	SlowReads    int64  `json:"slowReads"`   // that took longer than a healthy disk does
	HedgedReads  int64  `json:"hedgedReads"` // that another member was asked for, too
	Free         uint64 `json:"freeBytes"`
	Total        uint64 `json:"totalBytes"`
}

// Lag returns how many bytes a member lacks of what it should hold. What one that is out lacks nobody has counted: 0.
func (m *MemberHealth) Lag() int64 {
	if m.State == MemberCurrent && !m.Filling() {
		return 0
	}
	return max(0, m.Want-m.Have)
}

// Filling reports whether a member is current and still gets copies or shards that are lacking: no other disk should be changed.
func (m *MemberHealth) Filling() bool {
	return m.State == MemberCurrent && m.Reason == pagestore.MemberFilling
}

// MemberState says whether a member counts.
type MemberState string

const (
	MemberCurrent MemberState = "current" // is written and counts; holds all it should, unless it is Filling
	MemberJoining MemberState = "joining" // written to again, still lacks older files; does not count
	MemberBehind  MemberState = "behind"  // not written to; is caught up in the background as soon as its disk works
	MemberAbsent  MemberState = "absent"  // its directory is not there, is blank or cannot be used
	MemberForeign MemberState = "foreign" // its directory holds another history of the store, which is never merged
)

// MemberStates lists the states, the best first.
var MemberStates = []MemberState{MemberCurrent, MemberJoining, MemberBehind, MemberAbsent, MemberForeign}

// memberStates are the names of the log's states.
var memberStates = map[pagestore.MemberState]MemberState{
	pagestore.MemberCurrent: MemberCurrent, pagestore.MemberJoining: MemberJoining, pagestore.MemberBehind: MemberBehind,
	pagestore.MemberAbsent: MemberAbsent, pagestore.MemberForeign: MemberForeign,
}

// Whole reports whether all members are current, and nothing lacks a copy or a shard or cannot be healed.
func (h *Health) Whole() bool { return !h.Degraded }

// Available returns nil while the account takes writes. The error is coded.
func (a *Account) Available() error {
	if err := a.store.Failed(); err != nil {
		return coded(err)
	}
	return coded(a.store.Log().Available())
}

// Health tells how the log is now.
func (a *Account) Health() Health {
	log := a.store.Log()
	stats := log.Stats()
	h := Health{Account: a.name, Writable: true, MinReplicas: stats.MinReplicas, Redundancy: stats.Redundancy.String(), UnderReplicated: stats.UnderReplicated,
		Survives:  stats.Survives,
		CopyBytes: stats.CopyBytes, ShardBytes: stats.ShardBytes, Healing: stats.Healing, Unhealable: stats.Unhealable, Scrub: a.ScrubState()}
	if err := a.store.Failed(); err != nil {
		h.Writable, h.Final, h.Error = false, true, err.Error()
	} else if err := log.Available(); err != nil {
		h.Writable, h.Error = false, err.Error()
	}
	h.Degraded = !h.Writable || h.UnderReplicated > 0 || h.Unhealable > 0
	for _, m := range log.Members() {
		h.Members = append(h.Members, memberHealth(&m))
		h.Degraded = h.Degraded || m.State != pagestore.MemberCurrent || m.Reason == pagestore.MemberFilling
	}
	return h
}

// Health tells how the logs of all accounts are, in the order of Accounts.
func (s *Service) Health() []Health {
	var all []Health
	for a := range s.Each() {
		all = append(all, a.Health())
	}
	return all
}

func memberHealth(m *pagestore.MemberStatus) MemberHealth {
	h := MemberHealth{
		Number: m.Number + 1, Dir: m.Dir, Device: m.Device, State: memberStates[m.State], Reason: m.Reason,
		Have: m.Have, Want: m.Want, BytesWritten: m.BytesWritten, ReadErrors: m.ReadErrors, WriteErrors: m.WriteErrors,
		Damaged: m.Damaged, Repaired: m.Repaired, SlowReads: m.Slow, HedgedReads: m.Hedged, Free: m.Free, Total: m.Total,
	}
	if m.ID != [16]byte{} {
		h.ID = hex.EncodeToString(m.ID[:])
	}
	if m.Err != nil {
		h.Error = m.Err.Error()
	}
	if !m.Since.IsZero() {
		h.Since = &m.Since
	}
	return h
}
