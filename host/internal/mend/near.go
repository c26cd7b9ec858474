package mend

import "strings"

// Near guesses which of the existing names was meant by a name that does not exist. At
// most two letters may be wrong, missing, too many or swapped, and fewer than half of
// the name. "": no name is near enough.
func Near(name string, among []string) (near string) {
	least := min(2, (len(name)-1)/2) + 1
	for _, other := range among {
		if d := distance(strings.ToLower(name), strings.ToLower(other)); other != name && d < least {
			near, least = other, d
		}
	}
	return near
}

// distance is the number of steps from a to b. One step changes, inserts or removes a
// byte, or swaps two neighbours.
func distance(a, b string) int {
	const most = 64 // longer names are not compared
	if len(a) > most || len(b) > most {
		return most
	}
	var rows [most + 1][most + 1]int
	for i := range len(a) + 1 {
		for j := range len(b) + 1 {
			switch {
			case i == 0 || j == 0:
				rows[i][j] = i + j
			case a[i-1] == b[j-1]:
				rows[i][j] = rows[i-1][j-1]
			default:
				rows[i][j] = 1 + min(rows[i-1][j], rows[i][j-1], rows[i-1][j-1])
				if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
					rows[i][j] = min(rows[i][j], 1+rows[i-2][j-2])
				}
			}
		}
	}
	return rows[len(a)][len(b)]
}
