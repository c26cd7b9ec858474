package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"balhost/host/internal/ccssim"
	"balhost/host/internal/daemon"
)

// simFlags are the flags of sim.
type simFlags struct {
	options  ccssim.Options
	fcm      fcmFlags
	http     string
	ackDelay []time.Duration
	over     string
	json     bool
	quiet    bool
}

func simCommand() *cobra.Command {
	f := simFlags{}
	o := &f.options
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Run a simulator alone: CCS for any CCS client, or FCM's HTTP v1 for any FCM sender",
		Long: `Without --fcm it is CCS, with --fcm it is FCM's HTTP v1 API: see below.

CCS. Simulates Firebase's Cloud Connection Server (CCS) on this machine: direct TLS,
PLAIN login, a window of un-acked upstreams, acks, nacks, draining. Google switched
the real one off in 2024. Nothing reaches a real device. Clients must trust
--ca-file. The first start writes that file, and its key beside it.

Virtual devices (device-1, device-2 …) send upstreams and remember what they got.
An upstream is kept until it is acked on the connection that carries it.

You control it over HTTP, in JSON. Every field is optional except "from", "on" and
"condition":

  curl -d '{"from":"phone-1","category":"com.example.echo","data":{"k":"v"}}' HTTP/upstream
  curl -d '{"from":"t","ack_id":42,"stanza":"<message>…</message>"}' HTTP/upstream # any bytes, kept until acked; "bytes" for base64
  curl -d '{"count":3,"code":"SERVICE_UNAVAILABLE"}'   HTTP/nack     # the next three
  curl -d '{"count":-1,"code":"DEVICE_UNREGISTERED","token":"gone-*"}' HTTP/nack
  curl -d '{"count":2}'                                HTTP/nack     # two never answered
  curl -d '{"token":"poison","stream_error":"invalid-xml"}' HTTP/nack # it ends the stream
  curl -d '{"token":"poison","cut":"rst","count":-1}'  HTTP/nack     # it loses the connection, each time; as in /cut
  curl -X DELETE                                       HTTP/nack     # no more nacks
  curl -d '{"grace":"10s"}'                            HTTP/drain    # then close; also silent, no_upstream, conn
  curl -d '{"mode":"rst","conn":1,"after":100}'        HTTP/cut      # fin, rst or blackhole, after 100 more bytes; "below": within a TLS record
  curl -d '{"on":true}'                                HTTP/freeze   # reads and writes nothing until {"on":false}
  curl -d '{"condition":"system-shutdown"}'            HTTP/stream-error
  curl -d '{"raw":"<message>anything</message>"}'      HTTP/inject
  curl -d '{"token":"old","registration_id":"new"}'    HTTP/canonical
  curl -d '{"count":50,"rate":1000,"limit":30000,"category":"com.example.echo","size":300}' HTTP/devices
  curl -X DELETE                                       HTTP/devices  # stop sending
  curl HTTP/devices/device-1     what it sent and got: ids, data, order, duplicates
  curl HTTP/report               all counts, connections, ack latency
  curl HTTP/acked                token and message id of every acked upstream, one a line
  curl HTTP/transcript           the last stanzas, without credentials

HTTP stands for http://127.0.0.1:5280, or the address of --http.

` + fcmHelp,
		Example: `  balhost sim --devices 100 --rate 500 --category com.example.echo
  balhost sim --devices 100 --rate 0 --limit 1000000 --size 300 --json
  balhost sim --fcm
  balhost sim --fcm --answer-delay 50ms --quota 60000 --grease`,
		Args:        arguments(0, 0),
		RunE:        func(cmd *cobra.Command, _ []string) error { return sim(cmd.Context(), f, cmd) },
		Annotations: map[string]string{stopsWithin: daemon.StopLimit.String()},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Listen, "listen", "127.0.0.1:5236", "where clients connect, with TLS; with --fcm the default is "+fcmListen)
	flags.StringVar(&f.http, "http", "127.0.0.1:5280", "address of its control; with --fcm the default is "+fcmControl+"; only on this machine, because it asks for no password")
	flags.StringVar(&o.CAFile, "ca-file", "data/sim-ca.pem", "the CA `file` that clients must trust; both simulators may share it")
	flags.StringVar(&o.SenderID, "sender-id", ccssim.DefaultSenderID, "the sender id that may log in; the project's number with --fcm")
	flags.StringVar(&o.ServerKey, "server-key", ccssim.DefaultServerKey, "and its password")
	flags.StringToStringVar(&o.Senders, "sender", nil, "more senders, as `ID=KEY`")
	flags.IntVar(&o.Devices.Count, "devices", 0, "virtual devices that send upstream from the start")
	flags.Float64Var(&o.Devices.Rate, "rate", 10, "upstreams a second, all devices together; 0: as fast as the window allows")
	flags.IntVar(&o.Devices.Limit, "limit", 0, "upstreams in total; 0: no limit")
	flags.IntVar(&o.Devices.Size, "size", 0, "pad each upstream's JSON to this many bytes")
	flags.StringVar(&o.Devices.Category, "category", "com.example.echo", "the upstreams' category")
	flags.IntVar(&o.Window, "window", 100, "upstreams un-acked on a connection")
	flags.IntVar(&o.Pending, "pending", 100, "downstreams unanswered on a connection")
	flags.StringVar(&f.over, "over-limit", string(ccssim.OverNack), "what happens to a client that sends more: nack, stop or close")
	flags.DurationSliceVar(&f.ackDelay, "ack-delay", nil, "time until a downstream is answered: `MIN` or MIN,MAX")
	flags.DurationVar(&o.Keepalive, "keepalive", time.Minute, "send a space after this much silence; negative: never")
	flags.DurationVar(&o.IdleTimeout, "idle-timeout", 0, "end a connection whose client sends nothing for this time; 0: never")
	flags.IntVar(&o.Connections, "max-connections", 1000, "connections of a sender at a time")
	flags.BoolVar(&o.Single, "single", false, "allow one connection of a sender: a new one ends the others with a conflict")
	flags.BoolVar(&o.Receipts, "receipts", false, "send delivery receipts when a message asks for them")
	flags.BoolVar(&o.ReceiptFirst, "receipts-first", false, "and send them before the acks")
	flags.BoolVar(&o.TypedControl, "typed-control", false, `write type="normal" on control messages`)
	flags.DurationVar(&o.ResendAfter, "resend-after", 0, "send an upstream again on its connection if it is un-acked for this time; 0: never")
	flags.Float64Var(&o.Duplicates, "duplicates", 0, "probability that an upstream is sent twice")
	flags.IntVar(&o.SplitBytes, "split", 0, "write in pieces of 1 to this many bytes; 0: don't split")
	flags.IntVar(&o.Transcript, "transcript", 1000, "stanzas or requests kept for /transcript; negative: none")
	f.fcm.add(flags)
	flags.BoolVar(&f.quiet, "quiet", false, "print no lines about connections")
	flags.BoolVar(&f.json, "json", false, "print the ready line and the final report as JSON")
	return cmd
}

