package testkit

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Membership is what the admin listener tells about the members of one account's log.
type Membership struct {
	Account         string       `json:"account"`
	Writable        bool         `json:"writable"`
	Degraded        bool         `json:"degraded"`
	Error           string       `json:"error"`
	Redundancy      string       `json:"redundancy"`
	UnderReplicated int64        `json:"underReplicatedBytes"`
	Members         []MemberLook `json:"members"`
}

// MemberLook is what it tells about one member.
type MemberLook struct {
	Number   int    `json:"number"` // from 1
	Dir      string `json:"dir"`
	State    string `json:"state"`
	Reason   string `json:"reason"`
	Error    string `json:"error"`
	Have     int64  `json:"haveBytes"`
	Want     int64  `json:"wantBytes"`
	Damaged  int64  `json:"damaged"`
	Repaired int64  `json:"repaired"`
	Hedged   int64  `json:"hedgedReads"`
	Slow     int64  `json:"slowReads"`
}

// StateCurrent is the state of a member that holds all it should.
const StateCurrent = "current"

func (m *MemberLook) String() string {
	text := fmt.Sprintf("member %d %s", m.Number, m.State)
	if m.Reason != "" || m.Error != "" {
		text += fmt.Sprintf(" (%s: %s)", m.Reason, m.Error)
	}
	return text
}

func (m *Membership) String() string {
	var parts []string
	for i := range m.Members {
		parts = append(parts, m.Members[i].String())
	}
	return fmt.Sprintf("writable %v, degraded %v, %d bytes under-replicated, %s %s", m.Writable, m.Degraded, m.UnderReplicated, m.Error, strings.Join(parts, "; "))
}

// Member returns one member by its number, from 1.
func (m *Membership) Member(t testing.TB, number int) *MemberLook {
	t.Helper()
	for i := range m.Members {
		if m.Members[i].Number == number {
			return &m.Members[i]
		}
	}
	t.Fatalf("no member %d: %v", number, m)
	return nil
}

// Members returns what the server tells about the members of the default account's log.
func (s *Server) Members(t testing.TB) *Membership {
	t.Helper()
	var list struct {
		Accounts []*Membership `json:"accounts"`
	}
	body := s.Get(t, "/members")
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Fatalf("GET /members: %v in %s", err, body)
	}
	if len(list.Accounts) != 1 || len(list.Accounts[0].Members) == 0 {
		t.Fatalf("GET /members: want the members of one account, got %s", body)
	}
	return list.Accounts[0]
}

// AwaitMembers returns when what the server tells about the members is so, and fails the test with what it tells if that
// takes longer than the bound.
func (s *Server) AwaitMembers(t testing.TB, bound time.Duration, what string, so func(m *Membership) bool) *Membership {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(bound)
	for {
		m := s.Members(t)
		if so(m) {
			return m
		}
		select {
		case <-tick.C:
		case <-s.run.exited:
			t.Fatalf("the server ended (%v):\n%s", s.run.err, s.Output())
		case <-deadline:
			t.Fatalf("not %s within %v: %v", what, bound, m)
		}
	}
}

// Whole reports whether all members are current and nothing lacks a copy or a shard.
func (m *Membership) Whole() bool {
	for i := range m.Members {
		if m.Members[i].State != StateCurrent {
			return false
		}
	}
	return m.UnderReplicated == 0 && m.Writable && !m.Degraded
}

// Post asks the admin listener for a change; any status but 200 fails the test.
func (s *Server) Post(t testing.TB, path string) string {
	t.Helper()
	resp, err := http.Post(s.AdminURL()+path, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("POST %s: %s, %v\n%s", path, resp.Status, err, body)
	}
	return string(body)
}
