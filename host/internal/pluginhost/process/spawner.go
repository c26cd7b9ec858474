package process

import "runtime"

// spawner runs functions on one thread, which outlives every process that was
// started from it: Linux sends a process its death signal when the *thread* that
// forked it ends (golang/go#27505).
type spawner chan func()

// run serves until the spawner is closed.
func (s spawner) run() error {
	runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
	for f := range s {
		f()
	}
	return nil
}

// start runs f, as of exec.Cmd.Start, on the thread.
func (s spawner) start(f func() error) error {
	done := make(chan error, 1)
	s <- func() { done <- f() }
	return <-done
}
