package pluginhost

import (
	"sync"
	"time"
)

// aside is for what reads the plugins folder: a file system that doesn't answer
// keeps a goroutine for ever, so nobody waits for these without a limit.
type aside struct{ sync.WaitGroup }

// wait waits for the end of all, for as long as d, and reports whether it came.
func (a *aside) wait(d time.Duration) bool {
	over := make(chan struct{})
	go func() { //house:go waits for what may never end: more can't be done
		a.Wait()
		close(over)
	}()
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case <-over:
		return true
	case <-late.C:
		return false
	}
}
