package main

import "fmt"

// With AVX2 the state alone fills the registers, Y0 to Y15, with a word of eight inputs in each. The message is in scratch
// memory, and so is the chaining value between two blocks, in out. A ninth vector of scratch holds a word of the state while
// its register is needed for something else.
func narrowState(i int) string   { return fmt.Sprintf("Y%d", i) }
func narrowMessage(i int) string { return fmt.Sprintf("%d(R11)", 32*i) }

const spilled = 8 // the word of the state

var spill = fmt.Sprintf("%d(R11)", 32*16)

// shuffles writes the tables that rotate each word by whole bytes.
func (a *asm) shuffles() {
	for _, bytes := range []int{1, 2} {
		for i := 0; i < 32; i += 8 {
			var w uint64
			for b := range 8 {
				at := i%16 + b
				w |= uint64(at/4*4+(at+bytes)%4) << (8 * b)
			}
			a.line("DATA rotate%d<>+%d(SB)/8, $0x%016x", 8*bytes, i, w)
		}
		a.line("GLOBL rotate%d<>(SB), RODATA|NOPTR, $32\n", 8*bytes)
	}
}

// chunk8 writes the function that hashes 1 KiB of each of eight inputs.
func (a *asm) chunk8() {
	a.line("// func chunk8(out *uint32, in **byte, off uint64, key *Key, counter uint32, flags uint32, m *scratch)")
	a.line("TEXT ·chunk8(SB), NOSPLIT, $0-48")
	a.chunkArguments()
	a.op("MOVQ", "m+40(FP)", "R11")
	a.narrowKey()
	a.narrowStore()
	a.eachBlock(func() {
		for half := range 2 {
			a.narrowTranspose(half)
		}
		for i := range 8 {
			a.op("VMOVDQU", fmt.Sprintf("%d(DI)", 64*i), narrowState(i))
		}
		a.narrowInitial("R10", "R9")
		a.narrowCompress()
		a.narrowStore()
	})
	a.end()
}

// parent8 writes the function that joins two nodes of the tree.
func (a *asm) parent8() {
	a.line("// func parent8(out, left, right *uint32, key *Key, flags uint32, m *scratch)")
	a.line("TEXT ·parent8(SB), NOSPLIT, $0-48")
	a.parentArguments()
	a.op("MOVQ", "m+40(FP)", "R11")
	for i := range 8 {
		a.op("VMOVDQU", fmt.Sprintf("%d(SI)", 64*i), "Y0")
		a.op("VMOVDQU", fmt.Sprintf("%d(DX)", 64*i), "Y1")
		a.op("VMOVDQU", "Y0", narrowMessage(i))
		a.op("VMOVDQU", "Y1", narrowMessage(8+i))
	}
	a.narrowKey()
	a.op("XORL", "R10", "R10")
	a.narrowInitial("R10", "R9")
	a.narrowCompress()
	a.narrowStore()
	a.end()
}

func (a *asm) narrowKey() {
	for i := range 8 {
		a.op("VPBROADCASTD", fmt.Sprintf("%d(AX)", 4*i), narrowState(i))
	}
}

func (a *asm) narrowInitial(counter, flags string) {
	for i := range 4 {
		a.op("VPBROADCASTD", fmt.Sprintf("initial<>+%d(SB)", 4*i), narrowState(8+i))
	}
	a.op("MOVL", "$64", "DX") // bytes of the block
	for i, from := range []string{counter, "", "DX", flags} {
		if from != "" {
			a.op("VMOVD", from, fmt.Sprintf("X%d", 12+i))
			a.op("VPBROADCASTD", fmt.Sprintf("X%d", 12+i), narrowState(12+i))
		}
	}
	a.op("VPXOR", narrowState(13), narrowState(13), narrowState(13)) // the counter's upper half
}

func (a *asm) narrowCompress() {
	free := narrowState(spilled)
	a.rounds(mix{xor: "VPXOR", state: narrowState, message: narrowMessage, rotate: func(bits int, words [4]string) {
		if bits%8 == 0 {
			for _, w := range words {
				a.op("VPSHUFB", fmt.Sprintf("rotate%d<>(SB)", bits), w, w)
			}
			return
		}
		a.op("VMOVDQU", free, spill)
		for _, w := range words {
			a.op("VPSRLD", fmt.Sprintf("$%d", bits), w, free)
			a.op("VPSLLD", fmt.Sprintf("$%d", 32-bits), w, w)
			a.op("VPOR", free, w, w)
		}
		a.op("VMOVDQU", spill, free)
	}})
	for i := range 8 {
		a.op("VPXOR", narrowState(8+i), narrowState(i), narrowState(i))
	}
}

// narrowTranspose makes half of the message of half a block of each input.
func (a *asm) narrowTranspose(half int) {
	r, t := narrowState, func(i int) string { return narrowState(8 + i) }
	for i := range 8 {
		a.op("MOVQ", fmt.Sprintf("%d(SI)", 8*i), "DX")
		a.op("VMOVDQU", fmt.Sprintf("%d(DX)(BX*1)", 32*half), r(i))
	}
	for g := 0; g < 8; g += 4 {
		a.transpose4(func(i int) string { return r(g + i) }, t)
	}
	for k := range 4 {
		a.op("VPERM2I128", "$0x20", r(4+k), r(k), t(0))
		a.op("VPERM2I128", "$0x31", r(4+k), r(k), t(1))
		a.op("VMOVDQU", t(0), narrowMessage(8*half+k))
		a.op("VMOVDQU", t(1), narrowMessage(8*half+4+k))
	}
}

func (a *asm) narrowStore() {
	for i := range 8 {
		a.op("VMOVDQU", narrowState(i), fmt.Sprintf("%d(DI)", 64*i))
	}
}
