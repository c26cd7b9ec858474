package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"balhost/host/internal/devicesim"
	"balhost/host/internal/frame"
)

// deviceFlags are the flags of both device commands.
type deviceFlags struct {
	options devicesim.Options
	token   string
	caFile  string
	timeout time.Duration
	json    bool
}

func deviceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "device",
		Short: "Be a device of a gateway: send to it, and get what comes down",
		Long: `send and listen talk to a gateway as an app on a device does, to try a gateway and its
plugins. They ask no running host, and need no config. bindings and unbind ask the
running host which device belongs to which user.`,
		Example: `  balhost device send --url http://127.0.0.1:5281 --token devtoken --from phone-7 --category com.example.echo text=hello
  balhost device listen --url http://127.0.0.1:5281 --token devtoken --from phone-7
  balhost device bindings alice`,
		Args: subcommandOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(deviceSendCommand(), deviceListenCommand(), bindingsCommand(), unbindCommand())
	return cmd
}

func deviceSendCommand() *cobra.Command {
	var (
		f    deviceFlags
		id   string
		data json.RawMessage
		ttl  time.Duration
	)
	cmd := &cobra.Command{
		Use:   "send --url URL [KEY=VALUE]...",
		Short: "Send one upstream message over HTTP, and wait until the gateway has stored it",
		Long: `Prints the message's id when the gateway has it on disk. Failures that time heals
are tried again, with the same id, until --timeout.`,
		Example: `  balhost device send --url http://127.0.0.1:5281 --token devtoken --from phone-7 --category com.example.echo text=hello
  balhost device send --url https://gateway.example.com:8443 --token "$TOKEN" --data '{"k":{"deep":1}}' --json`,
		Args: arguments(0, 1000),
		RunE: func(cmd *cobra.Command, args []string) error {
			if data != nil && len(args) > 0 {
				return usagef("give --data or KEY=VALUE, not both")
			}
			if len(args) > 0 {
				pairs := map[string]string{}
				for _, arg := range args {
					key, value, ok := strings.Cut(arg, "=")
					if !ok || key == "" {
						return usagef("%q: want KEY=VALUE", arg)
					}
					pairs[key] = value
				}
				data, _ = json.Marshal(pairs) // texts
			}
			return f.send(cmd, frame.Message{MessageID: id, Data: data}, ttl)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.options.Category, "category", "", "the app's package `name`, if the credential doesn't say it")
	cmd.Flags().StringVar(&id, "id", "", "the message's `id` (default: a new one); send it again with the same id and data, and it is stored once")
	cmd.Flags().Var((*jsonFlag)(&data), "data", "the payload, a `JSON` object, in place of KEY=VALUE")
	cmd.Flags().DurationVar(&ttl, "ttl", 24*time.Hour, "how long the message is of use")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 30*time.Second, "how long to try")
	return cmd
}

// send sends one message and says what became of it.
func (f *deviceFlags) send(cmd *cobra.Command, m frame.Message, ttl time.Duration) error {
	var refused error
	f.options.OnSendError = func(_ string, code devicesim.Code, why string) {
		refused = fmt.Errorf("the gateway refused the message: %s (%s)", why, code)
		if f.options.From == "" {
			refused = fmt.Errorf("%w; %s", refused, f.introduced())
		}
	}
	f.options.OnEvent = func(event, about string) { fmt.Fprintf(cmd.ErrOrStderr(), "balhost: %s: %s\n", event, about) }
	f.options.TTL = ttl
	d, err := f.device()
	if err != nil {
		return err
	}
	id, err := d.Send(m)
	if err != nil {
		return usagef("%v", err)
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
	defer cancel()
	err = advised(d.Flush(ctx))
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer that counts within %s; nobody knows whether %s is stored: send it again with --id %[2]s", f.timeout, id)
	} else if errors.Is(err, devicesim.ErrDenied) {
		return fmt.Errorf("%w; %s", err, f.introduced())
	} else if err != nil {
		return err
	}
	if refused != nil {
		return refused
	}
	status, text := frame.Stored, id
	if d.Counts().Duplicates > 0 {
		status, text = frame.Duplicate, id+" (it was stored before)"
	}
	return printDone(cmd, f.json, frame.Result{MessageID: id, Status: status}, text)
}

func deviceListenCommand() *cobra.Command {
	var (
		f      deviceFlags
		count  int
		opened bool
	)
	cmd := &cobra.Command{
		Use:   "listen --url URL",
		Short: "Connect by WebSocket, and print what comes down, one line a message",
		Long: `Acks each message when it is printed. Connects again when the connection is lost, and
ends with 1 when another connection of the same device takes its place.`,
		Example: `  balhost device listen --url http://127.0.0.1:5281 --token devtoken --from phone-7
  balhost device listen --url http://127.0.0.1:5281 --token devtoken --from phone-7 --count 1 --json`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.listen(cmd, count, opened) },
	}
	f.add(cmd)
	cmd.Flags().IntVar(&count, "count", 0, "end after this many messages; 0: go on")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 0, "end after this time, with 1 if --count messages did not come; 0: never")
	cmd.Flags().BoolVar(&opened, "opened", false, "send a receipt OPENED for each message")
	return cmd
}

