//go:build !amd64

package lanes

func available() bool { return false }

func fewest(int) int { return Count + 1 }

type scratch struct{}

func chunk(*words, *[Count]*byte, int, uint64, *Key, uint32, uint32, *scratch) {
	panic("lanes: nothing fits here")
}

func parent(_, _, _ *words, _ int, _ *Key, _ uint32, _ *scratch) { panic("lanes: nothing fits here") }
