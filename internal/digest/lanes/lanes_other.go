//go:build !amd64

package lanes

const available = false

func chunk(*words, *[Count]*byte, uint64, *Key, uint32, uint32) { panic("lanes: nothing fits here") }

func parent(_, _, _ *words, _ *Key, _ uint32) { panic("lanes: nothing fits here") }
