package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"balhost/host/internal/admin"
	"balhost/host/internal/config"
	"balhost/host/internal/daemon"
	"balhost/host/internal/doctor"
	"balhost/host/internal/plain"
)

// diagnosis is the result of doctor; its JSON is a contract with scripts.
type diagnosis struct {
	Config   string           `json:"config"` // the file
	Running  bool             `json:"running"`
	Findings []doctor.Finding `json:"findings"` // grave ones first
}

func doctorCommand() *cobra.Command {
	var (
		where           clientFlags
		asJSON, offline bool
	)
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what is wrong with this installation, and what to do",
		Long: `Looks at the config and the files that it names, the clock, the disk, permissions,
limits, the plugins folder, certificates, and whether another host has the ledger. It
asks a running host what it complains of. If none runs, it asks the server of each session
whether it accepts the session, and tries whether the host could listen. It asks the
collector of traces, if the config names one.

It prints what is wrong, and what to do about it, and nothing else. Run it as the
user that the host runs as: sudo -u balhost balhost doctor.

Exit codes: 0 nothing that keeps the host from its work, 1 something does, 78 the
config is wrong.`,
		Example: "  balhost doctor\n  sudo -u balhost balhost doctor -c /etc/balhost/config.hcl\n  balhost doctor --json | jq -r '.findings[].wrong'",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(where.config)
			d := diagnosis{Config: where.config, Findings: []doctor.Finding{}}
			if err == nil {
				err = d.examine(cmd, &where, cfg, offline)
			}
			if wrong := (*config.Error)(nil); errors.As(err, &wrong) && asJSON {
				for _, p := range wrong.Problems {
					d.add("config", true, p.Place+": "+p.Text, p.Write)
				}
				return errors.Join(printJSON(cmd, d), err)
			} else if err != nil {
				return err // of a wrong config: one line for each problem, with its place
			}
			if asJSON {
				err = printJSON(cmd, d)
			} else {
				err = d.print(cmd.OutOrStdout())
			}
			return errors.Join(err, d.verdict())
		},
	}
	where.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&offline, "offline", false, "ask no server")
	return cmd
}

func (d *diagnosis) add(about string, grave bool, wrong, do string) {
	d.Findings = append(d.Findings, doctor.Finding{About: about, Grave: grave, Wrong: wrong, Do: do})
}

// examine looks at everything.
func (d *diagnosis) examine(cmd *cobra.Command, where *clientFlags, cfg config.Config, offline bool) error {
	seen := diagnosis{}
	if err := daemon.Answers("a file or folder that "+where.config+" names", func() error { seen.files(cfg); return nil }); err != nil {
		return err
	}
	d.Findings = append(d.Findings, seen.Findings...)
	if err := daemon.Answers("the disk of data_dir "+cfg.DataDir, func() error { seen.Findings = doctor.This.Look(cfg); return nil }); err != nil {
		d.add("disk", true, err.Error(), "mount it, or take it out of the way")
	} else {
		d.Findings = append(d.Findings, seen.Findings...)
	}
	client, err := where.client(cmd)
	if err != nil {
		return err
	}
	defer client.Close()
	st, err := client.Status(cmd.Context())
	switch {
	case err == nil:
		d.Running = true
		d.complaints(st)
	case !errors.Is(err, admin.ErrNotRunning):
		d.add("host", true, err.Error(), "is it another program's address, or another token? see the admin block of the config")
	default:
		d.Findings = append(d.Findings, doctor.This.Rival(cfg)...)
		d.listens(cfg)
		if !offline {
			d.servers(cmd.Context(), cfg)
		}
	}
	if !offline {
		d.collector(cmd.Context(), cfg)
	}
	slices.SortStableFunc(d.Findings, func(a, b doctor.Finding) int {
		if a.Grave == b.Grave {
			return 0
		} else if a.Grave {
			return -1
		}
		return 1
	})
	return nil
}

