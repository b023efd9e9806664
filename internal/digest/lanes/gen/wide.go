package main

import "fmt"

// With AVX-512 everything is in registers: the state in Z0 to Z15, the message in Z16 to Z31, a word of all sixteen inputs
// in each.
func wideState(i int) string   { return fmt.Sprintf("Z%d", i) }
func wideMessage(i int) string { return fmt.Sprintf("Z%d", 16+i) }

// chunk16 writes the function that hashes 1 KiB of each of sixteen inputs.
func (a *asm) chunk16() {
	a.line("// func chunk16(out *words, in *[Count]*byte, off uint64, key *Key, counter uint32, flags uint32)")
	a.line("TEXT ·chunk16(SB), NOSPLIT, $0-40")
	a.chunkArguments()
	a.wideKey()
	a.eachBlock(func() {
		for i := range 16 {
			a.op("MOVQ", fmt.Sprintf("%d(SI)", 8*i), "DX")
			a.op("VMOVDQU32", "(DX)(BX*1)", wideMessage(i))
		}
		a.wideTranspose()
		a.wideInitial("R10", "R9")
		a.wideCompress()
	})
	a.wideStore()
}

// parent16 writes the function that joins two nodes of the tree.
func (a *asm) parent16() {
	a.line("// func parent16(out, left, right *words, key *Key, flags uint32)")
	a.line("TEXT ·parent16(SB), NOSPLIT, $0-36")
	a.parentArguments()
	a.wideKey()
	for i := range 8 {
		a.op("VMOVDQU32", fmt.Sprintf("%d(SI)", 64*i), wideMessage(i))
		a.op("VMOVDQU32", fmt.Sprintf("%d(DX)", 64*i), wideMessage(8+i))
	}
	a.op("XORL", "R10", "R10")
	a.wideInitial("R10", "R9")
	a.wideCompress()
	a.wideStore()
}

// wideKey fills the first half of the state with the key.
func (a *asm) wideKey() {
	for i := range 8 {
		a.op("VPBROADCASTD", fmt.Sprintf("%d(AX)", 4*i), wideState(i))
	}
}

// wideInitial fills the second half of the state.
func (a *asm) wideInitial(counter, flags string) {
	for i := range 4 {
		a.op("VPBROADCASTD", fmt.Sprintf("initial<>+%d(SB)", 4*i), wideState(8+i))
	}
	a.op("VPBROADCASTD", counter, wideState(12))
	a.op("VPXORD", wideState(13), wideState(13), wideState(13)) // the counter's upper half
	a.op("MOVL", "$64", "DX")                                   // bytes of the block
	a.op("VPBROADCASTD", "DX", wideState(14))
	a.op("VPBROADCASTD", flags, wideState(15))
}

// wideCompress does the rounds and leaves the new chaining value in the first half of the state.
func (a *asm) wideCompress() {
	a.rounds(mix{xor: "VPXORD", state: wideState, message: wideMessage, rotate: func(bits int, words [4]string) {
		for _, w := range words {
			a.op("VPRORD", fmt.Sprintf("$%d", bits), w, w)
		}
	}})
	for i := range 8 {
		a.op("VPXORD", wideState(8+i), wideState(i), wideState(i))
	}
}

// wideTranspose turns a block of each input, one in each register of the message, into one word of all inputs in each. It uses
// the second half of the state.
func (a *asm) wideTranspose() {
	t := func(i int) string { return wideState(8 + i) }
	// within groups of four inputs: afterwards quarter j of register k of the group has their words 4j+k
	for g := 0; g < 16; g += 4 {
		a.transpose4(func(i int) string { return wideMessage(g + i) }, t)
	}
	// between the groups
	for k := range 4 {
		r := func(i int) string { return wideMessage(4*i + k) }
		a.op("VSHUFI32X4", "$0x44", r(1), r(0), t(0))
		a.op("VSHUFI32X4", "$0x44", r(3), r(2), t(1))
		a.op("VSHUFI32X4", "$0xEE", r(1), r(0), t(2))
		a.op("VSHUFI32X4", "$0xEE", r(3), r(2), t(3))
		a.op("VSHUFI32X4", "$0x88", t(1), t(0), r(0))
		a.op("VSHUFI32X4", "$0xDD", t(1), t(0), r(1))
		a.op("VSHUFI32X4", "$0x88", t(3), t(2), r(2))
		a.op("VSHUFI32X4", "$0xDD", t(3), t(2), r(3))
	}
}

// wideStore ends a function: the first half of the state is what it returns.
func (a *asm) wideStore() {
	for i := range 8 {
		a.op("VMOVDQU32", wideState(i), fmt.Sprintf("%d(DI)", 64*i))
	}
	a.end()
}
