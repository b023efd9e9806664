package blobstore

import (
	"context"
	"path/filepath"
	"time"

	"pagevault/pagestore"
)

// ScrubState is how far the reading and comparing of everything that the members of an account hold is.
type ScrubState struct {
	Running    bool       `json:"running"`
	Started    *time.Time `json:"started,omitempty"`    // the run under way, or else the last; nil: there was none
	Finished   *time.Time `json:"finished,omitempty"`   // the last run that has read everything; nil: there was none
	AgeSeconds float64    `json:"ageSeconds,omitempty"` // since Finished
	Bytes      int64      `json:"bytes"`                // that the run under way has read, all members together
	Total      int64      `json:"total"`                // that it will have read; 0: not known yet

	Problems   int `json:"problems"`   // found by the run under way, or else by the last
	Healed     int `json:"healed"`     // files that it has written again or removed
	Unhealable int `json:"unhealable"` // problems that no member that is there can put right
}

// ScrubState tells how far it is.
func (a *Account) ScrubState() ScrubState {
	s := a.store.Log().ScrubStatus()
	out := ScrubState{Running: s.Running, AgeSeconds: s.Age.Seconds(), Bytes: s.Done, Total: s.Total,
		Problems: s.Problems, Healed: s.Healed, Unhealable: s.Unhealable}
	if !s.Started.IsZero() {
		out.Started = &s.Started
	}
	if !s.Finished.IsZero() {
		out.Finished = &s.Finished
	}
	return out
}

// ScrubOptions configures Scrub.
type ScrubOptions struct {
	Rate     int64                // bytes to read in a second, all members together. 0: what repairs may
	Found    func(*ScrubProblem)  // called for each problem before it is healed, from the goroutine that scrubs
	Progress func(*ScrubProgress) // called every few MiB, from the same goroutine
}

// ScrubProblem is something that is not as it should be on a member.
type ScrubProblem struct {
	Account string `json:"account"`
	Member  int    `json:"member,omitempty"`  // from 1; 0: about no member more than another
	File    string `json:"file,omitempty"`    // its path, or the directory's
	Segment uint32 `json:"segment,omitempty"` // 0: not about a segment
	Offset  int64  `json:"offset,omitempty"`  // in the file, where the first byte that is wrong or missing may be
	Text    string `json:"text"`
	Lost    bool   `json:"lost,omitempty"` // no member that is there has the bytes as they were written
}

// ScrubProgress is how far a scrub is.
type ScrubProgress struct {
	Account string `json:"account"`
	Bytes   int64  `json:"bytes"` // read, all members together
	Total   int64  `json:"total"` // to be read in all
}

// ScrubSummary says what came of a scrub of an account.
type ScrubSummary struct {
	Account    string  `json:"account"`
	Complete   bool    `json:"complete"` // false: it was stopped, and the rest is unknown
	Error      string  `json:"error,omitempty"`
	Bytes      int64   `json:"bytes"`
	Seconds    float64 `json:"seconds"`
	Problems   int     `json:"problems"`
	Healed     int     `json:"healed"`            // files that were written again or removed
	Unhealable int     `json:"unhealable"`        // problems that no member that is there can put right
	Healing    int     `json:"healingSegments"`   // that wait to be healed when it ends
	NotRead    []int   `json:"notRead,omitempty"` // members, from 1, that are not current when it ends
}

// ScrubEvent is a line of the answer to a request for a scrub: one of its fields is set.
type ScrubEvent struct {
	Problem  *ScrubProblem  `json:"problem,omitempty"`
	Progress *ScrubProgress `json:"progress,omitempty"`
	Summary  *ScrubSummary  `json:"summary,omitempty"` // the last of an account
	End      bool           `json:"end,omitempty"`     // after the last account; without it the answer was cut off
}

// Scrub reads everything that the current members hold from their disks now, compares it and heals what is not as it should
// be, and returns when that is done. An error says why it could not go on; the summary is of what was done until then.
func (a *Account) Scrub(ctx context.Context, o ScrubOptions) (ScrubSummary, error) {
	s := ScrubSummary{Account: a.name}
	began := a.clock.Now()
	err := a.store.Log().Scrub(ctx, pagestore.ScrubOptions{
		BytesPerSecond: o.Rate,
		Progress: func(done, total int64) {
			s.Bytes = done
			if o.Progress != nil {
				o.Progress(&ScrubProgress{a.name, done, total})
			}
		},
		Report: func(p pagestore.LogProblem) {
			s.Problems++
			if p.Lost {
				s.Unhealable++
			}
			if o.Found != nil {
				o.Found(a.scrubProblem(&p))
			}
		},
	})
	s.Seconds = a.clock.Now().Sub(began).Round(time.Millisecond).Seconds()
	h := a.Health()
	s.Healed, s.Healing = h.Scrub.Healed, h.Healing
	for i := range h.Members {
		if m := &h.Members[i]; m.State != MemberCurrent {
			s.NotRead = append(s.NotRead, m.Number)
		}
	}
	if s.Complete = err == nil; err != nil {
		s.Error = err.Error()
	}
	return s, err
}

func (a *Account) scrubProblem(p *pagestore.LogProblem) *ScrubProblem {
	return &ScrubProblem{Account: a.name, Member: p.Member + 1, File: filepath.Join(p.Dir, p.File), Segment: uint32(p.Segment),
		Offset: p.Offset, Text: p.Reason, Lost: p.Lost}
}
