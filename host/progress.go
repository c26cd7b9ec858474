package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
)

// statusLine shows the last of several texts in one line of a terminal; "" clears the line.
// If standard error is no terminal, it shows nothing.
func statusLine(cmd *cobra.Command) func(text string) {
	if !isTerminal(os.Stderr) || !isStderr(cmd.ErrOrStderr()) {
		return func(string) {}
	}
	last := time.Time{}
	return func(text string) {
		switch now := time.Now(); {
		case text == "" && !last.IsZero():
			fmt.Fprint(os.Stderr, "\r\x1b[K")
		case text != "" && now.Sub(last) >= 200*time.Millisecond:
			last = now
			fmt.Fprintf(os.Stderr, "\r\x1b[K%s", text)
		}
	}
}

// watchCount shows on a terminal how many of all are done; -1 clears the line. did is
// what is done: "replayed".
func watchCount(cmd *cobra.Command, did string) func(done, all int) {
	show := statusLine(cmd)
	return func(done, all int) {
		if done < 0 {
			show("")
		} else {
			show(fmt.Sprintf("%s %d of %d", did, done, all))
		}
	}
}
