// Package instance is one process of a plugin as two engines share it:
// pluginhost starts, watches and ends the process, dispatch gives it events.
// They meet in Described, where each hands its end to the other. From then on
// pluginhost calls a [Dispatch] and dispatch calls a [Process], with nothing
// in between. The package starts nothing and decides nothing.
//
// Start at [Dispatch].
package instance

import (
	"context"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/route"
	"balhost/sdk/wire"
)

// Dispatch is dispatch's end of an instance: pluginhost tells it how the process
// lives, each once at most and in this order: Ready, Drain, Gone. Gone always comes.
// Frame comes before Gone, from the goroutine that reads the stream, so it runs beside
// the others. Instances of one plugin overlap: the new one is Ready before the old
// one's Drain (P9), and a trier lives beside both.
type Dispatch interface { //house:wide the whole life of a process, and what came of it
	// Ready: the process is configured. It takes events from now on, in place
	// of the one of its plugin that took them before; a trier takes suspects.
	Ready()
	// Frame takes one frame of the process. It must not block for long: the
	// process's next frame waits.
	Frame(*wire.PluginFrame)
	// Drain gives the process nothing more and tells it to finish. It returns nil
	// when the process holds nothing, all its results are committed and it has
	// said drained, or when its session has ended; else ctx's error.
	Drain(ctx context.Context) error
	// Gone: the process has exited and was awaited, and no frame of it comes any
	// more. What it held may be given out again (P5). The reason is for people.
	Gone(reason string)
	// Results tells what came of the events so far. It fails when ctx ends or
	// dispatch has ended.
	Results(ctx context.Context) (entry.Results, error)
}

// Process is pluginhost's end of an instance: dispatch asks this of it. No call
// blocks.
type Process interface {
	// Send queues a frame. After the session's end it does nothing.
	Send(*wire.HostFrame)
	// Kill ends the process as hung or broken. Gone follows, then a restart after
	// a backoff.
	Kill(reason string)
	// StartTrier asks for a second process of the same content, to try suspects
	// in. It is described with Facts.Trier set, or nothing follows when it can't
	// be had now.
	StartTrier()
	// Retire ends this process, which is a trier, in order: Drain and Gone follow.
	Retire()
}

// Facts are what dispatch must know of one process. They don't change.
type Facts struct {
	Name           string          // the plugin's, which is its file's
	Version        string          // for people, as the plugin says it
	Content        string          // names what it runs, and with which options: another content may handle what this one failed at
	Closed         <-chan struct{} // closed when its session has ended: nothing that is sent arrives any more
	Claim          route.Claim
	Order          route.Order
	Outcome        bool          // it has such a handler; an event without one is done at once
	Receipt        bool          // the same
	Timer          bool          // the same, and without one it can set no timer
	Offsets        bool          // it finds an upstream's data in the raw payload; others get the data by itself
	MaxAttempts    int           // then dead letters; 0: for ever
	HandlerTimeout time.Duration // then the handler's context ends; with Debug never
	MaxInFlight    int           // deliveries without a result at once
	SuspectAfter   int           // an event in flight at so many deaths is tried alone; 0: never
	Alone          bool          // no second process can run beside it: suspects are tried in this one
	Debug          bool          // a person may stop it in a debugger: no handler of it is late or stuck
	Trier          bool          // it is a second process, for suspects only
}
