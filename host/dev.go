package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"balhost/host/internal/ccssim"
	"balhost/host/internal/config"
	"balhost/host/internal/daemon"
	"balhost/sdk/outlet"
)

// devFlags are the flags of dev.
type devFlags struct {
	config  string
	devices int
	rate    float64
	http    string
	gateway string
	plain   bool
	plugins []string
	debug   bool
	stdin   bool
}

func devCommand() *cobra.Command {
	var f devFlags
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run host, simulators and virtual devices together, to try plugins",
		Long: `Runs everything that a plugin needs in one terminal: the CCS simulator at the
address of the config's session with ccs, the host with the plugins in its plugins folder,
and virtual devices that send to them. Google shut down its own CCS in 2024.
Beside it runs a simulator of FCM's HTTP v1, which reaches today's phones. It serves
the config's session with fcm_v1, whatever its endpoint and credentials are, as long
as the files that it names are there; if there is no such session, one called
"phones" is added. Nothing of these leaves this machine. If no session has a gateway,
this one gets one on loopback: virtual phones send through it, others are connected to
it by WebSocket, and a page to chat in your browser is at http://127.0.0.1:5280/chat/.

You can put your own plugin into the plugins folder while it runs. Over HTTP you
can make the simulator drain, cut, nack or freeze; see "balhost sim --help". The
FCM simulator's control is at /fcm/ and the name of its session. On a
terminal there is a live view, and the log goes to dev.log in data_dir. Without a
terminal both are printed as lines.

With --plugin it builds your plugin, puts it into the plugins folder, and does both
again whenever you save a file of it. If a build fails, the plugin that runs goes on.
The plugin's name is its folder's. An executable file "build" in the folder builds it,
and leaves it at out/NAME: an executable file, or a folder with one named "plugin". A
folder of Go needs no such file, and neither does a file, or a folder that is a plugin
as it is. You see the compiler's errors, the plugin's log, and what virtual devices get.
A line that you type is sent by a virtual device: DEVICE, a category if it is not the
plugin's first one, and JSON or key=value. No other devices send, unless you give
--devices. With --debug it is built for a debugger and may stand in one (debug = true
in the config); BALHOST_DEBUG=1 is set for its build and in its process.`,
		Example: `  balhost dev
  balhost dev --devices 1000 --rate 5000
  balhost dev --plugin ./weather   # and then type: phone-1 {"city":"Oslo"}
  balhost dev --devices 0          # only what you send yourself:
  curl -d '{"from":"phone-1","category":"com.example.echo","data":{"hello":"world"}}' http://127.0.0.1:5280/upstream
  balhost send --session phones --to phone-7 --data '{"hello":"world"}'
  curl http://127.0.0.1:5280/fcm/phones/devices/phone-7   # what the virtual phone has got
  balhost device listen --url http://127.0.0.1:5281 --token devtoken --from phone-7   # be that phone`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(f.config)
			if err != nil {
				return err
			}
			if len(f.plugins) > 0 && !cmd.Flags().Changed("devices") {
				f.devices = 0
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGHUP) // sent when the terminal is closed
			defer stop()
			return dev(ctx, cfg, f, cmd)
		},
		Annotations: map[string]string{stopsWithin: daemon.StopLimit.String()},
	}
	cmd.Flags().StringVarP(&f.config, "config", "c", defaultConfig, "the config `file`")
	cmd.Flags().IntVar(&f.devices, "devices", 50, "virtual devices that send to com.example.echo and chat in com.example.chatroom; 0: none, and no news for virtual phones")
	cmd.Flags().Float64Var(&f.rate, "rate", 100, "messages a second to com.example.echo, all devices together")
	cmd.Flags().StringVar(&f.http, "http", "127.0.0.1:5280", "the address of the simulator's HTTP control")
	cmd.Flags().StringVar(&f.gateway, "gateway", "127.0.0.1:5281", "the address of the gateway that dev adds")
	cmd.Flags().StringArrayVar(&f.plugins, "plugin", nil, "a plugin's `folder` or file: build it and swap it in at each save; can be given again")
	cmd.Flags().BoolVar(&f.debug, "debug", false, "let the plugins of --plugin stand in a debugger")
	cmd.Flags().BoolVar(&f.stdin, "stdin", false, "with --plugin: send the lines of stdin, although it is no terminal")
	cmd.Flags().BoolVar(&f.plain, "plain", false, "print lines instead of the live view, also on a terminal")
	return cmd
}

