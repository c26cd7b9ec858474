package pluginhost

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The times that PROTOCOL.md gives a process are the host's.
func TestProtocolSaysWhatIs(t *testing.T) {
	text, err := os.ReadFile("../../../sdk/wire/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	said := regexp.MustCompile(`[ \n]+`).ReplaceAllString(string(text), " ")
	for _, want := range []string{
		fmt.Sprintf("| start | %v |", usual.Handshake),
		fmt.Sprintf("| exit | %v |", usual.Grace),
		fmt.Sprintf("It sends SIGTERM after %d s, and SIGKILL after %d s more", int(usual.Grace.Seconds()), int(usual.Grace.Seconds())),
		fmt.Sprintf("| `ping_ms` | %d |", usual.ping.Milliseconds()),
		fmt.Sprintf("More than %d lines a second are dropped", usual.lines),
	} {
		if !strings.Contains(said, want) {
			t.Errorf("PROTOCOL.md does not say %q", want)
		}
	}
}
