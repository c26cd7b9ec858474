package process

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// What PROTOCOL.md says of the start and of logs is the code's.
func TestProtocolSaysWhatIs(t *testing.T) {
	text, err := os.ReadFile("../../../../sdk/wire/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	said := regexp.MustCompile(`[ \n]+`).ReplaceAllString(string(text), " ")
	for _, want := range []string{
		fmt.Sprintf("gives up after %d lines or %d MiB of it", maxPreamble, maxPreambleBytes>>20),
		fmt.Sprintf("A line of more than %d KiB is cut into several, and of a line's fields the first %d are kept", maxLine>>10, maxPairs),
	} {
		if !strings.Contains(said, want) {
			t.Errorf("PROTOCOL.md does not say %q", want)
		}
	}
}
