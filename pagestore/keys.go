package pagestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/internal/digest"
	framing "pagevault/pagestore/frame"
	"pagevault/pagestore/seal"
	"pagevault/replication"
)

// MasterKey is an operator's secret, which seals the keys of stores. The zero MasterKey is none.
type MasterKey = seal.Key

// ErrWrongKey is returned by Open for a store whose keys are sealed with another master key than the one given, or were
// sealed and none was given. It comes wrapped with the ids of both; nothing was changed.
var ErrWrongKey = seal.ErrWrongKey

// Encrypted reports whether the store seals what it stores.
func (s *Store) Encrypted() bool { return s.session != nil }

// errFound ends a replay that has found what it was looking for.
var errFound = errors.New("found")

// checkKey returns an error if the master key is not that of the store with this log. It is called before the index is
// touched. If the log has dropped its first records, the index or its checkpoint has the header: see takeHeader.
func checkKey(o *Options, log *replication.Log) error {
	if log.LastLSN() == 0 {
		return nil
	}
	err := log.Replay(1, func(r *replication.Record) error {
		g, err := decodeGenesis(r.Meta)
		if err == nil {
			_, err = g.unwrap(&o.MasterKey)
		}
		if err == nil {
			err = errFound
		}
		return err
	})
	if errors.Is(err, errFound) || errors.Is(err, replication.ErrDropped) {
		return nil
	}
	return err
}

// newKeys makes the keys of a new store and puts them into its header.
func (s *Store) newKeys(g *genesis) error {
	var keys seal.Keys
	var nonce [seal.NonceBytes]byte
	for _, p := range [][]byte{keys.Fingerprint[:], keys.Data[:], nonce[:]} {
		if _, err := io.ReadFull(s.o.Rand, p); err != nil {
			return err
		}
	}
	master := s.o.MasterKey
	if s.o.Unencrypted {
		master = MasterKey{}
	}
	g.wrap(&keys, &master, nonce)
	return nil
}

// takeHeader takes over what the genesis record says.
func (s *Store) takeHeader(meta []byte) error {
	g, err := decodeGenesis(meta)
	if err != nil {
		return err
	}
	keys, err := g.unwrap(&s.o.MasterKey)
	if err != nil {
		return err
	}
	s.hasher, s.limits, s.cipher = digest.NewHasher(keys.Fingerprint), g.limits, g.keys.Cipher
	s.ring = seal.NewRing(keys.Data)
	return nil
}

// openSessions takes over the sessions that the index knows, and begins one for what will be sealed from now on. Nothing
// is stored of it until it is first used: see builder.session.
func (s *Store) openSessions(next uint64) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{rowSession}, UpperBound: []byte{rowSession + 1}})
	if err != nil {
		return err
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		salt, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if len(it.Key()) != 1+4 || len(salt) != 32 {
			return fmt.Errorf("%w: session row %x: %x", ErrCorrupt, it.Key(), salt)
		}
		if _, err := s.ring.Session(binary.BigEndian.Uint32(it.Key()[1:]), [32]byte(salt)); err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	if err := it.Error(); err != nil || s.cipher == seal.Plain {
		return err
	}
	if next > math.MaxUint32 {
		return fmt.Errorf("the store has been opened %d times, which is as often as it can be", next)
	}
	var salt [32]byte
	if _, err := io.ReadFull(s.o.Rand, salt[:]); err != nil {
		return err
	}
	s.session, err = s.ring.Session(uint32(next), salt)
	return err
}

// encoder returns what stores content, by method.
func (s *Store) encoder(method framing.Method) framing.Encoder {
	return framing.Encoder{Method: method, Session: s.session}
}
