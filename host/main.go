// Command balhost is a daemon that owns sessions with Firebase's Cloud Connection
// Server, stores every message on disk and gives it to plugins. It is also the
// commands that talk to the daemon. Each command is one small file here. The daemon is
// in internal/daemon. Start at [main] and run.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/grpclog"

	"balhost/host/internal/admin"
	"balhost/host/internal/config"
	"balhost/host/internal/daemon"
	"balhost/host/internal/plain"
	"balhost/sdk/outlet"
)

// The exit codes of the process: 0 is done, and these.
const (
	exitFailed  = 1
	exitUsage   = 2  // wrong arguments
	exitRecover = 75 // ended on purpose, to recover on the next start (P10); EX_TEMPFAIL
	exitConfig  = 78 // a wrong config, or none; EX_CONFIG. Not 2, which Go uses after a panic
)

func main() {
	keepSIGPIPE()
	stderr := outlet.New(logFile())
	log.SetOutput(plain.Writer{W: stderr}) // logs of libraries must not wait for a reader either
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, plain.Writer{W: stderr}))
	root := rootCommand()
	root.SetOut(&stdout{file: os.Stdout})
	root.SetErr(stderr)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() { //house:go starts a timer and ends
		stop() // a second signal ends the process at once
		limit := stopLimit(root, os.Args[1:])
		time.AfterFunc(limit, func() { overdue(stderr, limit) })
	})
	exit(stderr, execute(ctx, root))
}

// execute runs a command line and gives the exit code.
func execute(ctx context.Context, root *cobra.Command) int {
	root.SetOut(plain.Writer{W: root.OutOrStdout()})
	root.SetErr(plain.Writer{W: root.ErrOrStderr()})
	running := false
	noteRunning(root, &running)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		if err = lost(root.OutOrStdout()); err != nil { // a command may have ignored the error
			running = true
		}
	}
	switch {
	case err == nil:
		return 0
	case !running || errors.As(err, new(usageError)):
		fmt.Fprintf(cmd.ErrOrStderr(), "balhost: %v\nSee: %s --help\n", err, cmd.CommandPath())
		return exitUsage
	case errors.As(err, new(*config.Error)):
		fmt.Fprintln(cmd.ErrOrStderr(), err) // each line begins with its place
		return exitConfig
	}
	if errors.Is(err, admin.ErrNotRunning) {
		err = fmt.Errorf("%w; %s", err, whereToAsk(cmd))
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "balhost: %v\n", err)
	return exitCode(err)
}

// noteRunning sets running when a command's own code begins. An error of cobra before
// that is a wrong command line.
func noteRunning(cmd *cobra.Command, running *bool) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if slices.Contains(args, "") { // for example an unset variable in a script
				return usagef("an argument is empty; want: %s", cmd.UseLine())
			}
			*running = true
			return run(cmd, args)
		}
	}
	for _, sub := range cmd.Commands() {
		noteRunning(sub, running)
	}
}

// exitCode is the exit code of an error; exitFailed if the error names none.
func exitCode(err error) int {
	var coded interface{ ExitCode() int }
	var refusal admin.Refusal
	switch {
	case errors.As(err, &coded):
		return coded.ExitCode()
	case errors.As(err, &refusal) && refusal.Config:
		return exitConfig
	}
	return exitFailed
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "balhost",
		Short: "Runs plugins on an app's messages, and loses none",
		Long: `balhost owns the sessions of a mobile app's server: by FCM's HTTP v1, which reaches
today's phones, or with a server that speaks CCS (XMPP), which Google has shut down.
It stores every message on disk, and gives what comes up to the plugins in a folder.

Exit codes: 0 done, 1 failed, 2 wrong arguments, 78 wrong config, 75 ended on
purpose: start it again to recover.`,
		Example: `  balhost check -c config.hcl    # is everything right?
  balhost run -c config.hcl      # the daemon
  balhost status                 # of the running one`,
		Args:          subcommandOnly,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(wrongFlag)
	root.AddCommand(
		runCommand(),
		devCommand(),
		simCommand(),
		checkCommand(),
		doctorCommand(),
		statusCommand(),
		tailCommand(),
		messagesCommand(),
		explainCommand(),
		pluginGroup(),
		pluginsCommand(),
		pauseCommand(),
		resumeCommand(),
		reloadCommand(),
		rollbackCommand(),
		logLevelCommand(),
		sendCommand(),
		cancelCommand(),
		deviceCommand(),
		deadCommand(),
		stateCommand(),
		retryCommand(),
		stuckCommand(),
		auditCommand(),
		eraseCommand(),
		forgetCommand(),
		backupCommand(),
		restoreCommand(),
		verifyCommand(),
		keyGroup(),
		rekeyCommand(),
		versionCommand(),
	)
	return root
}

// subcommandOnly is an error for an unknown command. It suggests commands with a
// similar name.
func subcommandOnly(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	err := usagef("there is no command %q", cmd.CommandPath()+" "+args[0])
	if close := cmd.SuggestionsFor(args[0]); len(close) > 0 {
		err = usagef("%v; did you mean %s?", err, strings.Join(close, " or "))
	}
	return err
}

// wrongConfig is an error of a config that is not a config.Error.
type wrongConfig struct{ error }

func (wrongConfig) ExitCode() int { return exitConfig }

func (w wrongConfig) Unwrap() error { return w.error }

// loadConfig reads a whole config.
func loadConfig(path string) (config.Config, error) { return loadWith(config.Load, path) }

// loadWith reads a config or a part of it. Files that don't answer are not a mistake in the
// config: they may answer a moment later.
func loadWith(load func(path string) (config.Config, error), path string) (config.Config, error) {
	var cfg config.Config
	err := daemon.Answers(path+", or a file or folder that it names,", func() error {
		got, err := load(path)
		if err == nil {
			cfg = got
		} else if !errors.As(err, new(*config.Error)) {
			err = wrongConfig{fmt.Errorf("%w; name the file with -c", err)}
		}
		return err
	})
	if err != nil {
		return config.Config{}, err
	}
	return cfg, nil
}
