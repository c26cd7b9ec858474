package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"balhost/host/internal/admin"
)

// pendingFilter is the flags that say which pending messages are meant.
type pendingFilter struct {
	session, device, plugin, category, group, reason string

	age time.Duration
}

func (f *pendingFilter) add(cmd *cobra.Command) {
	to := cmd.Flags()
	to.StringVar(&f.session, "session", "", "only those of the session with this `name`")
	to.StringVar(&f.device, "device", "", "only those of the device with this whole `token` or FID; or to /topics/NAME")
	to.StringVar(&f.group, "group", "", "only downstreams of this `group`, with their outcomes and receipts")
	to.DurationVar(&f.age, "min-age", 0, "only those that came so `long` ago")
}

// any reports whether it selects all messages.
func (f *pendingFilter) any() bool { return *f == pendingFilter{} }

func (f *pendingFilter) check() error {
	if f.age < 0 {
		return usagef("--min-age %s: want a time such as 90s or 2h", f.age)
	}
	return nil
}

// narrow adds the filter to a query.
func (f *pendingFilter) narrow(q admin.MessageQuery) admin.MessageQuery {
	q.Session, q.Device, q.Plugin, q.Category, q.Group = f.session, f.device, f.plugin, f.category, f.group
	q.Text, q.MinAge, q.Limit = f.reason, f.age, 1000
	return q
}

// idsOf collects the ids of all messages that q finds, by their sessions. It does so before
// anything is done, so none is found twice.
func idsOf(ctx context.Context, client *admin.Client, q admin.MessageQuery) (bySession map[string][]string, n int, err error) {
	bySession = map[string][]string{}
	for {
		page, err := client.Messages(ctx, q)
		if err != nil {
			return nil, 0, err
		}
		for i := range page.Messages {
			r := &page.Messages[i]
			bySession[r.Session] = append(bySession[r.Session], r.ID)
			n++
		}
		if q.After = page.Next; q.After == "" {
			return bySession, n, nil
		}
	}
}
