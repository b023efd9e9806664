package server

import (
	"path/filepath"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"pagevault/blobstore"
)

// memberFigure is one number of each member of an account's log.
type memberFigure struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(m *blobstore.MemberHealth) float64
}

// memberLabels name a member: its number from 1, and the directory above those of the accounts.
var memberLabels = []string{"account", "member", "dir"}

var (
	memberStateDesc = prometheus.NewDesc("pagevault_member_state", "1 for the state the member is in, 0 for the others.",
		append(memberLabels[:len(memberLabels):len(memberLabels)], "state"), nil)
	memberErrorsDesc = prometheus.NewDesc("pagevault_member_errors_total", "Operations on the member's files that failed since the start.",
		append(memberLabels[:len(memberLabels):len(memberLabels)], "kind"), nil)
)

// memberFigures are what is told about each member.
func memberFigures() []memberFigure {
	figure := func(kind prometheus.ValueType, name, help string, read func(m *blobstore.MemberHealth) float64) memberFigure {
		return memberFigure{prometheus.NewDesc("pagevault_member_"+name, help, memberLabels, nil), kind, read}
	}
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	return []memberFigure{
		figure(counter, "written_bytes_total", "Bytes written to the member since the start.", func(m *blobstore.MemberHealth) float64 { return float64(m.BytesWritten) }),
		figure(counter, "damaged_total", "Times since the start that bytes of the member were found wrong.", func(m *blobstore.MemberHealth) float64 { return float64(m.Damaged) }),
		figure(counter, "repaired_total", "Files of the member that were made whole again from others since the start.", func(m *blobstore.MemberHealth) float64 { return float64(m.Repaired) }),
		figure(counter, "slow_reads_total", "Reads of the member since the start that took longer than a healthy disk does.", func(m *blobstore.MemberHealth) float64 { return float64(m.SlowReads) }),
		figure(counter, "hedged_reads_total", "Of these, such as another member was asked for, too.", func(m *blobstore.MemberHealth) float64 { return float64(m.HedgedReads) }),
		figure(gauge, "catchup_have_bytes", "While the member is brought up: bytes it has.", func(m *blobstore.MemberHealth) float64 { return float64(m.Have) }),
		figure(gauge, "catchup_want_bytes", "While the member is brought up: bytes it should have.", func(m *blobstore.MemberHealth) float64 { return float64(m.Want) }),
		figure(gauge, "lag_bytes", "Bytes that the member lacks of what it should hold, as far as they were counted: 0 of one that is out.", func(m *blobstore.MemberHealth) float64 { return float64(m.Lag()) }),
		figure(gauge, "free_bytes", "Room on the member's disk.", func(m *blobstore.MemberHealth) float64 { return float64(m.Free) }),
		figure(gauge, "size_bytes", "Size of the member's disk.", func(m *blobstore.MemberHealth) float64 { return float64(m.Total) }),
	}
}

// collectMembers reports the members of one account.
func (c *stateCollector) collectMembers(ch chan<- prometheus.Metric, a *blobstore.Account) {
	h := a.Health()
	for i := range h.Members {
		m := &h.Members[i]
		labels := []string{a.Name(), strconv.Itoa(m.Number), filepath.Dir(m.Dir)}
		more := func(label string) []string { return append(labels[:len(labels):len(labels)], label) }
		for _, f := range c.members {
			ch <- prometheus.MustNewConstMetric(f.desc, f.kind, f.read(m), labels...)
		}
		for _, state := range blobstore.MemberStates {
			is := 0.0
			if m.State == state {
				is = 1
			}
			ch <- prometheus.MustNewConstMetric(memberStateDesc, prometheus.GaugeValue, is, more(string(state))...)
		}
		ch <- prometheus.MustNewConstMetric(memberErrorsDesc, prometheus.CounterValue, float64(m.ReadErrors), more("read")...)
		ch <- prometheus.MustNewConstMetric(memberErrorsDesc, prometheus.CounterValue, float64(m.WriteErrors), more("write")...)
	}
}
