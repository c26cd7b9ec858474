package pluginhost

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	"balhost/sdk/wire"
)

// serveByHand serves a plugin with gRPC alone, as one in another language does: no
// go-plugin, no controller to stop it. What follows "handmade-" in its name is which
// certificate it shows, and what stands in its handshake.
func serveByHand(p *testPlugin) {
	dir := os.Getenv(wire.SocketDirVariable)
	socket := filepath.Join(dir, "plugin.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		panic(err)
	}
	config, err := wire.ServerTLS()
	if err != nil {
		panic(err)
	}
	last, secure := "", true
	switch strings.TrimPrefix(p.name, "handmade-") {
	case "short":
	case "field":
		last = "|"
	case "own":
		config.Certificates = []tls.Certificate{ownCertificate()}
		last = "|" + base64.RawStdEncoding.EncodeToString(config.Certificates[0].Certificate[0])
	case "named": // the host's, in the handshake as well
		last = "|" + base64.RawStdEncoding.EncodeToString(config.Certificates[0].Certificate[0])
	case "untold":
		config.Certificates = []tls.Certificate{ownCertificate()}
	case "bare":
		secure = false
	}
	server := grpc.NewServer()
	if secure {
		server = grpc.NewServer(grpc.Creds(credentials.NewTLS(config)))
	}
	wire.RegisterPluginServer(server, p)
	well := health.NewServer()
	well.SetServingStatus("plugin", grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(server, well)
	fmt.Printf("1|%d|unix|%s|grpc%s\n", wire.Version, socket, last)
	_ = server.Serve(listener)
}

func ownCertificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A plugin that makes no certificate runs with the host's, and one that makes its own
// runs with that. Each process has a key of its own, which goes with it.
func TestPluginWithoutX509(t *testing.T) {
	b := newBench(t)
	names := []string{"handmade-short", "handmade-field", "handmade-named", "handmade-own"}
	for _, name := range names {
		b.put(name, "")
	}
	b.run()
	keys := map[string]string{}
	for _, name := range names {
		b.event("ready "+name, 1)
		dir := ""
		for _, kv := range strings.Split(b.ask(name, "environ"), "\n") {
			if value, ok := strings.CutPrefix(kv, wire.SocketDirVariable+"="); ok {
				dir = value
			}
		}
		for _, file := range []string{wire.KeyFile, wire.CertFile, wire.HostCertFile} {
			path := filepath.Join(dir, file)
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %s: %v", name, file, err)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if other := keys[string(text)]; other != "" {
				t.Errorf("%s: %s is also %s", name, file, other)
			}
			keys[string(text)] = name + "'s " + file
		}
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %s: %v", name, dir, err)
		}
	}
	b.stop() // which sees that the folders are gone
	for text := range keys {
		if lines := strings.Split(text, "\n"); strings.Contains(b.log.String(), lines[1]) {
			t.Errorf("the log has %s", keys[text])
		}
	}
}

// A plugin that shows a certificate which nobody has told the host of is refused, and
// so is one without TLS: whoever answers at the socket may be somebody else.
func TestUntoldCertificateIsRefused(t *testing.T) {
	for name, reason := range map[string]string{
		"handmade-untold": "shows a certificate that is neither plugin.crt nor the one of its handshake",
		"handmade-bare":   "first record does not look like a TLS handshake",
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.put(name, "")
			b.run()
			b.poll("the reason", func() bool {
				return strings.Contains(b.status(name).Reason, reason)
			})
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.count("ready "+name) != 0 {
				t.Error("it serves")
			}
		})
	}
}

// Categories that config.hcl gives to a plugin without a handler for upstreams are
// refused: it would take them and handle none.
func TestCategoriesWithoutHandler(t *testing.T) {
	b := newBench(t)
	b.put("mute", "")
	b.host.o.Plugin = func(string) PluginOptions { return PluginOptions{Categories: []string{"com.example.app"}} }
	b.run()
	if s := b.state("mute", Refused); !strings.Contains(s.Reason, "has no handler for upstreams, and config.hcl gives it categories") {
		t.Errorf("%q", s.Reason)
	}
}

// A plugin is told what it must keep to, and of which host: none of it is known by heart.
func TestPluginIsToldLimits(t *testing.T) {
	b := newBench(t)
	b.put("echo", "")
	b.host.o.Version = "1.2.3"
	b.host.o.Plugin = func(string) PluginOptions { return PluginOptions{MaxInFlight: 77} }
	b.run()
	b.event("ready echo", 1)
	var described wire.DescribeRequest
	var configured wire.ConfigureRequest
	for order, m := range map[string]proto.Message{"told at Describe": &described, "told at Configure": &configured} {
		if text, err := hex.DecodeString(b.ask("echo", order)); err != nil || proto.Unmarshal(text, m) != nil {
			t.Fatalf("%s: %x, %v", order, text, err)
		}
	}
	if described.HostVersion != "1.2.3" || !slices.Equal(described.Capabilities, wire.HostCapabilities()) {
		t.Errorf("Describe: %v", &described)
	}
	want := wire.NewLimits(77, b.host.limits.ping)
	if configured.HostVersion != "1.2.3" || !proto.Equal(configured.Limits, want) {
		t.Errorf("Configure: %v, want the limits %v", &configured, want)
	}
}
