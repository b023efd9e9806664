package bench

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
)

// WorkloadsNamed returns the workloads that the names and globs (as of path.Match) mean, in the order of the report, each
// once. A name may have another size than the list has: put-64k-new. The error names the first name that means nothing, and
// those that are most like it.
func WorkloadsNamed(names []string) ([]Workload, error) {
	wanted := make(map[string]bool)
	sized := make(map[*family][]Workload)
	for _, n := range names {
		found := false
		for _, w := range workloads {
			ok, err := path.Match(n, w.Name)
			if err != nil {
				return nil, fmt.Errorf("%q is no pattern of names: %w", n, err)
			}
			if ok {
				wanted[w.Name], found = true, true
			}
		}
		if found {
			continue
		}
		w, ok := ofAnySize(n)
		if !ok {
			return nil, fmt.Errorf("no workload %q: did you mean %s? (--list shows all)", n, strings.Join(nearest(n), ", "))
		}
		sized[w.family] = append(sized[w.family], w)
	}
	var list []Workload
	for i, w := range workloads {
		if wanted[w.Name] {
			list = append(list, w)
		}
		if i+1 == len(workloads) || workloads[i+1].family != w.family {
			list = append(list, sized[w.family]...)
			delete(sized, w.family)
		}
	}
	return withoutTwins(list), nil
}

// withoutTwins returns the list with each name once.
func withoutTwins(list []Workload) []Workload {
	seen := make(map[string]bool)
	return slices.DeleteFunc(list, func(w Workload) bool {
		twin := seen[w.Name]
		seen[w.Name] = true
		return twin
	})
}

// ofAnySize finds the family that a name belongs to, whatever its size.
func ofAnySize(name string) (Workload, bool) {
	for _, w := range workloads {
		if w.family == nil {
			continue
		}
		before, after, _ := strings.Cut(w.family.name, "%s")
		size, ok := strings.CutPrefix(name, before)
		if size, ok = cutSuffixIf(ok, size, after); !ok {
			continue
		}
		if n, err := ParseBlockSize(size); err == nil && SizeName(n) == size {
			return w.family.of(w, n), true
		}
	}
	return Workload{}, false
}

func cutSuffixIf(ok bool, text, suffix string) (string, bool) {
	if !ok {
		return "", false
	}
	return strings.CutSuffix(text, suffix)
}

// nearest returns the three names that take the fewest changes to make of what was given.
func nearest(name string) []string { return Nearest(name, namesOf(workloads[:])) }

func namesOf(list []Workload) []string {
	var names []string
	for _, w := range list {
		names = append(names, w.Name)
	}
	return names
}

// Nearest returns up to three of the known words, the most similar first: those that begin as the word does, then by the
// number of letters to change.
func Nearest(word string, known []string) []string {
	type candidate struct {
		name     string
		distance int
	}
	var list []candidate
	for _, k := range known {
		d := distance(word, k)
		if word != "" && strings.HasPrefix(k, word) {
			d = 0
		}
		list = append(list, candidate{k, d})
	}
	slices.SortStableFunc(list, func(a, b candidate) int { return cmp.Compare(a.distance, b.distance) })
	var names []string
	for _, c := range list[:min(3, len(list))] {
		names = append(names, c.name)
	}
	return names
}

// distance is how many letters must be put in, taken out or replaced to make b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			up := row[j+1]
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, up+1, row[j]+1)
			diagonal = up
		}
	}
	return row[len(b)]
}
