package dispatch

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"balhost/sdk/wire"
)

// What PROTOCOL.md says of handlers that hang and of delays is the code's.
func TestProtocolSaysWhatIs(t *testing.T) {
	text, err := os.ReadFile("../../../sdk/wire/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	said := regexp.MustCompile(`[ \n]+`).ReplaceAllString(string(text), " ")
	words := map[int64]string{3: "three"}
	for _, want := range []string{
		fmt.Sprintf("(%d s past their time, or not extended for %s times `extend_ms`)", int(stuckGrace.Seconds()), words[int64(extendEvery/wire.ExtendWithin)]),
		fmt.Sprintf("| longest delay | %v |", maxDelay),
	} {
		if !strings.Contains(said, want) {
			t.Errorf("PROTOCOL.md does not say %q", want)
		}
	}
}
