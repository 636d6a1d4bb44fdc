package yaml

import (
	"maps"
	"slices"
	"strings"
)

// didYouMean names the nearest known key, or the known keys where none is near.
func didYouMean[V any](key string, known map[string]V) string {
	names := slices.Sorted(maps.Keys(known))
	if best := Nearest(key, names); best != "" {
		return ": did you mean " + best + "?"
	}
	if len(names) == 0 {
		return ""
	}
	return ": known are " + strings.Join(names, ", ")
}

// Nearest gives the known word with the fewest edits from word, or "" where none is near.
func Nearest(word string, known []string) string {
	best, least := "", 1+max(2, len(word)/3)
	for _, k := range known {
		if len(k) > 0 && strings.EqualFold(k, word) {
			return k
		}
		if d := distance(word, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance counts inserted, removed, changed and swapped characters.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	if len(x) > 64 || len(y) > 64 {
		return 64
	}
	var before, above []int
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(x); i++ {
		before, above, row = above, row, make([]int, len(y)+1)
		row[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(y)]
}
