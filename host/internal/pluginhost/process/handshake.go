package process

import (
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"balhost/host/internal/plain"
	"balhost/sdk/wire"
)

// What a plugin may print before its handshake.
const (
	maxPreamble      = 20      // lines, of whatever length
	maxPreambleBytes = 2 << 20 // in all
)

// handshake finds the handshake in what a plugin prints, and passes that one
// line on to go-plugin: core|app|network|address|protocol|certificate[|mux].
// Other lines, before and after it, are logged.
type handshake struct {
	out   io.WriteCloser // to go-plugin; closed to give up
	lines *lines

	mu      sync.Mutex // guards what follows
	seen    int        // lines before it
	bytes   int        // of them
	found   bool
	refusal string // why it is none; "": it is fine so far
}

// read reads stdout to its end.
func (h *handshake) read(stdout io.Reader) error {
	return eachLine(stdout, h.line)
}

func (h *handshake) line(line []byte, rest bool) {
	h.mu.Lock()
	looking := !h.found && h.refusal == ""
	h.mu.Unlock()
	if !looking {
		h.lines.stdout(line)
		return
	}
	s := strings.TrimSpace(string(line))
	if rest || !strings.HasPrefix(s, "1|") {
		h.lines.stdout(line)
		h.mu.Lock()
		if !rest {
			h.seen++
		}
		if h.bytes += len(line); h.bytes > maxPreambleBytes {
			h.refusal = fmt.Sprintf("prints garbage: %d MiB without a handshake, the last %s", maxPreambleBytes>>20, plain.Excerpt(s))
		} else if h.seen >= maxPreamble {
			h.refusal = fmt.Sprintf("prints garbage: %d lines without a handshake, the last %s", h.seen, plain.Excerpt(s))
		}
		h.mu.Unlock()
	} else {
		refusal := checkHandshake(s)
		h.mu.Lock()
		h.found, h.refusal = true, refusal
		h.mu.Unlock()
	}
	if h.verdict() != "" {
		h.out.Close() // go-plugin's Start returns
	} else if h.done() {
		_, _ = io.WriteString(h.out, s+"\n") // fails when go-plugin has gone, which it says itself
	}
}

// verdict says what is wrong with the handshake; "": nothing yet.
func (h *handshake) verdict() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.refusal
}

// done reports whether there was a handshake.
func (h *handshake) done() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.found
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
		return "has no certificate in its handshake: plugins must use TLS with the client certificate in $PLUGIN_CLIENT_CERT"
	}
	// go-plugin takes a short sixth field for something else.
	if der, err := base64.RawStdEncoding.DecodeString(f[5]); err != nil || len(der) < 50 {
		return "prints garbage: a handshake with a certificate that is not base64 without padding"
	}
	return ""
}
