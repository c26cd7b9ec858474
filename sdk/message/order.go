package message

import (
	"fmt"
	"strings"
)

// OrderPath reads a plugin's order: "none", "device" or "key:PATH". PATH is names in
// the payload, joined by dots, as in "key:data.room". It returns the names of the path,
// and nil for "none" and "device".
func OrderPath(order string) (names []string, err error) {
	path, isKey := strings.CutPrefix(order, "key:")
	switch {
	case order == "none" || order == "device":
		return nil, nil
	case !isKey:
		return nil, fmt.Errorf("order %.300q: want none, device or key:PATH, for example key:data.room", order)
	}
	names = strings.Split(path, ".")
	for _, name := range names {
		if name == "" {
			return nil, fmt.Errorf("order %.300q: a name in the path is empty; write for example key:data.room", order)
		}
	}
	return names, nil
}
