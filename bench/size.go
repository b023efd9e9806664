package bench

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// blockMin is the size of a page, the least that can be written.
const blockMin = 512

// ParseBlockSize reads a size of requests such as 512, 4k or 4m (KiB and MiB are taken too): a power of two from 512 bytes
// to 4 MiB, the limits of Put Page.
func ParseBlockSize(text string) (int, error) {
	t := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(text)), "ib")
	digits := strings.TrimRight(t, "km")
	n, err := strconv.Atoi(digits)
	shift, ok := map[string]int{"": 0, "k": 10, "m": 20}[t[len(digits):]]
	if err != nil || !ok || n < 1 || n > requestMax || n<<shift < blockMin || n<<shift > requestMax || bits.OnesCount(uint(n)) != 1 {
		return 0, fmt.Errorf("%q is no size of a request: a power of two from 512 to 4m, such as 4k", text)
	}
	return n << shift, nil
}

// SizeName returns a size as it stands in the names of workloads: 512, 4k, 4m.
func SizeName(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return strconv.Itoa(n>>20) + "m"
	case n >= 1<<10 && n%(1<<10) == 0:
		return strconv.Itoa(n>>10) + "k"
	}
	return strconv.Itoa(n)
}

// sizeText returns a size for people: 512 bytes, 4 KiB, 4 MiB.
func sizeText(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return strconv.Itoa(n>>20) + " MiB"
	case n >= 1<<10 && n%(1<<10) == 0:
		return strconv.Itoa(n>>10) + " KiB"
	}
	return strconv.Itoa(n) + " bytes"
}
