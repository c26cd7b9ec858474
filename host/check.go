package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"balhost/host/internal/config"
	"balhost/host/internal/daemon"
	"balhost/host/internal/mend"
	"balhost/host/internal/pluginhost"
)

// findings is the result of check; its JSON is a contract with scripts.
type findings struct {
	Config   string           `json:"config"` // the file
	Problems []config.Problem `json:"problems"`
	Plugins  []pluginFinding  `json:"plugins"`
	Errors   []string         `json:"errors"` // named files that can't be used
	Notes    []string         `json:"notes"`  // what may be intended
}

type pluginFinding struct {
	Name    string `json:"name"`
	Verdict string `json:"verdict"` // plugin, ignored, refused
	Reason  string `json:"reason,omitempty"`
}

func checkCommand() *cobra.Command {
	var (
		path   string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the config and the plugins folder, without starting anything",
		Long: `Reads the config and the files that it names, and shows all mistakes at once, with
file, line and column. Then reads the header of each file in the plugins folder,
and says whether the host would run it. It starts nothing and writes nothing.

Exit codes: 0 all is well, 1 a file can't be used, 78 the config is wrong.`,
		Example: "  balhost check -c /etc/balhost/config.hcl\n  balhost check --json",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(path)
			f := findings{Config: path, Problems: []config.Problem{}, Plugins: []pluginFinding{}, Errors: []string{}, Notes: []string{}}
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
	return cmd
}

// look adds what it finds in the plugins folder and in other files.
func (f *findings) look(cfg config.Config) {
	present, err := pluginhost.Look(cfg.PluginsDir, func(name string) string { return cfg.Plugin(name).SHA256 })
	if err != nil {
		f.note("%v; without it no plugin can run", err)
	}
	for _, c := range present {
		switch {
		case c.Refused != "":
			f.Plugins = append(f.Plugins, pluginFinding{c.Name, "refused", c.Refused})
		case c.Ignored != "":
			f.Plugins = append(f.Plugins, pluginFinding{c.Name, "ignored", c.Ignored})
		default:
			f.Plugins = append(f.Plugins, pluginFinding{c.Name, "plugin", c.Note})
		}
	}
	for name := range cfg.Plugins {
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
			f.note("plugin %q has a block, but %s has no such plugin%s", name, cfg.PluginsDir, meant)
		}
	}
	f.Errors = append(f.Errors, pluginhost.Unfit(cfg.DataDir)...)
	if _, err := os.Stat(cfg.DataDir); err == nil {
		if err := mend.Access(cfg.DataDir, config.Own...); err != nil {
			f.note("for user %d, who runs this command: %v", os.Geteuid(), err)
		}
	}
	for _, s := range cfg.Sessions {
		if _, err := s.Roots(); err != nil {
			f.Errors = append(f.Errors, fmt.Sprintf("session %q: ca_file: %v", s.Name, err))
		}
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

func (f *findings) print(cmd *cobra.Command, cfg config.Config) error {
	out := cmd.OutOrStdout()
	verdict := "is right"
	if len(f.Errors) > 0 {
		verdict = "can be read, but not used"
	}
	fmt.Fprintf(out, "%s %s: sessions %d, data in %s, plugins in %s, admin at %s\n", f.Config, verdict, len(cfg.Sessions), cfg.DataDir, cfg.PluginsDir, cfg.Admin.Listen)
	if len(f.Plugins) > 0 {
		t := newTable(out, "FILE", "WOULD BE", "BECAUSE")
		for _, p := range f.Plugins {
			t.row(p.Name, map[string]string{"plugin": "run", "ignored": "ignored", "refused": "refused"}[p.Verdict], p.Reason)
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
