package main

import (
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"balhost/host/internal/admin"
)

func sendCommand() *cobra.Command {
	var (
		where  clientFlags
		m      admin.Message
		ttl    time.Duration
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "send (--to TOKEN | --fid ID | --topic NAME | --condition EXPR) [--data JSON] [--notification JSON]",
		Short: "Send a message to a device, a topic or a condition",
		Long: `Gives a message to the running host, and prints its id when the message is on disk.
From then on the host takes care of it; balhost status counts the outcomes. If you
send it again with the same --id and the same content, byte for byte, it is the same
message; so give --not-before a date then, as 10m is another one each time.`,
		Example: `  balhost send --to tokA --data '{"k":"v"}'
  balhost send --fid cX_installation_id --data '{"k":"v"}' --android '{"priority":"HIGH"}'
  balhost send --topic news --notification '{"title":"Hello"}' --ttl 1h
  balhost send --to tokA --data '{"k":"v"}' --not-before 10m --replace reminder
  balhost send --condition "'a' in topics && 'b' in topics" --data '{"k":"v"}'`,
		Args: arguments(0, 0),
		PreRunE: func(cmd *cobra.Command, _ []string) error {
			given := 0
			for _, name := range []string{"to", "fid", "topic", "condition"} {
				if cmd.Flags().Changed(name) {
					given++
				}
			}
			if given != 1 {
				return usagef("want one recipient: --to, --fid, --topic or --condition")
			}
			if cmd.Flags().Changed("ttl") {
				if ttl%time.Second != 0 {
					return usagef("--ttl %s: want whole seconds, as FCM counts", ttl)
				}
				seconds := int64(ttl / time.Second)
				m.TimeToLive = &seconds
			}
			return nil
		},
		RunE: where.ask(func(cmd *cobra.Command, client *admin.Client, _ []string) error {
			id, err := client.Send(cmd.Context(), m)
			if err != nil {
				return err
			}
			return printDone(cmd, asJSON, map[string]string{"message_id": id}, id)
		}),
	}
	where.add(cmd)
	f := cmd.Flags()
	f.StringVar(&m.Token, "to", "", "registration `token` of the device")
	f.StringVar(&m.FID, "fid", "", "Firebase installation `id` of the device; only FCM's HTTP v1 knows it")
	f.StringVar(&m.Topic, "topic", "", "topic `name`, without /topics/")
	f.StringVar(&m.Condition, "condition", "", "`expression` over topics")
	f.Var((*jsonFlag)(&m.Data), "data", "payload for the app: a `JSON` object with string values")
	f.Var((*jsonFlag)(&m.Notification), "notification", "what the device shows: a `JSON` object with string values")
	f.Var((*jsonFlag)(&m.Android), "android", "raw block for Android, a `JSON` object; only FCM's HTTP v1 takes it, as the next two")
	f.Var((*jsonFlag)(&m.APNS), "apns", "raw block for Apple's devices, a `JSON` object")
	f.Var((*jsonFlag)(&m.Webpush), "webpush", "raw block for browsers, a `JSON` object")
	f.DurationVar(&ttl, "ttl", 0, "how long FCM keeps trying; 0s: deliver now or never (default: FCM's four weeks)")
	f.StringVar(&m.Priority, "priority", "", "normal or high")
	f.StringVar(&m.CollapseKey, "collapse-key", "", "`key` of messages that replace each other")
	f.BoolVar(&m.DryRun, "dry-run", false, "let FCM check the message without delivering it")
	f.BoolVar(&m.ReceiptRequested, "receipt", false, "ask for a delivery receipt")
	f.StringVar(&m.Group, "group", "", "`name` of a group; its messages go out one after the other")
	f.Var((*timeFlag)(&m.NotBefore), "not-before", "do not send it before this `time`: from now (10m), or a date (2026-12-24T18:00:00Z); the TTL begins then")
	f.StringVar(&m.Replace, "replace", "", "`key` of a message that takes the place of an older one with the same key, recipient and session, if that has not gone out yet")
	f.StringVar(&m.Session, "session", "", "`name` of the session in config.hcl (default: the only one)")
	f.StringVar(&m.MessageID, "id", "", "message `id` (default: the host makes one)")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// timeFlag is a flag whose value is a moment: how long from now, or a date in RFC 3339.
type timeFlag time.Time

func (f *timeFlag) String() string {
	if t := time.Time(*f); !t.IsZero() {
		return t.Format(time.RFC3339)
	}
	return ""
}

func (f *timeFlag) Set(text string) error {
	if d, err := time.ParseDuration(text); err == nil {
		*f = timeFlag(time.Now().Add(d))
		return nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return err
	}
	*f = timeFlag(t)
	return nil
}

func (f *timeFlag) Type() string { return "time" }

// jsonFlag is a flag whose value is JSON; nil when it was not given.
type jsonFlag json.RawMessage

func (j *jsonFlag) String() string { return string(*j) }
func (*jsonFlag) Type() string     { return "JSON" }

func (j *jsonFlag) Set(text string) error {
	if text == "" {
		return nil
	}
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return err
	}
	*j = jsonFlag(text)
	return nil
}
