package config

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The credit and the time that PROTOCOL.md names are those of a plugin without a block in
// the config.
func TestProtocolSaysWhatIs(t *testing.T) {
	text, err := os.ReadFile("../../../sdk/wire/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	p := defaultPlugin("echo")
	for _, row := range []string{fmt.Sprintf("| `in_flight` | %d |", p.MaxInFlight), fmt.Sprintf("| start | %v |", p.StartTimeout)} {
		if !strings.Contains(string(text), row) {
			t.Errorf("PROTOCOL.md has no row %q", row)
		}
	}
}
