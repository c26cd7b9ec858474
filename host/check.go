package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"balhost/host/internal/config"
	"balhost/host/internal/daemon"
	"balhost/host/internal/mend"
	"balhost/host/internal/pluginhost"
	"balhost/host/internal/serviceaccount"
	"balhost/host/internal/status"
	"balhost/sdk/message"
)

// findings is the result of check; its JSON is a contract with scripts.
type findings struct {
	Config   string           `json:"config"` // the file
	Problems []config.Problem `json:"problems"`
	Sessions []sessionFinding `json:"sessions"`
	Plugins  []pluginFinding  `json:"plugins"`
	Errors   []string         `json:"errors"` // named files that can't be used
	Notes    []string         `json:"notes"`  // what may be intended
}

type sessionFinding struct {
	Name      string            `json:"name"`
	SenderID  string            `json:"sender_id"`
	Transport message.Transport `json:"transport"`
	Server    string            `json:"server"`            // where it connects to; of a gateway alone: where it listens
	Account   string            `json:"account,omitempty"` // the service account of fcm_v1
	Upstream  bool              `json:"upstream"`          // it brings messages up
	Online    *online           `json:"online,omitempty"`  // only with --online, and of a session with a server
	Gateway   *gatewayFinding   `json:"gateway,omitempty"`
}

// online is what a session's server says.
type online struct {
	Accepted  bool   `json:"accepted"`
	Unreached bool   `json:"unreached,omitempty"` // and so it has refused nothing
	Reason    string `json:"reason,omitempty"`    // why it is not accepted
}

// word is what it says, for a table.
func (o *online) word() string {
	switch {
	case o.Accepted:
		return "accepted"
	case o.Unreached:
		return "not reached"
	}
	return "not accepted"
}

type pluginFinding struct {
	Name    string `json:"name"`
	Verdict string `json:"verdict"` // plugin, ignored, refused
	Reason  string `json:"reason,omitempty"`
	SHA256  string `json:"sha256,omitempty"` // of its content; of a folder, of all that is in it
}

func checkCommand() *cobra.Command {
	var (
		path          string
		asJSON, asked bool
	)
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the config and the plugins folder, without starting anything",
		Long: `Reads the config and the files that it names, and shows all mistakes at once, with
file, line and column. Then reads what is in the plugins folder, and says
of each file and folder whether the host would run it, and its sha256. It starts nothing and writes nothing.

With --online it also asks the server of each session whether it accepts the session:
CCS by one more login, FCM by a message that is checked and not sent. It fetches the
public keys by which a gateway checks devices. It doesn't try whether a gateway can
listen: a running host has the address.

Exit codes: 0 all is well, 1 a file can't be used, a server accepts a session not, or
keys can't be had; 78 the config is wrong.`,
		Example: "  balhost check -c /etc/balhost/config.hcl\n  balhost check --online\n  balhost check --json",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(path)
			f := findings{Config: path, Problems: []config.Problem{}, Sessions: []sessionFinding{}, Plugins: []pluginFinding{}, Errors: []string{}, Notes: []string{}}
			if wrong := (*config.Error)(nil); errors.As(err, &wrong) && asJSON {
				f.Problems = wrong.Problems
				return errors.Join(printJSON(cmd, f), err)
			} else if err != nil {
				return err
			}
			seen := f
			if err := daemon.Answers("a file or folder that "+path+" names", func() error { seen.look(cfg); return nil }); err != nil {
				return err
			}
			f = seen
			if asked {
				f.ask(cmd.Context(), cfg)
			}
			if asJSON {
				err = printJSON(cmd, f)
			} else {
				err = f.print(cmd, cfg)
			}
			return errors.Join(err, f.refusal())
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", defaultConfig, "the config `file`")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&asked, "online", false, "also ask the sessions' servers")
	return cmd
}

