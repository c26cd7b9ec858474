package sdk

import (
	"bytes"
	"context"
	"fmt"
	stdlog "log"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"balhost/sdk/logs"
	"balhost/sdk/outlet"
	"balhost/sdk/wire"

	hclog "github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"
)

// orphanGrace is how long the plugin waits for the host to stop it after their
// connection has ended. Then it exits by itself.
const orphanGrace = 5 * time.Second

// logPatience is how long a line of the log waits for the host to read it, so that
// the last line before an exit arrives. If the host does not read, later lines don't
// wait.
const logPatience = time.Second

// heapFloor is the size of a block of memory that is never touched, so it costs no
// memory. It only makes the heap look larger to the garbage collector. Without it
// the heap is so small that the collector runs all the time. It saves a third of the
// plugin's CPU per message, as measured.
const heapFloor = 16 << 20

// Serve runs p for the host that started this process. It returns when the host has
// stopped the plugin; signals don't stop it (see "How a plugin ends" in the
// package's comment). It is the only call in a plugin's main. If a person starts the
// plugin by hand, Serve prints what to do instead, and exits.
func Serve(p Plugin) {
	out := outlet.NewPatient(os.Stderr, logPatience)
	defer out.Close(logPatience)
	logTo := hclog.LoggerOptions{Name: p.Name, Level: hclog.Info, JSONFormat: true}
	out.Notice(func(n uint64) []byte { return dropped(logTo, n) })
	logTo.Output = out
	log := logs.New(&logTo)
	leave := func() {
		out.Close(logPatience)
		os.Exit(1)
	}
	var now atomic.Int32 // a phase
	server, err := NewServer(p, log, func() {
		now.Store(over)
		// The host stops this process now, unless the host was killed.
		time.AfterFunc(orphanGrace, func() { //house:go ends the process
			log.Warn("the connection to the host has ended, and the host has not stopped this process: exiting")
			leave()
		})
	})
	if err != nil {
		fmt.Fprintf(os.Stderr, "plugin %s can't run: %v\n", p.Name, err)
		os.Exit(1)
	}
	if os.Getenv(wire.Handshake.MagicCookieKey) != wire.Handshake.MagicCookieValue {
		fmt.Fprint(os.Stderr, byHand(&p))
		os.Exit(2)
	}
	// The lines of Go's own package log go where those of Host.Log go.
	stdlog.SetFlags(0)
	stdlog.SetOutput(log.StandardWriter(&hclog.StandardLoggerOptions{InferLevels: true}))
	floor := make([]byte, heapFloor)
	defer runtime.KeepAlive(floor)
	defer outlive(log, &now, leave)() // once Serve has returned, a signal ends the process as usual
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  wire.Handshake,
		VersionedPlugins: wire.Plugins(direct{server, os.Stderr, &now}),
		GRPCServer:       wire.NewServer,
		TLSProvider:      wire.ServerTLS,
		Logger:           log.Named("go-plugin"),
	})
}

// dropped is the log line that tells of n dropped lines.
func dropped(o hclog.LoggerOptions, n uint64) []byte {
	var line bytes.Buffer
	o.Output = &line
	hclog.New(&o).Warn(fmt.Sprintf("%d lines dropped: the host did not read them", n))
	return line.Bytes()
}

// direct notes the phase, and sets os.Stderr back to the process's own stderr.
// go-plugin redirects os.Stderr to its connection. There the last lines of a process
// that exits are lost.
type direct struct {
	wire.PluginServer
	stderr *os.File
	now    *atomic.Int32
}

// Session notes that the host is connected: signals must not end the process now.
func (d direct) Session(rpc wire.Plugin_SessionServer) error {
	d.now.CompareAndSwap(starting, serving)
	return d.PluginServer.Session(rpc)
}

// Configure sets os.Stderr back. It runs after go-plugin has redirected it, and
// before the plugin's own code.
func (d direct) Configure(ctx context.Context, r *wire.ConfigureRequest) (*wire.ConfigureReply, error) {
	os.Stderr = d.stderr
	return d.PluginServer.Configure(ctx, r)
}

// Metrics passes the call on, if the plugin has metrics.
func (d direct) Metrics(ctx context.Context) ([]byte, error) {
	return d.PluginServer.(wire.MetricsServer).Metrics(ctx)
}

func byHand(p *Plugin) string {
	self, err := os.Executable()
	if err != nil {
		self = "FILE"
	}
	return fmt.Sprintf(`%[1]s %[2]s is a plugin of balhost. It does nothing when you start it by hand.
Copy it into the plugins folder of a host, under the name %[1]q. A running host starts it at once:

	cp %[3]s plugins/%[1]s

Then "balhost status" shows it.
`, p.Name, p.Version, self)
}
