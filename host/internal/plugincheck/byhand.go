package plugincheck

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"balhost/host/internal/plain"
	"balhost/sdk/wire"
)

const mendCookie = "§1: compare the cookie first; if it has another value, print a hint, and exit with a status other than 0"

// byHand starts the program as a person does who doesn't know what it is.
func byHand(c *check, ctx context.Context) finding {
	path, work, env := c.solo.Program()
	if err := os.MkdirAll(work, 0o700); err != nil {
		return unknown("%v", err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.Plugin.StartTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path)
	cmd.Dir = work
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, wire.Handshake.MagicCookieKey+"=") || strings.HasPrefix(kv, "PLUGIN_")
	}), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err := cmd.Run()
	text := strings.TrimSpace(said.String())
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return fails(mendCookie, "started by hand, it runs on; it was ended after %v", c.o.Plugin.StartTimeout)
	case err == nil:
		return fails(mendCookie, "started by hand, it exits with status 0")
	case !errors.As(err, &exit):
		return fails("§1: the host starts the program without arguments", "it can't be started: %v", err)
	case text == "":
		return warns(mendCookie, "started by hand, it exits with %v, and prints no hint", exit)
	}
	for _, trace := range []string{"Traceback (most recent call last)", "Exception in thread", "panic: ", "goroutine 1 [", "    at "} {
		if strings.Contains(text, trace) {
			return warns(mendCookie, "started by hand, it exits with %v, and prints a stack trace instead of a hint", exit)
		}
	}
	first, _, _ := strings.Cut(text, "\n")
	return ok("started by hand, it exits with %v, and prints: %s", exit, plain.Line(first, 100))
}
