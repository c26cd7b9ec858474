package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"balhost/host/internal/fcmsim"
)

// Where the FCM simulator is, unless flags say otherwise.
const (
	fcmListen  = "127.0.0.1:8444"
	fcmControl = "127.0.0.1:8480"
)

// fcmFlags are the flags of sim that only --fcm has.
type fcmFlags struct {
	on      bool
	options fcmsim.Options
	delay   []time.Duration
	gateway fcmsim.Gateway
	only    []string // their names
}

// both are the flags of sim that both simulators have.
var both = []string{"listen", "http", "ca-file", "sender-id", "idle-timeout", "transcript", "json", "quiet", "help"}

const fcmHelp = `FCM. With --fcm it simulates Firebase Cloud Messaging's HTTP v1 API: TLS with HTTP/2
and HTTP/1.1, bearer tokens for a service account of its own, the API's checks of a
message, its quotas and all its errors. Nothing reaches a real device. Senders must
trust --ca-file, and take their account from --key-file, which every start writes: its
token_uri is the simulator. Any sender will do whose endpoint can be set, with
SSL_CERT_FILE=data/sim-ca.pem and GOOGLE_APPLICATION_CREDENTIALS=data/fcm-key.json.

Virtual devices are there when something is sent to them. They remember what they
got, and count how often the same data.bal_id came. You control it over HTTP, in JSON:

  curl -d '{"answer":"unavailable","count":3,"retry_after":"30"}'  FCM/answer  # the next three
  curl -d '{"answer":"unregistered","target":"gone-*","count":-1}' FCM/answer  # always
  curl -d '{"answer":"unavailable","deliver":true}'    FCM/answer    # deliver it, and deny that: a duplicate comes
  curl -d '{"reset":"REFUSED_STREAM"}'                 FCM/answer    # or "cut":"rst", "hang":true, "delay":"5s"
  curl -d '{"status":418,"body":"{}","bal_id":"m1"}'   FCM/answer    # any answer; also header, gzip, size, short, early
  curl -d '{"answer":"invalid_grant","token":true}'    FCM/answer    # for the next request for a bearer token
  curl FCM/answers               the names of answers, with what each is
  curl -X DELETE                                       FCM/answers   # no more of these
  curl -d '{"drop":2}'                                 FCM/goaway    # the newest two were not done; also code, text, conn
  curl -d '{"mode":"rst"}'                             FCM/cut       # fin, rst or blackhole; "lose": nothing in flight is delivered
  curl -d '{"on":true}'                                FCM/freeze    # reads and writes nothing until {"on":false}
  curl -d '{"expires_in":"5s","revoke":true}'          FCM/token     # also "clock":"10m": the server is ahead
  curl FCM/token                 a bearer token, in "access_token", for the header "Authorization: Bearer …"
  curl -X POST                                         FCM/rotate-key # prints a new key and writes it to --key-file; the old one is refused from now on
  curl -d '{"project":600,"target":60,"topic":10}'     FCM/quota     # messages a minute; 0 means no limit
  curl -d '{"token":"t1","fid":"f1","by":"fid"}'       FCM/devices   # one install: now its token is UNREGISTERED
  curl -d '{"from":"t1","category":"com.example.echo","data":{"k":"v"}}' FCM/upstream # to the gateway of --gateway
  curl -d '{"target":"t1","on":false}'                 FCM/online    # what is sent waits until {"on":true}
  curl -d '{"target":"t1"}'                            FCM/uninstall
  curl FCM/devices/t1            what it got: data, order, duplicates; of a topic: FCM/devices/topics/NAME
  curl FCM/report                all counts, sends by status, connections; FCM/counts are the counts alone
  curl FCM/transcript            the last requests, without credentials

FCM stands for http://127.0.0.1:8480, or the address of --http.`