// listen prints what comes until ctx ends, or count messages were acked.
func (f *deviceFlags) listen(cmd *cobra.Command, count int, opened bool) error {
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	if f.timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, f.timeout)
		defer cancel()
	}
	var d *devicesim.Device
	got, lost := 0, error(nil)
	advice := sync.OnceFunc(func() { fmt.Fprintln(cmd.ErrOrStderr(), "balhost: "+f.introduced()) })
	f.options.OnEvent = func(event, about string) {
		fmt.Fprintln(cmd.ErrOrStderr(), strings.TrimRight("balhost: "+event+" "+about, " "))
		if event == "refused" {
			advice()
		}
	}
	f.options.OnMessage = func(p devicesim.Push) {
		lost = errors.Join(lost, printPush(cmd.OutOrStdout(), p, f.json))
		if opened {
			d.Receipt(p.ID, "OPENED")
		}
		got++
	}
	f.options.OnAcked = func() {
		if count > 0 && got >= count || lost != nil {
			cancel()
		}
	}
	d, err := f.device()
	if err != nil {
		return err
	}
	err = advised(d.Connect(ctx))
	switch {
	case lost != nil:
		return lost
	case err != nil:
		return err
	case count > 0 && got < count && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%d of %d messages came within %s", got, count, f.timeout)
	}
	return nil
}

// printPush prints one downstream: its id and data; with asJSON all of it.
func printPush(out io.Writer, p devicesim.Push, asJSON bool) error {
	f := frame.Frame{Type: frame.TypeDownstream, MessageID: p.ID, Data: p.Data, Notification: p.Notification, CollapseKey: p.CollapseKey, Attempt: p.Attempt}
	if asJSON {
		_, err := fmt.Fprintf(out, "%s\n", f.Append(nil))
		return err
	}
	text := string(p.Data)
	if p.Notification != nil {
		text = strings.TrimLeft(text+" notification "+string(p.Notification), " ")
	}
	_, err := fmt.Fprintf(out, "%s %s\n", p.ID, text)
	return err
}

// advised adds to err what to do when the gateway's certificate is not trusted.
func advised(err error) error {
	if !errors.Is(err, devicesim.ErrUntrusted) {
		return err
	}
	if _, name := errors.AsType[x509.HostnameError](err); name {
		return fmt.Errorf("%w: let --url have the name that the certificate is for", err)
	}
	return fmt.Errorf("%w: if it is the right gateway, give the CA of its certificate with --ca-file", err)
}

// introduced is the advice for a device that the gateway does not let in.
func (f *deviceFlags) introduced() string {
	if f.options.From == "" { // perhaps the token is good
		return "--from was not given: it says who the device is, if the credential doesn't"
	}
	return "is --token one that the gateway takes, and --from the device that it is for?"
}

func (f *deviceFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.options.URL, "url", "", "the gateway's `URL`: http:// or https://, host and port")
	flags.StringVar(&f.token, "token", "", "the credential: a bearer `token` (default: $BALHOST_DEVICE_TOKEN)")
	flags.StringVar(&f.options.From, "from", "", "who the device is, its registration `token` or FID, if the credential doesn't say it")
	flags.StringVar(&f.caFile, "ca-file", "", "PEM `file` with the CA of the gateway's certificate (default: the system's roots)")
	flags.BoolVar(&f.json, "json", false, "print JSON")
	_ = cmd.MarkFlagRequired("url") // the flag is there
}

// device makes it of the flags.
func (f *deviceFlags) device() (*devicesim.Device, error) {
	token := f.token
	if token == "" {
		token = os.Getenv("BALHOST_DEVICE_TOKEN")
	}
	if token == "" {
		return nil, usagef("no credential: give --token, or set BALHOST_DEVICE_TOKEN; and --from, if the credential doesn't say who the device is")
	}
	f.options.Credential = func(context.Context) (devicesim.Credential, error) { return devicesim.Credential{Token: token}, nil }
	if f.caFile != "" {
		text, err := os.ReadFile(f.caFile)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("--ca-file %s: no certificate is in it", f.caFile)
		}
		f.options.TLS = &tls.Config{RootCAs: roots}
	}
	d, err := devicesim.New(f.options)
	if err != nil {
		return nil, usagef("%v", err)
	}
	return d, nil
}
