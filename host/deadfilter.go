package main

import (
	"time"

	"github.com/spf13/cobra"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
	"balhost/host/internal/told"
)

// deadFilter is the flags that say which dead letters are meant.
type deadFilter struct{ entry.DeadFilter }

func (f *deadFilter) add(cmd *cobra.Command) {
	to := cmd.Flags()
	to.StringVar(&f.Device, "device", "", "only those of the device with this `token`, or with this beginning of it and …")
	to.StringVar(&f.Category, "category", "", "only those with this `category`")
	to.StringVar(&f.Plugin, "plugin", "", "only those that the plugin with this `name` tried last")
	to.StringVar(&f.Kind, "kind", "", "only `upstream`, outcome, receipt or timer")
	to.StringVar(&f.Reason, "reason", "", "only those with this `text` in their reason")
	to.Var((*pastFlag)(&f.Since), "since", "only those that died since this `time`: such as 14:03, \"2026-01-02 14:03\", or 2h for two hours ago")
	to.Var((*pastFlag)(&f.Until), "until", "only those that died before this `time`")
}

func (f *deadFilter) check() error {
	if err := admin.CheckKind(f.Kind); err != nil {
		return usagef("--%v", err)
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Until.After(f.Since) {
		return usagef("--until is not after --since")
	}
	return nil
}

// pastFlag is a flag whose value is a moment, as [told.Moment] reads it.
type pastFlag time.Time

func (f *pastFlag) String() string { return (*timeFlag)(f).String() }
func (f *pastFlag) Type() string   { return "past" }

func (f *pastFlag) Set(text string) error {
	at, err := told.Moment(text, time.Now())
	*f = pastFlag(at)
	return err
}
