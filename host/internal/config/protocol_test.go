package config

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The credit that PROTOCOL.md names is what a plugin without a block in the config has.
func TestProtocolSaysWhatIs(t *testing.T) {
	text, err := os.ReadFile("../../../sdk/wire/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	if row := fmt.Sprintf("| `in_flight` | %d |", defaultPlugin("echo").MaxInFlight); !strings.Contains(string(text), row) {
		t.Errorf("PROTOCOL.md has no row %q", row)
	}
}