// files adds what check finds, and what lies in the data folder.
func (d *diagnosis) files(cfg config.Config) {
	var f findings
	f.look(cfg)
	for _, e := range f.Errors {
		d.add("files", true, e, "")
	}
	plugins := 0
	for _, p := range f.Plugins {
		switch p.Verdict {
		case "refused":
			d.add("plugins", true, fmt.Sprintf("%s is refused: %s", filepath.Join(cfg.PluginsDir, p.Name), p.Reason), "")
		case "plugin":
			plugins++
		}
	}
	for _, err := range f.refusals() { // keys in files
		d.add("session", true, err.Error(), "")
	}
	for _, n := range f.Notes {
		d.add("files", false, n, "")
	}
	if plugins == 0 {
		d.add("plugins", false, fmt.Sprintf("there is no plugin in %s: what comes up is stored, and waits", cfg.PluginsDir), "build one into it: balhost plugin new --help")
	}
	crash := filepath.Join(cfg.DataDir, daemon.CrashFile)
	if info, err := os.Stat(crash); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
		d.add("host", false, fmt.Sprintf("an earlier host crashed at %s: its trace is in %s", info.ModTime().Format("2006-01-02 15:04:05"), crash), "read it, report it, then remove it")
	}
}

// complaints adds what the running host says.
func (d *diagnosis) complaints(st admin.Status) {
	for _, r := range st.Reasons {
		d.add("host", true, r, "")
	}
	for _, w := range st.Warnings {
		d.add("host", false, w, "")
	}
	for _, p := range st.Plugins {
		if p.Refusal != nil && !slices.ContainsFunc(st.Reasons, func(r string) bool { return strings.HasPrefix(r, fmt.Sprintf("plugin %q ", p.Name)) }) {
			d.add("host", false, fmt.Sprintf("plugin %q: its new content was refused: %s", p.Name, p.Refusal.Reason), "put a good one in its place: balhost plugins says what serves meanwhile")
		}
	}
	if mine := version(); st.Version != mine {
		d.add("host", false, fmt.Sprintf("the running host is version %s, and this program is %s", st.Version, mine), "restart the host to run the new one")
	}
}

// collector asks the collector of traces. A running host only counts what that does not take.
func (d *diagnosis) collector(ctx context.Context, cfg config.Config) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := daemon.CheckTracing(ctx, cfg); err != nil {
		d.add("tracing", false, err.Error(), "traces are lost, and messages go on: see the tracing block of the config")
	}
}

// listens tries the addresses that a host would listen on.
func (d *diagnosis) listens(cfg config.Config) {
	try := func(about, what, address string) {
		if strings.HasPrefix(address, "unix:") {
			return // a socket that nobody listens on is replaced at the start
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			d.add(about, true, fmt.Sprintf("the host could not listen on %s: %v", what, err), "another program may have the address: ss -ltnp")
			return
		}
		_ = l.Close() // nothing came
	}
	try("host", "admin.listen "+cfg.Admin.Listen, cfg.Admin.Listen)
	for _, s := range cfg.Sessions {
		if s.Gateway != nil {
			try("session", fmt.Sprintf("%s, the gateway of session %q", s.Gateway.Listen, s.Name), s.Gateway.Listen)
		}
	}
}

// servers asks the servers of all sessions at the same time, and where keys are fetched from.
func (d *diagnosis) servers(ctx context.Context, cfg config.Config) {
	f := findings{}
	cfg.Sessions = slices.DeleteFunc(slices.Clone(cfg.Sessions), func(s config.Session) bool {
		_, err := s.Roots()
		return err != nil // files has said so
	})
	for _, s := range cfg.Sessions {
		f.Sessions = append(f.Sessions, found(s))
	}
	f.ask(ctx, cfg)
	for _, err := range f.refusals() {
		d.add("session", true, err.Error(), "")
	}
}

func (d *diagnosis) print(out io.Writer) error {
	if len(d.Findings) == 0 {
		_, err := fmt.Fprintln(out, "nothing is wrong")
		return err
	}
	for _, f := range d.Findings {
		mark := "warning"
		if f.Grave {
			mark = "WRONG"
		}
		text := fmt.Sprintf("%s: %s: %s\n", mark, f.About, plain.Text(f.Wrong))
		if f.Do != "" {
			text += fmt.Sprintf("    %s\n", plain.Text(f.Do))
		}
		if _, err := io.WriteString(out, text); err != nil {
			return err
		}
	}
	return nil
}

// verdict is the error when something keeps the host from its work.
func (d *diagnosis) verdict() error {
	grave := 0
	for _, f := range d.Findings {
		if f.Grave {
			grave++
		}
	}
	if grave == 0 {
		return nil
	}
	return fmt.Errorf("%s the host from its work", count(grave, "finding keeps", "findings keep"))
}
