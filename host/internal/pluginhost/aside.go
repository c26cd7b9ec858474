package pluginhost

import (
	"sync"
	"time"
)

// aside are the goroutines that read the plugins folder. A file system that doesn't
// answer keeps them for ever, so they are waited for with a limit only.
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
