package blobstore

import (
	"encoding/json"
	"fmt"
	"io"
)

// The events of a check, one JSON object to a line:
//
//	{"type":"problem", …}    a Problem, when it is found
//	{"type":"progress", …}   a CheckProgress, now and then
//	{"type":"summary", …}    a CheckSummary, at the end of each account
//	{"type":"end"}           after the last one; without it the stream was cut off
const (
	eventProblem  = "problem"
	eventProgress = "progress"
	eventSummary  = "summary"
	eventEnd      = "end"
)

// CheckEvents takes the events of a check, in their order. A nil function is not called.
type CheckEvents struct {
	Problem  func(*Problem)
	Progress func(CheckProgress)
	Summary  func(*CheckSummary)
}

// WriteCheckEvent writes an event as one line: a *Problem, a CheckProgress, a *CheckSummary, or nil for the end. It
// panics for anything else.
func WriteCheckEvent(w io.Writer, event any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	switch event := event.(type) {
	case *Problem:
		return e.Encode(struct {
			Type string `json:"type"`
			*Problem
		}{eventProblem, event})
	case CheckProgress:
		return e.Encode(struct {
			Type string `json:"type"`
			CheckProgress
		}{eventProgress, event})
	case *CheckSummary:
		return e.Encode(struct {
			Type string `json:"type"`
			*CheckSummary
		}{eventSummary, event})
	case nil:
		return e.Encode(map[string]string{"type": eventEnd})
	}
	panic(fmt.Sprintf("blobstore: %T is no event of a check", event))
}

// ReadCheckEvents hands on the events that r holds, up to the end. Errors: io.ErrUnexpectedEOF if r ends before it, and
// those of reading and of lines that are no events. Events of a kind that is not known are passed over.
func ReadCheckEvents(r io.Reader, to CheckEvents) error {
	d := json.NewDecoder(r)
	for {
		var line json.RawMessage
		if err := d.Decode(&line); err == io.EOF {
			return io.ErrUnexpectedEOF
		} else if err != nil {
			return err
		}
		var head struct{ Type string }
		if err := json.Unmarshal(line, &head); err != nil {
			return err
		}
		if head.Type == eventEnd {
			return nil
		}
		if err := dispatch(head.Type, line, &to); err != nil {
			return fmt.Errorf("event %q: %w", head.Type, err)
		}
	}
}

func dispatch(kind string, line []byte, to *CheckEvents) error {
	switch kind {
	case eventProblem:
		return hand(line, func(p *Problem) {
			if to.Problem != nil {
				to.Problem(p)
			}
		})
	case eventProgress:
		return hand(line, func(p *CheckProgress) {
			if to.Progress != nil {
				to.Progress(*p)
			}
		})
	case eventSummary:
		return hand(line, func(s *CheckSummary) {
			if to.Summary != nil {
				to.Summary(s)
			}
		})
	}
	return nil
}

func hand[T any](line []byte, fn func(*T)) error {
	var event T
	err := json.Unmarshal(line, &event)
	if err == nil {
		fn(&event)
	}
	return err
}