// devLimits are the disk limits of a demo, which must run on any laptop.
func devLimits(l config.Ledger) config.Ledger {
	l.DiskSoft, l.DiskHard, l.Ballast = min(l.DiskSoft, 64<<20), min(l.DiskHard, 16<<20), 0
	return l
}

// dev runs until ctx ends. The simulator starts first and stops last.
func dev(ctx context.Context, cfg config.Config, f devFlags, cmd *cobra.Command) (err error) {
	own, err := newWorkshop(f)
	if err != nil {
		return err
	}
	cfg.Ledger = devLimits(cfg.Ledger)
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("make data_dir: %w", err)
	}
	if err := own.open(cfg); err != nil {
		return err
	}
	live := isTerminal(cmd.OutOrStdout()) && !f.plain
	logTo, closeLog, err := devLog(cfg, live, cmd)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLog()) }()
	screen := outlet.New(behind(cmd.OutOrStdout())) // passes the live view's escapes; Ctrl-S must not stop the host
	screen.Notice(func(uint64) []byte { return nil })
	defer screen.Close(lastWords)
	seen := newConsole(own, view{out: screen, file: cmd.OutOrStdout(), live: live})
	log := seen.logger(cfg.Log, logTo)

	sim, err := devSimulator(cfg, seen, log.Named("sim"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sim.Close()) }()
	control, err := net.Listen("tcp", f.http)
	if err != nil {
		return fmt.Errorf("simulator's HTTP control: %w; name a free address with --http", err)
	}
	defer control.Close()
	gateway, err := newDevGateway(cfg, f.gateway)
	if err != nil {
		return err
	}
	gateway.page = control.Addr().String()
	phones, err := devPhones(cfg, gateway, seen, log.Named("fcm-sim"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, phones.close()) }()
	if cfg, err = phones.point(cfg); err != nil {
		return err
	}
	cfg = own.configure(gateway.add(cfg))
	mux := http.NewServeMux()
	mux.Handle("/", sim.Handler())
	phones.handle(mux)
	gateway.handle(mux)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	client, err := clientAt(addressOf(cfg.Admin))
	if err != nil {
		return err
	}
	defer client.Close()

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := server.Serve(control); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error { <-ctx.Done(); return server.Close() })
	g.Go(func() error {
		return daemon.Run(ctx, cfg, daemon.Options{
			Version: version(), Log: log, LogStats: logStats(logTo), StopTimeout: time.Second, Device: "http://" + control.Addr().String(),
			Load: func() (config.Config, error) {
				cfg, err := config.Load(f.config)
				if err != nil {
					return cfg, err
				}
				cfg.Ledger = devLimits(cfg.Ledger)
				cfg, err = phones.point(cfg)
				return own.configure(gateway.add(cfg)), err
			},
			Exit:    func(code int) { exit(cmd.ErrOrStderr(), code) },
			Overdue: func() { overdue(cmd.ErrOrStderr(), daemon.StopLimit) },
		})
	})
	if len(withCCS(cfg.Sessions)) > 0 {
		g.Go(func() error { return devTraffic(ctx, sim, f) })
	}
	if f.devices > 0 {
		g.Go(func() error { return phones.traffic(ctx, client) })
		g.Go(func() error { return gateway.sockets(ctx) })
	}
	seen.sim, seen.phones, seen.gateway, seen.host, seen.config, seen.http = sim, phones, gateway, client, cfg, control.Addr().String()
	seen.greet(cmd.InOrStdin())
	g.Go(func() error { return seen.run(ctx, cmd.InOrStdin()) })
	g.Go(func() error { return own.run(ctx, cfg, seen.tell) })
	if err := g.Wait(); !errors.Is(err, errUnread) {
		return err
	}
	return nil // the reader has seen enough
}

