package wire

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"balhost/sdk/message"
)

// protocol is PROTOCOL.md as it is read: with single spaces.
func protocol(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`[ \n]+`).ReplaceAllString(string(text), " ")
}

// Each number and name in PROTOCOL.md that this package decides is the code's. The tests
// of pluginhost and dispatch have the others.
func TestProtocolSaysWhatIs(t *testing.T) {
	text := protocol(t)
	for _, want := range []string{
		fmt.Sprintf("| `%s` | the cookie, `%s`.", Handshake.MagicCookieKey, Handshake.MagicCookieValue),
		fmt.Sprintf("with commas between them: `%d` |", Version), fmt.Sprintf("1|%d|unix|/path/of/the/socket|grpc", Version),
		"| `" + SocketDirVariable + "` |", "| `" + HostCertVariable + "` |", "| `" + KeyFile + "` |", "| `" + CertFile + "` |", "| `" + HostCertFile + "` |",
		fmt.Sprintf("at %d items of a list or %d KiB", maxBatch, maxBytes>>10),
		fmt.Sprintf("at most %d bytes, without control characters", message.MaxID), fmt.Sprintf("`context` has at most %d bytes", message.MaxContext),
		fmt.Sprintf("is 1 to %d bytes of UTF-8", message.MaxKey),
		"`" + string(File_balhost_plugin_v1_plugin_proto.Services().Get(0).FullName()) + "`",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("PROTOCOL.md does not say %q", want)
		}
	}
	for _, name := range HostCapabilities() {
		if !strings.Contains(text, "| `"+name+"` |") {
			t.Errorf("PROTOCOL.md does not know the capability %s", name)
		}
	}
	limits := NewLimits(256, 10*time.Second).ProtoReflect() // what a host has without a config
	fields := limits.Descriptor().Fields()
	for i := range fields.Len() {
		if row := fmt.Sprintf("| `%s` | %d |", fields.Get(i).Name(), limits.Get(fields.Get(i)).Uint()); !strings.Contains(text, row) {
			t.Errorf("PROTOCOL.md has no row %s", row)
		}
	}
}

// Each code, call and frame's field is in PROTOCOL.md.
func TestProtocolNamesAll(t *testing.T) {
	text := protocol(t)
	for _, codes := range []protoreflect.EnumDescriptor{Result_DONE.Descriptor(), Reply_OK.Descriptor()} {
		for i := range codes.Values().Len() {
			if name := codes.Values().Get(i).Name(); !strings.Contains(text, "`"+string(name)+"`") {
				t.Errorf("PROTOCOL.md does not say what %s means", name)
			}
		}
	}
	calls := (&Call{}).ProtoReflect().Descriptor().Oneofs().ByName("op").Fields()
	for i := range calls.Len() {
		if name := calls.Get(i).Name(); !strings.Contains(text, "| `"+string(name)+"` |") {
			t.Errorf("PROTOCOL.md has no row for the call %s", name)
		}
	}
	for name, frame := range map[string]proto.Message{"HostFrame": &HostFrame{}, "PluginFrame": &PluginFrame{}} {
		line := regexp.MustCompile(`- ` + name + `: ([^.;]*)[.;]`).FindStringSubmatch(text)
		if line == nil {
			t.Fatalf("PROTOCOL.md has no order for %s", name)
		}
		fields := frame.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			if field := string(fields.Get(i).Name()); !regexp.MustCompile(`\b` + field + `\b`).MatchString(line[1]) {
				t.Errorf("the order of a %s does not have %s", name, field)
			}
		}
	}
}
