package main

import (
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"balhost/host/internal/admin"
)

func sendCommand() *cobra.Command {
	var (
		where              clientFlags
		m                  admin.Message
		data, notification string
		ttl                time.Duration
		asJSON             bool
	)
	cmd := &cobra.Command{
		Use:   "send (--to TOKEN | --topic NAME | --condition EXPR) [--data JSON] [--notification JSON]",
		Short: "Send a message to a device, a topic or a condition",
		Long: `Gives a message to the running host, and prints its id when the message is on disk.
From then on the host takes care of it; balhost status counts the outcomes. If you
send it again with the same --id and the same content, byte for byte, it is the same
message.`,
		Example: `  balhost send --to tokA --data '{"k":"v"}'
  balhost send --topic news --notification '{"title":"Hello"}' --ttl 1h
  balhost send --condition "'a' in topics && 'b' in topics" --data '{"k":"v"}'`,
		Args: arguments(0, 0),
		PreRunE: func(cmd *cobra.Command, _ []string) (err error) {
			given := 0
			for _, name := range []string{"to", "topic", "condition"} {
				if cmd.Flags().Changed(name) {
					given++
				}
			}
			if given != 1 {
				return usagef("want one recipient: --to, --topic or --condition")
			}
			if m.Data, err = jsonFlag("data", data); err != nil {
				return err
			}
			if m.Notification, err = jsonFlag("notification", notification); err != nil {
				return err
			}
			if cmd.Flags().Changed("ttl") {
				if ttl%time.Second != 0 {
					return usagef("--ttl %s: want whole seconds, as CCS counts", ttl)
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
	f.StringVar(&m.Topic, "topic", "", "topic `name`, without /topics/")
	f.StringVar(&m.Condition, "condition", "", "`expression` over topics")
	f.StringVar(&data, "data", "", "payload for the app: a `JSON` object with string values")
	f.StringVar(&notification, "notification", "", "what the device shows: a `JSON` object")
	f.DurationVar(&ttl, "ttl", 0, "how long CCS keeps trying; 0s: deliver now or never (default: CCS's four weeks)")
	f.StringVar(&m.Priority, "priority", "", "normal or high")
	f.StringVar(&m.CollapseKey, "collapse-key", "", "`key` of messages that replace each other")
	f.BoolVar(&m.DryRun, "dry-run", false, "let CCS check the message without delivering it")
	f.BoolVar(&m.ReceiptRequested, "receipt", false, "ask CCS for a delivery receipt")
	f.StringVar(&m.Group, "group", "", "`name` of a group; its messages go out one after the other")
	f.StringVar(&m.Session, "session", "", "`name` of the session in config.hcl (default: the only one)")
	f.StringVar(&m.MessageID, "id", "", "message `id` (default: the host makes one)")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// jsonFlag is a flag's JSON; nil when it was not given.
func jsonFlag(name, text string) (json.RawMessage, error) {
	if text == "" {
		return nil, nil
	}
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return nil, usagef("--%s is not JSON (%v); write for example --%s '{\"k\":\"v\"}'", name, err, name)
	}
	return json.RawMessage(text), nil
}
