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

// orphanGrace is how long a plugin waits to be stopped after its session ended.
const orphanGrace = 5 * time.Second

// logPatience is how long a line of the log waits for the host to read it: the last
// one before an exit is to arrive. A host that doesn't read is waited for once.
const logPatience = time.Second

// heapFloor is memory that only the garbage collector counts: it is never
// touched. A plugin's heap is so small that the collector would run without
// end; this lets it wait for as much garbage, which measured a third of the
// plugin's CPU per message.
const heapFloor = 16 << 20

// Serve runs p for the host that started this process, and returns when the
// host has stopped it; signals don't (see How a plugin ends in the package's
// comment). It is the only call in a plugin's main. Started by hand,
// it says what to do instead and exits.
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
		// The host stops us now; one that was killed can't.
		time.AfterFunc(orphanGrace, func() {
			log.Warn("session has ended and the host has not stopped this process: exiting")
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
	// What the plugin prints by Go's own log goes the same way as Host.Log.
	stdlog.SetFlags(0)
	stdlog.SetOutput(log.StandardWriter(&hclog.StandardLoggerOptions{InferLevels: true}))
	floor := make([]byte, heapFloor)
	defer runtime.KeepAlive(floor)
	defer outlive(log, &now, leave)() // until the host has said so: from then on a signal ends what main may still do
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  wire.Handshake,
		VersionedPlugins: wire.Plugins(direct{server, os.Stderr, &now}),
		GRPCServer:       wire.NewServer,
		Logger:           log.Named("go-plugin"),
	})
}

// dropped is the line that tells of n lines that the host didn't read.
func dropped(o hclog.LoggerOptions, n uint64) []byte {
	var line bytes.Buffer
	o.Output = &line
	hclog.New(&o).Warn(fmt.Sprintf("%d lines dropped: the host did not read them", n))
	return line.Bytes()
}

// direct notes where the session is, and keeps os.Stderr the process's own. go-plugin, once it serves, leads it
// through its connection, where the last words of a process that exits are lost.
type direct struct {
	wire.PluginServer
	stderr *os.File
	now    *atomic.Int32
}

// Session is the life that signals must not end.
func (d direct) Session(rpc wire.Plugin_SessionServer) error {
	d.now.CompareAndSwap(starting, serving)
	return d.PluginServer.Session(rpc)
}

// Configure comes after go-plugin's change, and before the first line of the
// plugin's own code.
func (d direct) Configure(ctx context.Context, r *wire.ConfigureRequest) (*wire.ConfigureReply, error) {
	os.Stderr = d.stderr
	return d.PluginServer.Configure(ctx, r)
}

func byHand(p *Plugin) string {
	self, err := os.Executable()
	if err != nil {
		self = "FILE"
	}
	return fmt.Sprintf(`%[1]s %[2]s is a plugin of balhost: it does nothing when started by hand.
Drop it into the plugins folder of a host, under the name %[1]q; a running host takes it at once:

	cp %[3]s plugins/%[1]s

Then "balhost status" shows it there.
`, p.Name, p.Version, self)
}
