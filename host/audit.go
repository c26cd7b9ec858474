package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"balhost/host/internal/admin"
)

func auditCommand() *cobra.Command {
	var (
		where = &clientFlags{}
		q     admin.AuditQuery
	)
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show who changed what of the running host, and who was not allowed to",
		Long: `The host keeps an audit log: who changed what, when, and from where, by the API, the
page and signals; who saw what only an admin may see, such as the form that erases a device
(GET); and who was not allowed to. It holds no payloads and no tokens. What
programs do often, such as sending, is one line a minute of each.
The files are audit.jsonl, audit.1.jsonl and so on in data_dir, the oldest with the
highest number; the last 20 MiB are kept. This needs a token of the role admin.`,
		Example: `  balhost audit
  balhost audit --since 8h --who night
  balhost audit --path /v1/reload --json | jq '.entries[].did'`,
		Args: arguments(0, 0),
		PreRunE: func(*cobra.Command, []string) error {
			if q.Limit < 1 || q.Limit > 1000 {
				return usagef("--limit %d: want 1 to 1000", q.Limit)
			}
			return nil
		},
	}
	where.add(cmd)
	cmd.Flags().Var((*pastFlag)(&q.Since), "since", "only from this `time` on: such as 14:03, \"2026-01-02 14:03\", or 8h for eight hours ago")
	cmd.Flags().Var((*pastFlag)(&q.Until), "until", "only before this `time`")
	cmd.Flags().StringVar(&q.Who, "who", "", "only where this `text` is a part of who it was")
	cmd.Flags().StringVar(&q.Path, "path", "", "only where this `text` is a part of the path")
	cmd.Flags().IntVar(&q.Limit, "limit", 100, "show at most this many, the newest")
	shows(cmd, where, func(ctx context.Context, c *admin.Client) (admin.AuditPage, error) { return c.Audit(ctx, q) }, printAudit)
	return cmd
}

func printAudit(out io.Writer, page admin.AuditPage) error {
	if len(page.Entries) == 0 {
		_, err := fmt.Fprintln(out, "nobody did anything that fits")
		return err
	}
	if page.More {
		if _, err := fmt.Fprintln(out, "older entries fit too; --limit shows up to 1000"); err != nil {
			return err
		}
	}
	t := newTable(out, zoned("AT", time.Now()), "WHO", "FROM", "STATUS", "TIMES", "DID")
	for _, e := range page.Entries {
		did, times, status := e.Did, "", ""
		if did == "" {
			did = e.Method + " " + e.Path
		}
		if e.Times > 0 {
			times = fmt.Sprint(e.Times)
		}
		if e.Status > 0 {
			status = fmt.Sprint(e.Status)
		}
		t.row(e.At.Local().Format(time.DateTime), e.Who, e.Address, status, times, did)
	}
	return t.flush()
}