// devLogName is the log of dev on a terminal, in data_dir.
const devLogName = "dev.log"

// devLog is where the host's log goes: to dev.log if there is a live view, else with the lines.
func devLog(cfg config.Config, live bool, cmd *cobra.Command) (io.Writer, func() error, error) {
	if !live {
		return cmd.ErrOrStderr(), func() error { return nil }, nil
	}
	file, err := os.OpenFile(filepath.Join(cfg.DataDir, devLogName), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("open the log: %w", err)
	}
	w := outlet.New(file)
	return w, func() error { w.Close(lastWords); return file.Close() }, nil
}

// withCCS are the sessions with a block ccs.
func withCCS(all []config.Session) []config.Session {
	return slices.DeleteFunc(slices.Clone(all), func(s config.Session) bool { return s.CCS == nil })
}

// devSimulator is a simulator that every session with a block ccs can log in to. All
// of them share it, so they must have its address.
func devSimulator(cfg config.Config, seen *console, log hclog.Logger) (*ccssim.Server, error) {
	sessions := withCCS(cfg.Sessions)
	if len(sessions) == 0 { // nobody logs in to it
		return ccssim.NewServer(ccssim.Options{Listen: "127.0.0.1:0", CAFile: filepath.Join(cfg.DataDir, "sim-ca.pem"), Log: log, OnReceive: seen.byCCS})
	}
	first := sessions[0]
	o := ccssim.Options{
		Listen: first.CCS.Address, CAFile: first.CCS.TLS.CAFile, SenderID: first.SenderID, ServerKey: first.CCS.ServerKey.Reveal(),
		Senders: map[string]string{}, Log: log, OnReceive: seen.byCCS,
	}
	if o.CAFile == "" {
		return nil, wrongConfig{fmt.Errorf("session %q has no ccs.tls.ca_file: balhost dev writes the simulator's certificate there, so that the host trusts it", first.Name)}
	}
	for _, s := range sessions[1:] {
		if s.CCS.Address == o.Listen {
			o.Senders[s.SenderID] = s.CCS.ServerKey.Reveal()
		}
	}
	host, _, err := net.SplitHostPort(o.Listen)
	if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, wrongConfig{fmt.Errorf("session %q connects to %s: balhost dev runs a simulator, so the address must be on this machine, such as 127.0.0.1:5236", first.Name, o.Listen)}
	}
	if err := os.MkdirAll(filepath.Dir(o.CAFile), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of ca_file: %w", err)
	}
	sim, err := ccssim.NewServer(o)
	if err != nil {
		return nil, fmt.Errorf("start the simulator: %w; is balhost dev already running? The address comes from the session in the config", err)
	}
	return sim, nil
}

// devTraffic makes virtual devices send: a steady load to echo, and people who chat in
// two rooms.
func devTraffic(ctx context.Context, sim *ccssim.Server, f devFlags) error {
	if f.devices <= 0 {
		return nil
	}
	if err := sim.StartDevices(ccssim.Devices{Count: f.devices, Rate: f.rate, Category: "com.example.echo", Data: map[string]string{"text": "hello"}}); err != nil {
		return usagef("--devices, --rate: %v", err)
	}
	say := func(i int, data map[string]string) {
		data["room"] = room(i)
		sim.Upstream(fmt.Sprintf("guest-%d", i), chatroom, data)
	}
	const people = 6
	for i := range people {
		say(i, map[string]string{"do": "join", "name": fmt.Sprintf("guest %d", i)})
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			sim.StopDevices()
			return nil
		case <-tick.C:
			say(n%people, map[string]string{"do": "say", "text": fmt.Sprintf("line %d", n)})
		}
	}
}
