package cond

import (
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
)

// Sequence are the conditions a page write may put on the blob's sequence number. The zero value has none. All that
// are given must hold.
type Sequence struct {
	le, lt, eq sequenceTerm
}

type sequenceTerm struct {
	given bool
	n     int64
}

// ParseSequence reads x-ms-if-sequence-number-le, -lt and -eq. A negative number is InvalidInput, as the service has
// it; what is no number is InvalidHeaderValue.
func ParseSequence(s *header.Set) (Sequence, error) {
	var q Sequence
	var err error
	if q.le, err = parseTerm(s, header.XMsIfSequenceNumberLE); err != nil {
		return Sequence{}, err
	}
	if q.lt, err = parseTerm(s, header.XMsIfSequenceNumberLT); err != nil {
		return Sequence{}, err
	}
	if q.eq, err = parseTerm(s, header.XMsIfSequenceNumberEQ); err != nil {
		return Sequence{}, err
	}
	return q, nil
}

func parseTerm(s *header.Set, id header.ID) (sequenceTerm, error) {
	if !s.Has(id) {
		return sequenceTerm{}, nil
	}
	n, ok := header.ParseInt64(s.Get(id))
	if !ok {
		return sequenceTerm{}, azerr.BadHeader(id.String(), s.String(id))
	}
	if n < 0 {
		return sequenceTerm{}, azerr.InvalidInput.With("HeaderName", id.String(), "HeaderValue", s.String(id))
	}
	return sequenceTerm{true, n}, nil
}

// Check returns SequenceNumberConditionNotMet unless every condition holds for the blob's current number.
func (q *Sequence) Check(current int64) error {
	if q.le.given && current > q.le.n || q.lt.given && current >= q.lt.n || q.eq.given && current != q.eq.n {
		return azerr.SequenceNumberConditionNotMet
	}
	return nil
}
