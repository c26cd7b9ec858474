package plugincheck

import "context"

// row is one row of the table. Rows are checked in this order.
type row struct {
	name, about string
	check       func(*check, context.Context) finding
}

// rows are all rows. Init fills it: rows and what they call know each other.
var rows []row

func init() {
	rows = []row{
		{"file", "the file or folder is one that the host takes", nil},
		{"program", "the header of the program, and its interpreter or loader", program},
		{"cookie", "started by hand it prints a hint and exits", byHand},
		{"handshake", "the line on stdout, and the time to it", step("handshake")},
		{"tls", "it speaks TLS with its certificate, and nothing else", step("tls")},
		{"client", "it refuses every client but the host", step("client")},
		{"health", "the health check says SERVING", step("health")},
		{"describe", "Describe gives a manifest, with the file's name", step("describe")},
		{"capabilities", "it names only those that the host has named", step("capabilities")},
		{"configure", "Configure is answered while Session is open", step("configure")},
		{"credit", "how many deliveries it wants", step("credit")},
		{"upstream", "each of the samples in data ends", kindRow("upstream")},
		{"outcome", "an outcome ends", kindRow("outcome")},
		{"receipt", "a receipt ends", kindRow("receipt")},
		{"timer", "a timer ends", kindRow("timer")},
		{"drain", "a drain in the middle of work", with((*check).drain)},
		{"exit", "it exits in time when asked, with status 0", (*check).exit},
	}
}

// program looks at the header of what is started.
func program(c *check, _ context.Context) finding {
	if reason := c.solo.Unfit(); reason != "" {
		return fails("§1: the host starts the program by itself, without a shell; do what stands beside this row", "its file %s", reason)
	}
	return ok("can be started here")
}
