package seal

import (
	"bytes"
	"fmt"

	"pagevault/internal/digest"
)

// Cipher says how the keys of a store and all its frames are sealed.
type Cipher uint8

const (
	Plain     Cipher = 0 // not at all
	AES256GCM Cipher = 1
)

// Keys are the two secrets of a store.
type Keys struct {
	Fingerprint digest.Key // keys the names of content
	Data        [32]byte   // the keys of sessions are derived from it
}

// String keeps keys out of log lines.
func (Keys) String() string { return "keys of a store" }

// GoString is String.
func (k Keys) GoString() string { return k.String() }

// Wrapped are the keys of a store as its header holds them:
//
//	cipher u8 · master key's id [8] · nonce [12] · sealed [32+32+16]: fingerprint key, data key, tag
//
// The cipher is AES-256-GCM under the master key, with everything of the header before the nonce as additional data, so
// that nothing of the header can be changed without the key. With cipher Plain the two keys stand there as they are, and
// id, nonce and tag are zeros.
type Wrapped struct {
	Cipher Cipher
	Master KeyID
	Nonce  [NonceBytes]byte
	Sealed [64 + Overhead]byte
}

// WrappedBytes is the length of Wrapped in a header.
const WrappedBytes = 1 + 8 + NonceBytes + 64 + Overhead

// Append appends the WrappedBytes bytes of w to dst.
func (w *Wrapped) Append(dst []byte) []byte {
	dst = append(dst, byte(w.Cipher))
	dst = append(dst, w.Master[:]...)
	dst = append(dst, w.Nonce[:]...)
	return append(dst, w.Sealed[:]...)
}

// DecodeWrapped decodes what Append has appended: p, as a whole.
func DecodeWrapped(p []byte) (w Wrapped, err error) {
	if len(p) != WrappedBytes {
		return w, fmt.Errorf("sealed keys of %d bytes, want %d", len(p), WrappedBytes)
	}
	w.Cipher = Cipher(p[0])
	copy(w.Master[:], p[1:])
	copy(w.Nonce[:], p[1+8:])
	copy(w.Sealed[:], p[1+8+NonceBytes:])
	switch zero := make([]byte, NonceBytes+Overhead); {
	case w.Cipher > AES256GCM:
		err = fmt.Errorf("the store's keys are sealed with cipher %d, which this build does not know", w.Cipher)
	case w.Cipher == Plain && (w.Master != (KeyID{}) || !bytes.Equal(append(w.Nonce[:], w.Sealed[64:]...), zero)):
		err = fmt.Errorf("keys that are not sealed, with key id %v, a nonce or a tag", w.Master)
	}
	return w, err
}

// Wrap seals the keys of a store with the master key; with the zero Key they are left in plain. head is what precedes
// Wrapped in the header, nonce is random.
func Wrap(keys *Keys, master *Key, nonce [NonceBytes]byte, head []byte) Wrapped {
	plain := append(append(make([]byte, 0, 64), keys.Fingerprint[:]...), keys.Data[:]...)
	var w Wrapped
	if master.IsZero() {
		copy(w.Sealed[:], plain)
		return w
	}
	w.Cipher, w.Master, w.Nonce = AES256GCM, master.ID(), nonce
	newAEAD((*[32]byte)(master)).Seal(w.Sealed[:0], w.Nonce[:], plain, w.additional(head))
	return w
}

// Unwrap returns the keys of a store. master is not used if they are in plain. The error is ErrWrongKey if it is another
// key than they were sealed with, or the zero Key, and ErrSealed if the header is damaged or was changed.
func (w *Wrapped) Unwrap(master *Key, head []byte) (keys Keys, err error) {
	plain := w.Sealed[:64]
	if w.Cipher != Plain {
		if id := master.ID(); id != w.Master || master.IsZero() {
			return keys, fmt.Errorf("%w: the store's keys are sealed by master key %v, the one given is %v", ErrWrongKey, w.Master, id)
		}
		if plain, err = newAEAD((*[32]byte)(master)).Open(nil, w.Nonce[:], w.Sealed[:], w.additional(head)); err != nil {
			return keys, fmt.Errorf("%w: the header of the store, with master key %v", ErrSealed, w.Master)
		}
	}
	copy(keys.Fingerprint[:], plain)
	copy(keys.Data[:], plain[32:])
	return keys, nil
}

// additional returns everything of the header before the nonce.
func (w *Wrapped) additional(head []byte) []byte {
	return append(append(bytes.Clone(head), byte(w.Cipher)), w.Master[:]...)
}
