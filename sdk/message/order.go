package message

import (
	"fmt"
	"strings"
)

// OrderPath reads how a plugin orders its events: "none", "device" or "key:PATH",
// PATH being dotted names into the payload, as in "key:data.room". It gives the
// names of the path; nil for the others.
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