// add adds the flags that only --fcm has.
func (f *fcmFlags) add(flags *pflag.FlagSet) {
	o := &f.options
	own := pflag.NewFlagSet("fcm", pflag.ContinueOnError)
	own.StringVar(&o.KeyFile, "key-file", "data/fcm-key.json", "the service account's key `file` for senders, with --fcm")
	own.StringVar(&o.Project, "project", fcmsim.DefaultProject, "the project's id, with --fcm")
	own.DurationSliceVar(&f.delay, "answer-delay", nil, "time until a request is answered, with --fcm: `MIN` or MIN,MAX")
	own.IntVar(&o.Quota, "quota", 600_000, "messages a minute of the project, with --fcm; 0: no limit")
	own.IntVar(&o.TargetQuota, "target-quota", 0, "messages a minute to one token or FID, with --fcm; 0: no limit")
	own.IntVar(&o.TopicQuota, "topic-quota", 0, "messages a minute to one topic or condition, with --fcm; 0: no limit")
	own.IntVar(&o.MaxStreams, "max-streams", 100, "requests at once on an HTTP/2 connection, with --fcm")
	own.BoolVar(&o.HTTP1Only, "http1", false, "no HTTP/2, with --fcm")
	own.DurationVar(&o.ExpiresIn, "expires-in", 3599*time.Second, "how long a bearer token is good, with --fcm")
	own.DurationVar(&o.PingEvery, "ping-every", 0, "end a connection whose client pings more often, with --fcm; 0: never")
	own.IntVar(&o.Remember, "remember", 1000, "messages remembered for each device, to know duplicates, with --fcm")
	own.BoolVar(&o.Throttle, "throttle", false, "delay collapsible messages to one device as FCM does, with --fcm")
	own.StringVar(&f.gateway.URL, "gateway", "", "the `URL` of balhost's gateway, to which devices send receipts and upstreams, with --fcm")
	own.StringVar(&f.gateway.Token, "gateway-token", "", "the bearer `token` of all these devices, with --fcm")
	own.BoolVar(&o.Grease, "grease", false, "add what no client knows to answers, with --fcm")
	own.VisitAll(func(flag *pflag.Flag) { f.only = append(f.only, flag.Name) })
	flags.BoolVar(&f.on, "fcm", false, "simulate FCM's HTTP v1 API in place of CCS")
	flags.AddFlagSet(own)
}

// check refuses flags of the other simulator.
func (f *fcmFlags) check(flags *pflag.FlagSet) error {
	var wrong error
	flags.Visit(func(flag *pflag.Flag) {
		switch mine := slices.Contains(f.only, flag.Name); {
		case wrong != nil || flag.Name == "fcm" || slices.Contains(both, flag.Name):
		case f.on && !mine:
			wrong = usagef("--%s is for the CCS simulator: leave it out, or --fcm", flag.Name)
		case !f.on && mine:
			wrong = usagef("--%s is for the FCM simulator: add --fcm, or leave it out", flag.Name)
		}
	})
	return wrong
}

// simFCM runs the FCM simulator until ctx ends, and reports.
func simFCM(ctx context.Context, f simFlags, cmd *cobra.Command) error {
	o := f.fcm.options
	o.Listen, o.CAFile, o.SenderID, o.Transcript = f.options.Listen, f.options.CAFile, f.options.SenderID, f.options.Transcript
	flags := cmd.Flags()
	if !flags.Changed("listen") {
		o.Listen = fcmListen
	}
	if !flags.Changed("http") {
		f.http = fcmControl
	}
	if flags.Changed("idle-timeout") {
		if o.IdleTimeout = f.options.IdleTimeout; o.IdleTimeout == 0 {
			o.IdleTimeout = -1
		}
	}
	if o.Quota == 0 {
		o.Quota = -1
	}
	if f.fcm.gateway.URL != "" {
		o.Gateway = &f.fcm.gateway
	}
	var err error
	if o.AnswerDelay.Min, o.AnswerDelay.Max, err = span("answer-delay", f.fcm.delay); err != nil {
		return err
	}
	o.Log = simLog(f, cmd)
	s, err := openSim(f.http, o, fcmsim.NewServer)
	if err != nil {
		return err
	}
	defer s.Close()
	out := cmd.OutOrStdout()
	ready := func(control string) error { return fcmReady(out, s, control, f.json) }
	if err := serveSim(ctx, f.http, s.Handler(), ready); err != nil {
		return err
	}
	return fcmEnd(out, s.Report(), f.json)
}

// fcmReady prints that senders can connect, and where. Scripts wait for it.
func fcmReady(out io.Writer, s *fcmsim.Server, control string, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(map[string]string{
			"event": "ready", "simulator": "FCM", "fcm": s.URL(), "http": "http://" + control, "ca_file": s.CAFile(),
			"key_file": s.KeyFile(), "project": s.Project(), "sender_id": s.SenderID(),
		})
	}
	_, err := fmt.Fprintf(out, `This is a simulator of FCM: no message reaches a real device.
project   %s, number %s, ca_file %s, credentials %s
control   http://%s (see balhost sim --help)
ready     %s
`, s.Project(), s.SenderID(), s.CAFile(), s.KeyFile(), control, s.URL())
	return err
}

// fcmEnd prints the final report.
func fcmEnd(out io.Writer, r fcmsim.Report, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(map[string]any{"event": "end", "report": r})
	}
	var by []string
	for _, status := range slices.Sorted(maps.Keys(r.ByStatus)) {
		by = append(by, fmt.Sprintf("%s: %d", status, r.ByStatus[status]))
	}
	_, err := fmt.Fprintf(out, `sends        %d (%s)
messages     %d delivered, %d of them with an id that the device had before
connections  %d dialled, at most %d at once, at most %d requests at once
tokens       %d given, %d requests for one refused
`, r.Sends, strings.Join(by, ", "), r.Delivered, r.Duplicates, r.Connections, r.MostConnections, r.MostStreams, r.Tokens, r.TokensRefused)
	return err
}
