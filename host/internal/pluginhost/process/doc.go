// Package process runs the processes of plugins: it starts each from one thread,
// finds its handshake in what it prints, connects to it over go-plugin, logs what it
// says, and ends it with all that it has started. It knows nothing of versions or
// events.
//
// It keeps P5's half that concerns processes: End returns when the process has exited
// and was awaited, and Open when nothing is left of what a killed host had started.
// And P10: nothing that a process prints, sends in its handshake or leaves behind
// harms the host.
//
// A thread of its own starts all processes, since a plugin dies with the thread that
// started it ([Parent]). One goroutine a process awaits it, and two read what it
// prints.
//
// Start at [Open] and [Process.Start].
package process
