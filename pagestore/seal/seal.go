// Package seal encrypts what a store keeps, and keeps the store's keys. It is pure: no I/O, no clock; random bytes are
// handed in.
//
// A store has two keys of its own, made when it is created and never changed: one keys its fingerprints, the other its
// data. They stand in the header of the store, sealed with the operator's master key; see Wrap. Nothing but these two
// is ever sealed with the master key.
//
// Data is sealed with AES-256-GCM under the key of a session, which is derived from the data key and the session's
// salt, 32 random bytes. A session lasts from the first use of a store after it was opened until it is closed. Its
// nonces are a counter that is handed out in memory and never twice; after a restart there is a new session with a new
// salt, so a nonce that was used and lost in a crash does not come back under the same key.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"pagevault/internal/digest"
)

// Overhead is how many bytes Seal adds: the authentication tag.
const Overhead = 16

// NonceBytes is the length of a nonce.
const NonceBytes = 12

var (
	// ErrWrongKey is returned when the keys of a store are sealed with another master key than the one given, or were
	// sealed and none was given. It comes wrapped with the ids of both.
	ErrWrongKey = errors.New("wrong master key")
	// ErrSealed is returned for bytes that do not open: what was sealed, or the record of how, is damaged or forged.
	ErrSealed = errors.New("sealed bytes do not open")
)

// Key is a master key: 32 secret bytes. The zero Key stands for none.
type Key [32]byte

// IsZero reports whether k is no key.
func (k *Key) IsZero() bool { return subtle.ConstantTimeCompare(k[:], make([]byte, len(k))) == 1 }

// String keeps a key out of log lines: it returns the key's id.
func (k Key) String() string { return "key " + k.ID().String() }

// GoString is String: a key is not printed with %#v either.
func (k Key) GoString() string { return k.String() }

// KeyID tells master keys apart and gives nothing of them away. That of no key is zero.
type KeyID [8]byte

// String returns the id in hex.
func (id KeyID) String() string {
	if id == (KeyID{}) {
		return "none"
	}
	return hex.EncodeToString(id[:])
}

// ID returns the id of the key.
func (k *Key) ID() (id KeyID) {
	if !k.IsZero() {
		digest.Derive(id[:], "pagevault master key id 1", k[:])
	}
	return id
}

// newAEAD returns AES-256-GCM under key.
func newAEAD(key *[32]byte) cipher.AEAD {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // the key's length is fixed by its type
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES has the block size GCM wants
	}
	return aead
}

// Ring holds the sessions of one store. It is safe for concurrent use.
type Ring struct {
	dataKey  [32]byte
	sessions sync.Map // of uint32 to *Session
}

// NewRing returns a ring without sessions for a store's data key.
func NewRing(dataKey [32]byte) *Ring { return &Ring{dataKey: dataKey} }

// Session returns session number of the store, whose salt is salt. number is not 0, and has the same salt in every
// call; else the error says so.
func (r *Ring) Session(number uint32, salt [32]byte) (*Session, error) {
	if number == 0 {
		return nil, errors.New("session 0 stands for what is not sealed")
	}
	s := &Session{ring: r, number: number, salt: salt}
	if old, loaded := r.sessions.LoadOrStore(number, s); loaded {
		if s = old.(*Session); s.salt != salt {
			return nil, fmt.Errorf("session %d has two salts", number)
		}
	}
	return s, nil
}

// Get returns the session that an earlier call of Session returned for number, nil if there was none.
func (r *Ring) Get(number uint32) *Session {
	if s, ok := r.sessions.Load(number); ok {
		return s.(*Session)
	}
	return nil
}

// Session seals and opens with one key. It is safe for concurrent use and does not allocate in steady state.
type Session struct {
	ring    *Ring
	number  uint32
	salt    [32]byte
	once    sync.Once
	aead    cipher.AEAD // made at the first use: a store remembers a session for each time it was opened
	counter atomic.Uint64
}

// Number returns the number of the session within its store, at least 1.
func (s *Session) Number() uint32 { return s.number }

// Salt returns what the session's key is derived with. It is no secret.
func (s *Session) Salt() [32]byte { return s.salt }

// Reserve returns the first of n counters that nobody else has and nobody will get from this session. It must be called
// only on the session that belongs to this process, from the start of its use: on one that was read back from a log the
// counters would be used a second time.
func (s *Session) Reserve(n int) uint64 {
	end := s.counter.Add(uint64(n))
	if end > math.MaxInt64 {
		panic("seal: a session has used up its counters") // after some thousand years
	}
	return end - uint64(n)
}

// Seal appends plain, encrypted and authenticated, to dst: Overhead bytes more than plain has. Each counter seals once.
// plain may be the bytes directly behind dst, dst[len(dst):], to be sealed in place; else the two must not overlap.
func (s *Session) Seal(dst, plain []byte, counter uint64) []byte {
	n := nonces.Get().(*[NonceBytes]byte)
	dst = s.cipher().Seal(dst, setNonce(n, counter), plain, nil)
	nonces.Put(n)
	return dst
}

// Open appends what was sealed to dst, Overhead bytes fewer than sealed has. sealed may be the bytes directly behind
// dst, to be opened in place. The error is ErrSealed; nothing of what did not open is left.
func (s *Session) Open(dst, sealed []byte, counter uint64) ([]byte, error) {
	n := nonces.Get().(*[NonceBytes]byte)
	out, err := s.cipher().Open(dst, setNonce(n, counter), sealed, nil)
	nonces.Put(n)
	if err != nil {
		return dst, ErrSealed
	}
	return out, nil
}

func (s *Session) cipher() cipher.AEAD {
	s.once.Do(func() {
		var key [32]byte
		digest.Derive(key[:], "pagevault session 1", s.ring.dataKey[:], s.salt[:])
		s.aead = newAEAD(&key)
	})
	return s.aead
}

// nonces holds memory: what is handed to a cipher through its interface would be allocated anew at each call.
var nonces = sync.Pool{New: func() any { return new([NonceBytes]byte) }}

// setNonce makes n the nonce of a counter: four zero bytes, then the counter in big-endian order.
func setNonce(n *[NonceBytes]byte, counter uint64) []byte {
	binary.BigEndian.PutUint64(n[4:], counter)
	return n[:]
}