// found is what the config says of a session.
func found(s config.Session) sessionFinding {
	f := sessionFinding{Name: s.Name, SenderID: s.SenderID, Transport: s.Transport(), Upstream: s.CCS != nil || s.Gateway != nil}
	if s.Gateway != nil {
		f.Server, f.Gateway = s.Gateway.Listen, foundGateway(*s.Gateway)
	}
	if s.CCS != nil {
		f.Server = s.CCS.Address
	}
	if s.FCMv1 == nil {
		return f
	}
	f.Server, f.Account = s.FCMv1.Endpoint, "the platform's own"
	if key, err := serviceaccount.Parse(s.FCMv1.Credentials.Reveal()); err == nil {
		f.Account = fmt.Sprintf("%s of project %s", key.ClientEmail, key.ProjectID)
	}
	return f
}

// ask asks the servers of all sessions at the same time.
func (f *findings) ask(ctx context.Context, cfg config.Config) {
	var asking sync.WaitGroup
	for i, s := range cfg.Sessions {
		if g := f.Sessions[i].Gateway; g != nil {
			asking.Go(func() { g.fetch(ctx) })
		}
		if s.CCS == nil && s.FCMv1 == nil {
			continue
		}
		asking.Go(func() {
			f.Sessions[i].Online = &online{Accepted: true}
			if err := daemon.Probe(ctx, s); err != nil {
				*f.Sessions[i].Online = online{Unreached: daemon.Unreached(err), Reason: err.Error()}
			}
		})
	}
	asking.Wait()
}

// look adds what it finds in the plugins folder and in other files.
func (f *findings) look(cfg config.Config) {
	present, err := pluginhost.Look(cfg.PluginsDir, pluginhost.Bounds{Bytes: cfg.PluginBytes, Entries: cfg.PluginEntries}, func(name string) string { return cfg.Plugin(name).SHA256 })
	if err != nil {
		f.note("%v; without it no plugin can run", err)
	}
	for _, c := range present {
		switch {
		case c.Refused != "":
			f.Plugins = append(f.Plugins, pluginFinding{c.Name, "refused", c.Refused, c.SHA256})
		case c.Ignored != "":
			f.Plugins = append(f.Plugins, pluginFinding{c.Name, "ignored", c.Ignored, ""})
		default:
			f.Plugins = append(f.Plugins, pluginFinding{c.Name, "plugin", c.Note, c.SHA256})
		}
	}
	for name, p := range cfg.Plugins {
		if p.Debug {
			f.note("plugin %q has debug = true: it has no handler_timeout, and nothing notices when it hangs; take it out when you are done", name)
		}
		if !slices.ContainsFunc(f.Plugins, func(p pluginFinding) bool { return p.Name == name && p.Verdict == "plugin" }) {
			var names []string
			for _, p := range f.Plugins {
				if _, has := cfg.Plugins[p.Name]; !has {
					names = append(names, p.Name)
				}
			}
			meant := ""
			if near := mend.Near(name, names); near != "" {
				meant = fmt.Sprintf("; did you mean %q?", near)
			}
			f.note("plugin %q has a block, but %s has no such plugin%s", name, cfg.PluginsDir, cmp.Or(meant, "; take the block out, unless its file is to come"))
		}
	}
	f.Errors = append(f.Errors, pluginhost.Unfit(cfg.DataDir)...)
	if _, err := os.Stat(cfg.DataDir); err == nil {
		if err := mend.Access(cfg.DataDir, config.Own...); err != nil {
			f.note("for user %d, who runs this command: %v", os.Geteuid(), err)
		}
	}
	if err := daemon.CheckKey(cfg); err != nil {
		f.Errors = append(f.Errors, err.Error())
	}
	for _, s := range cfg.Sessions {
		f.Sessions = append(f.Sessions, found(s))
		if _, err := s.Roots(); err != nil {
			f.Errors = append(f.Errors, fmt.Sprintf("session %q: ca_file: %v", s.Name, err))
		}
		if s.FCMv1 != nil && s.FCMv1.CredentialsFile != "" {
			if file, err := os.Stat(s.FCMv1.CredentialsFile); err == nil && file.Mode().Perm()&0o077 != 0 {
				f.note("session %q: others on this machine can read its key file: chmod 600 %s", s.Name, s.FCMv1.CredentialsFile)
			}
		}
		if s.Gateway != nil {
			f.lookAtGateway(s.Name, *s.Gateway, time.Now())
		}
	}
	if a := cfg.Admin; a.CertFile != "" {
		f.lookAtCertificate("admin", "only commands on this machine get in", a.CertFile, a.KeyFile, time.Now())
	}
	for _, weak := range cfg.Admin.Warnings() {
		f.note("%s", weak)
	}
	slices.Sort(f.Notes)
}

