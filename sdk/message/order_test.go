package message

import (
	"slices"
	"strings"
	"testing"
)

func TestOrderPath(t *testing.T) {
	for order, want := range map[string]struct {
		names []string
		err   string // the beginning
	}{
		"none":          {},
		"device":        {},
		"key:data":      {names: []string{"data"}},
		"key:data.room": {names: []string{"data", "room"}},
		"":              {err: `order "": want none, device or key:PATH`},
		"room":          {err: `order "room": want none, device or key:PATH`},
		"Device":        {err: `order "Device": want`},
		"key:":          {err: `order "key:": a name in the path is empty`},
		"key:a..b":      {err: `order "key:a..b": a name`},
		"key:a.":        {err: `order "key:a.": a name`},
	} {
		names, err := OrderPath(order)
		if !slices.Equal(names, want.names) || (err == nil) != (want.err == "") || err != nil && !strings.HasPrefix(err.Error(), want.err) {
			t.Errorf("%q: %q, %v; want %+v", order, names, err, want)
		}
	}
}
