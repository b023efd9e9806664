package faultproxy

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
)

// Fault is what happens to a request.
type Fault int

const (
	None        Fault = iota
	ResetBefore       // the connection is reset when the request's head has come; the server sees nothing of it
	ResetAfter        // the server carries the request out and replies, then the client's connection is reset instead
	CutRequest        // the server gets a part of the request, then both connections are reset
	CutReply          // the server carries the request out, the client gets a part of the reply
	Delay             // the request waits before the server sees it
	Busy              // the proxy answers 503 ServerBusy; the server sees nothing of it
	faults
)

func (f Fault) String() string {
	names := [...]string{"none", "reset before", "reset after", "cut request", "cut reply", "delay", "busy"}
	if f < 0 || f >= faults {
		return fmt.Sprintf("fault %d", int(f))
	}
	return names[f]
}

// All are the faults there are.
func All() []Fault {
	var all []Fault
	for f := None + 1; f < faults; f++ {
		all = append(all, f)
	}
	return all
}

// Request is what a proxy knows of a request when it chooses.
type Request struct {
	Method, Target string // as in the first line
	Range          string // x-ms-range, or else Range
	Attempt        int    // how often a request like this has come, this one counted
}

// dice are thrown for the request: the same for the same seed and request.
func (r *Request) dice(seed uint64) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %s %s %d", r.Method, r.Target, r.Range, r.Attempt)
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// Some hurts so many of a hundred requests, with each of the faults as often as with the others.
func Some(percent int, of ...Fault) func(*rand.Rand, Request) Fault {
	return func(dice *rand.Rand, _ Request) Fault {
		if dice.IntN(100) >= percent {
			return None
		}
		return of[dice.IntN(len(of))]
	}
}
