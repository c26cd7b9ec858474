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
		{"parallel", "other events end while a handler waits for a reply", with((*check).parallel)},
		{"ids", "an event that comes again gets the same message ids", with((*check).ids)},
		{"conflict", "a handler runs again when what it has read has changed", with((*check).conflict)},
		{"event", "an event of an unknown kind is a RETRY", with((*check).strangeEvent)},
		{"large", "bodies of 1 MiB, and a frame with several", with((*check).large)},
		{"unicode", "every character, and halves of surrogate pairs", with((*check).unicode)},
		{"load", "many messages at full credit: each ends once; rate and CPU", loadRow(func(l *loaded) finding { return l.load })},
		{"ping", "pings under load, while a handler waits", loadRow(func(l *loaded) finding { return l.pings })},
		{"memory", "before and after the load", loadRow(func(l *loaded) finding { return l.memory })},
		{"metrics", "a scrape takes its own metrics", with((*check).metrics)},
		{"logs", "a flood of lines, and a log level that changes", with((*check).logs)},
		{"signals", "SIGTERM, SIGINT and SIGHUP are ignored", with((*check).signals)},
		{"extend", "a handler that runs gives signs of life", with((*check).extend)},
		{"revoke", "a handler that is cancelled ends", with((*check).revoke)},
		{"run", "what runs outside of handlers", with((*check).runs)},
		{"drain", "a drain in the middle of work", with((*check).drain)},
		{"exit", "it exits in time when asked, with status 0", (*check).exit},
		{"children", "it leaves no processes behind", children},
		{"fields", "unknown fields in all messages are ignored", fields},
		{"twice", "a second Session and a second Configure are refused", twice},
		{"kill", "kill -9 in the middle of work, and what the next process does", killed},
		{"half-close", "it exits when the host closes its half", lost("half-close")},
		{"broken", "it exits when the connection breaks", lost("broken")},
		{"config", "a wrong key in the config is refused", badConfig},
		{"codes", "each result has a code", flawRow("codes", "each result had a code that the host knows", "§4: set DONE, RETRY, REJECT or RELEASE; a handler that fails is a RETRY with the error's text")},
		{"once", "each delivery ends once", flawRow("once", "no delivery ended twice", "§4: each delivery ends once, with its number in done or with a Result; a second end is ignored")},
		{"reads", "results list what was read, with versions", flawRow("reads", "what was read was listed", "§4, reads: list each key that the handler has read, with the version that the reply had, also with RETRY and REJECT")},
		{"changes", "what is asked for can be committed", flawRow("changes", "all that was to be committed could be", "§4 and §9: check at the call what can never be committed, so that the handler hears of it")},
		{"limits", "calls and frames keep to the limits", flawRow("limits", "no frame and no call was over a limit", "§5 and §9: number calls from 1 on, and keep to Limits in each frame")},
	}
}

// program looks at the header of what is started.
func program(c *check, _ context.Context) finding {
	if reason := c.solo.Unfit(); reason != "" {
		return fails("§1: the host starts the program by itself, without a shell; do what stands beside this row", "its file %s", reason)
	}
	return ok("can be started here")
}
