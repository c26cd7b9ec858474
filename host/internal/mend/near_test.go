package mend

import (
	"strings"
	"testing"
)

func TestNear(t *testing.T) {
	names := []string{"echo", "bla", "chatroom", "limit", "lambda"}
	for name, want := range map[string]string{
		"lba": "bla", "eccho": "echo", "chat-room": "chatroom", "Limits": "limit", "ecko": "echo", "lamdba": "lambda",
		"x": "", "": "", "xyz": "", "ho": "", "echo": "", "chat": "", strings.Repeat("e", 200): "",
	} {
		if got := Near(name, names); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
