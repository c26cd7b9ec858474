package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
	"balhost/host/internal/plain"
)

func eraseCommand() *cobra.Command {
	var (
		where       clientFlags
		o           admin.EraseOrder
		yes, asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "erase --device TOKEN [--fid FID]",
		Short: "Erase all that the running host has of one device, and prove that it is gone",
		Long: `Without --yes it only shows what there is. With it all of the device goes: messages that
wait, timers, dead letters, what is kept of ended messages, its gateway user, and keys of
plugins' state that name it. No handler runs for them, and no plugin hears of it. Then the
host rewrites the ledger's files and reads every byte of them, until nothing is left.

Not erased are backups and logs from before, what plugins keep elsewhere or under a hash, and
messages that the device sends afterwards. What others have of it, such as another user's
message with its token, is listed and stays. If a handler works on a message of the device,
it is waited for, at most 30 seconds.`,
		Example: `  balhost erase --device "$TOKEN" --fid "$FID"
  balhost erase --device "$TOKEN" --fid "$FID" --values --yes`,
		Args: arguments(0, 0),
		PreRunE: func(*cobra.Command, []string) error {
			if o.Device == "" && o.FID == "" {
				return usagef("say which device: --device TOKEN, --fid FID, or both")
			}
			return nil
		},
		RunE: where.ask(func(cmd *cobra.Command, client *admin.Client, _ []string) error {
			o.Plan = !yes
			did, err := withStages(cmd, client, func(ctx context.Context) (entry.Erased, error) { return client.Erase(ctx, o) })
			if asJSON && err == nil {
				err = printJSON(cmd, did)
			} else if err == nil {
				err = erasePrinter{o}.print(cmd.OutOrStdout(), did)
			}
			if err == nil && yes && !did.Proven {
				err = errors.New("messages of this device came while it was erased: erase it again")
			}
			return err
		}),
	}
	where.add(cmd)
	cmd.Flags().StringVar(&o.Device, "device", "", "the device's registration `token`, whole")
	cmd.Flags().StringVar(&o.FID, "fid", "", "its Firebase installation `id`")
	cmd.Flags().StringVar(&o.Session, "session", "", "only in the session with this `name`")
	cmd.Flags().BoolVar(&o.Values, "values", false, "also delete keys of plugins' state whose values name the device")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// erasePrinter prints for a person what there is of a device, or was.
type erasePrinter struct{ order admin.EraseOrder }

func (p erasePrinter) print(out io.Writer, e entry.Erased) error {
	keys := len(e.Keys) + e.MoreKeys
	if e.Records() == 0 && keys == 0 {
		fmt.Fprintln(out, "nothing of this device is in the ledger's records") //nolint:errcheck // the last write tells
		return p.end(out, e)
	}
	t := newTable(out, "WHAT", "COUNT")
	for _, row := range []struct {
		what string
		n    int
	}{
		{"upstreams that wait", e.Upstreams}, {"outcomes that wait", e.Outcomes}, {"receipts that wait", e.Receipts}, {"timers", e.Timers},
		{"downstreams that wait", e.Downstreams}, {"dead letters", e.Dead}, {"summaries of ended messages", e.Summaries},
		{"remains of ended messages", e.Ended}, {"gateway users who have it", e.Bindings}, {"keys of plugins' state", keys},
	} {
		if row.n > 0 {
			t.row(row.what, row.n)
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	if err := p.keys(out, e); err != nil {
		return err
	}
	return p.end(out, e)
}

// keys lists the keys of plugins' state, and what becomes of them.
func (p erasePrinter) keys(out io.Writer, e entry.Erased) error {
	if len(e.Keys) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(out); err != nil {
		return err
	}
	t := newTable(out, "PLUGIN", "KEY", "WHERE")
	for _, k := range e.Keys {
		where := "in the key"
		if k.InValue {
			where = "in the value: stays without --values"
			if p.order.Values {
				where = "in the value"
			}
		}
		t.row(k.Plugin, k.Key, where)
	}
	if e.MoreKeys > 0 {
		t.row(fmt.Sprint(e.MoreKeys, " more"), "", "")
	}
	return t.flush()
}

// end says what stays, and how it stands with the files.
func (p erasePrinter) end(out io.Writer, e entry.Erased) error {
	if n := len(e.Mentions) + e.MoreMentions; n > 0 {
		fmt.Fprintf(out, "\n%s of others with its name in it; they stay:\n", count(n, "record", "records")) //nolint:errcheck // the last write tells
		for _, m := range e.Mentions {
			fmt.Fprintf(out, "  %s %s\n", m.What, plain.Text(m.ID)) //nolint:errcheck // the last write tells
		}
	}
	var err error
	switch files := count(e.Files, "file", "files"); {
	case p.order.Plan:
		_, err = fmt.Fprintf(out, "\n%s of the ledger have its name. To erase it: the same command with --yes\n", files)
	case e.Files == 0:
		_, err = fmt.Fprintln(out, "\nerased: no file of the ledger has its name any more. Backups and logs from before still may")
	default:
		_, err = fmt.Fprintf(out, "\nerased, but %s of the ledger still have its name, by what stays\n", files)
	}
	return err
}
