package daemon

import (
	"strings"
	"testing"

	"balhost/host/internal/config"
	"balhost/host/internal/pluginhost"
)

// A block whose name is nearly that of a plugin without one is told of; one that is
// written before its file comes is not, nor one whose neighbour has its own.
func TestMisspeltBlocks(t *testing.T) {
	l := look{plugins: []pluginhost.Status{{Name: "bla"}, {Name: "echo"}, {Name: "chat"}}}
	got := l.misspelt(config.Config{Plugins: map[string]config.Plugin{"lba": {}, "later": {}, "chat": {}, "chats": {}}})
	if len(got) != 1 || !strings.Contains(got[0], `plugin "lba", but there is no such plugin; did you mean "bla"?`) {
		t.Errorf("%q", got)
	}
}