// sim runs until ctx ends, and reports.
func sim(ctx context.Context, f simFlags, cmd *cobra.Command) error {
	if err := f.fcm.check(cmd.Flags()); err != nil {
		return err
	}
	if f.fcm.on {
		return simFCM(ctx, f, cmd)
	}
	o := f.options
	o.OverLimit = ccssim.OverLimit(f.over)
	var err error
	if o.AckDelay.Min, o.AckDelay.Max, err = span("ack-delay", f.ackDelay); err != nil {
		return err
	}
	o.Log = simLog(f, cmd)
	s, err := openSim(f.http, o, ccssim.NewServer)
	if err != nil {
		return err
	}
	defer s.Close()
	out := cmd.OutOrStdout()
	ready := func(control string) error { return simReady(out, s, control, f.json) }
	if err := serveSim(ctx, f.http, s.Handler(), ready); err != nil {
		return err
	}
	return simEnd(out, s.Report(), f.json)
}

// openSim starts a simulator with options of the command line. Its control will be at
// address.
func openSim[O interface{ Check() error }, S any](address string, o O, open func(O) (S, error)) (S, error) {
	var none S
	if err := onlyHere(address); err != nil {
		return none, err
	}
	if err := o.Check(); err != nil {
		return none, usagef("%v", err)
	}
	s, err := open(o)
	if err != nil {
		return none, fmt.Errorf("start the simulator: %w", err)
	}
	return s, nil
}

// span is what a flag with one or two times means.
func span(flag string, times []time.Duration) (least, most time.Duration, err error) {
	switch len(times) {
	case 0:
		return 0, 0, nil
	case 1:
		return times[0], 0, nil
	case 2:
		return times[0], times[1], nil
	}
	return 0, 0, usagef("--%s has %d values; want one, or two such as 5ms,80ms", flag, len(times))
}

// onlyHere refuses an address of the control that others can reach.
func onlyHere(address string) error {
	if host, _, err := net.SplitHostPort(address); err != nil {
		return usagef("--http: %v", err)
	} else if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return usagef("--http %s: the control asks for no password, so its address must be on this machine, such as 127.0.0.1:5280", address)
	}
	return nil
}

// simLog is the log of a simulator's connections; nil if it is to be quiet.
func simLog(f simFlags, cmd *cobra.Command) hclog.Logger {
	if f.quiet {
		return nil
	}
	return logger(hclog.LoggerOptions{Name: "sim", JSONFormat: f.json}, cmd.ErrOrStderr())
}

// serveSim serves a simulator's control until ctx ends. ready is told its address.
func serveSim(ctx context.Context, address string, control http.Handler, ready func(string) error) error {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("simulator's HTTP control: %w; name a free address with --http", err)
	}
	server := &http.Server{Handler: control, ReadHeaderTimeout: 10 * time.Second}
	if err := ready(ln.Addr().String()); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error { <-ctx.Done(); return server.Close() })
	return g.Wait()
}

// simReady prints that clients can connect, and where. Scripts wait for it.
func simReady(out io.Writer, s *ccssim.Server, control string, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(map[string]string{
			"event": "ready", "simulator": "CCS", "ccs": s.Addr(), "http": "http://" + control,
			"ca_file": s.CAFile(), "sender_id": s.SenderID(), "run": s.Run(),
		})
	}
	_, err := fmt.Fprintf(out, `This is a simulator of CCS: no message reaches a real device.
sender_id %s, ca_file %s, server_name localhost
control   http://%s (see balhost sim --help)
ready     %s
`, s.SenderID(), s.CAFile(), control, s.Addr())
	return err
}

// simEnd prints the final report.
func simEnd(out io.Writer, r ccssim.Report, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(map[string]any{"event": "end", "report": r})
	}
	_, err := fmt.Fprintf(out, `upstreams    %d made, %d acked, %d redelivered, %d acks of upstreams that were not outstanding
ack latency  p50 %v, p99 %v, max %v
downstreams  %d, %d acked, %d nacked, %d over the limit
`, r.Created, r.Acked, r.Redelivered, r.WrongAcks, r.AckLatency.P50, r.AckLatency.P99, r.AckLatency.Max,
		r.Downstreams, r.AckedDown, r.Nacked, r.OverLimit)
	return err
}