func (f *findings) note(format string, args ...any) {
	f.Notes = append(f.Notes, fmt.Sprintf(format, args...))
}

// refusal is the error that makes check fail, or nil.
func (f *findings) refusal() error {
	var errs []error
	for _, e := range f.Errors {
		errs = append(errs, errors.New(e))
	}
	errs = append(errs, f.refusals()...)
	var names []string
	for _, p := range f.Plugins {
		if p.Verdict == "refused" {
			names = append(names, p.Name)
		}
	}
	if names != nil {
		errs = append(errs, fmt.Errorf("files in the plugins folder that would be refused: %s", strings.Join(names, ", ")))
	}
	return errors.Join(errs...)
}

// refusals are what servers refuse, and keys that can't be had.
func (f *findings) refusals() (errs []error) {
	for _, s := range f.Sessions {
		if s.Online != nil && !s.Online.Accepted {
			verdict := "does not accept it"
			if s.Online.Unreached {
				verdict = "is not reached"
			}
			errs = append(errs, fmt.Errorf("session %q: %s %s: %s", s.Name, status.Server(s.Transport), verdict, s.Online.Reason))
		}
		if s.Gateway != nil {
			errs = append(errs, s.Gateway.refusals(s.Name)...)
		}
	}
	return errs
}

func (f *findings) print(cmd *cobra.Command, cfg config.Config) error {
	out := cmd.OutOrStdout()
	verdict := "is right"
	if len(f.Errors) > 0 {
		verdict = "can be read, but not used"
	} else if slices.ContainsFunc(f.Sessions, func(s sessionFinding) bool { return s.Online != nil && !s.Online.Accepted }) {
		verdict = "is right, but not every server accepts its session"
	}
	fmt.Fprintf(out, "%s %s: sessions %d, data in %s, plugins in %s, admin at %s\n", f.Config, verdict, len(cfg.Sessions), cfg.DataDir, cfg.PluginsDir, addressOf(cfg.Admin).Listen)
	if err := f.printSessions(out); err != nil {
		return err
	}
	if len(f.Plugins) > 0 {
		t := newTable(out, "FILE", "WOULD BE", "SHA256", "BECAUSE")
		for _, p := range f.Plugins {
			t.row(p.Name, map[string]string{"plugin": "run", "ignored": "ignored", "refused": "refused"}[p.Verdict], p.SHA256, p.Reason)
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	for _, n := range f.Notes {
		if _, err := fmt.Fprintln(out, "note: "+n); err != nil {
			return err
		}
	}
	return nil
}

func (f *findings) printSessions(out io.Writer) error {
	t := newTable(out, "SESSION", "TRANSPORT", "SERVER", "MESSAGES", "ACCOUNT", "ONLINE")
	for _, s := range f.Sessions {
		way, answer := "down only: nothing comes up through it", "not asked"
		if s.Upstream {
			way = "up and down"
		}
		if s.Online != nil {
			answer = s.Online.word()
		}
		if s.Gateway != nil && s.Server == s.Gateway.Listen {
			answer = "" // there is no server to ask
		}
		t.row(s.Name, s.Transport, s.Server, way, s.Account, answer)
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, s := range f.Sessions {
		if s.Gateway != nil {
			s.Gateway.print(out, s.Name, time.Now())
		}
	}
	return nil
}
