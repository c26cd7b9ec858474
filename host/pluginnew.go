package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"balhost/host/internal/scaffold"
)

func pluginNewCommand() *cobra.Command {
	var p scaffold.Plugin
	var dir, clone string
	cmd := &cobra.Command{
		Use:   "new NAME --lang LANGUAGE",
		Short: "Write the folder of a new plugin, with a test, that builds as it is",
		Long: `Writes a folder with a plugin of a few lines, a test of it, a README, and an
executable file "build", which makes the plugin at out/NAME. The SDK comes from a
clone of balhost: that which this program is in, or else the current folder, or
--sdk. The folder names the clone by its absolute path, so it can be moved.`,
		Example: `  balhost plugin new weather --lang go
  balhost plugin new orders --lang python --dir ~/work --sdk ~/balhost`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p.Name = args[0]
			var err error
			if p.Clone, err = scaffold.Clone(clone); err != nil {
				return err
			}
			if p.Dir, err = filepath.Abs(filepath.Join(dir, p.Name)); err != nil {
				return err
			}
			if err := scaffold.Write(p); err != nil {
				return err
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), nextSteps(p))
			return err
		},
	}
	languages := strings.Join(scaffold.Languages(), ", ")
	cmd.Flags().StringVar(&p.Language, "lang", "", "the `language`: "+languages)
	cmd.Flags().StringVar(&dir, "dir", "", "the `folder` in which the plugin's own folder is made (default: the current one)")
	cmd.Flags().StringVar(&clone, "sdk", "", "the `clone` of balhost that has the SDK")
	_ = cmd.MarkFlagRequired("lang") // the flag is there
	return cmd
}

// nextSteps are what a person does after the folder is there.
func nextSteps(p scaffold.Plugin) string {
	here, shown := p.Dir, p.Dir
	if wd, err := os.Getwd(); err == nil {
		if near, err := filepath.Rel(wd, here); err == nil && !strings.HasPrefix(near, "..") {
			shown = near
		}
	}
	program := "balhost"
	if path, err := os.Executable(); err == nil {
		program = path
	}
	return fmt.Sprintf("%s is a new plugin in %s. Go on with:\n  cd %s && ./build\n  %s\n  %s dev -c %s --plugin .    # then type: phone-1 {\"name\":\"Ann\"}\n",
		p.Name, shown, scaffold.Shell(shown), scaffold.Test(p.Language), scaffold.Shell(program), scaffold.Shell(filepath.Join(p.Clone, defaultConfig)))
}
