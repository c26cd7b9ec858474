package process

import (
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"

	"balhost/host/internal/plain"
	"balhost/sdk/wire"
)

// What a plugin may print before its handshake.
const (
	maxPreamble      = 20      // lines, of whatever length
	maxPreambleBytes = 2 << 20 // in all
)

// handshake finds the handshake in what a plugin prints, and passes that one
// line on to go-plugin: core|app|network|address|protocol[|certificate[|mux]].
// Other lines, before and after it, are logged.
type handshake struct {
	out   io.WriteCloser // to go-plugin; closed to give up
	lines *lines

	seen, bytes int // lines before it, and of them; owned by line

	found atomic.Bool            // there was a handshake
	flaw  atomic.Pointer[string] // what is wrong with it; nil: nothing yet
}

// line takes a line of stdout.
func (h *handshake) line(line []byte, rest bool) {
	if h.found.Load() || h.flaw.Load() != nil {
		h.lines.piped.out.line(line)
		return
	}
	s := strings.TrimSpace(string(line))
	if !rest && strings.HasPrefix(s, "1|") {
		h.found.Store(true)
		if flaw := checkHandshake(s); flaw != "" {
			h.giveUp(flaw)
		} else {
			_, _ = io.WriteString(h.out, s+"\n") // fails when go-plugin has gone, which it says itself
		}
		return
	}
	h.lines.piped.out.line(line)
	if !rest {
		h.seen++
	}
	if h.bytes += len(line); h.bytes > maxPreambleBytes {
		h.giveUp(fmt.Sprintf("prints garbage: %d MiB without a handshake, the last %s", maxPreambleBytes>>20, plain.Excerpt(s)))
	} else if h.seen >= maxPreamble {
		h.giveUp(fmt.Sprintf("prints garbage: %d lines without a handshake, the last %s", h.seen, plain.Excerpt(s)))
	}
}

func (h *handshake) giveUp(flaw string) {
	h.flaw.Store(&flaw)
	h.out.Close() // go-plugin's Start returns
}

// checkHandshake says what is wrong with a handshake line; "": nothing. go-plugin
// checks some of it too, in words for its own users.
func checkHandshake(line string) string {
	f := strings.Split(line, "|")
	if len(f) < 5 {
		return "prints garbage: a handshake that is cut off: " + plain.Excerpt(line)
	}
	switch version, network, address, protocol := f[1], f[2], f[3], f[4]; {
	case version != strconv.Itoa(wire.Version):
		return fmt.Sprintf("speaks version %s of the plugin protocol, this host version %d: build it with this host's sdk", plain.Excerpt(version), wire.Version)
	case protocol != "grpc":
		return fmt.Sprintf("speaks %s, this host grpc only: build it with this host's sdk", plain.Excerpt(protocol))
	case network != "unix" || !strings.HasPrefix(address, "/"):
		return fmt.Sprintf("listens on %s %s, this host takes a unix socket in $PLUGIN_UNIX_SOCKET_DIR only", plain.Excerpt(network), plain.Excerpt(address))
	case len(f) < 6 || f[5] == "":
		return "" // it uses the certificate that the host made for it
	}
	// go-plugin takes a short sixth field for something else.
	if der, err := base64.RawStdEncoding.DecodeString(f[5]); err != nil || len(der) < 50 {
		return "prints garbage: a handshake with a certificate that is not base64 without padding"
	}
	return ""
}
