package daemon

import (
	"fmt"
	"time"
)

// filesTime is how long the host and its commands wait for files that they are
// told to read: one of them may lie where nothing answers.
const filesTime = 10 * time.Second

// Answers has look look at files, and gives it up when they don't answer, such as
// those of a mount whose server is gone. Then it runs on until they do, or until the
// process ends, and what it finds is not to be used.
func Answers(what string, look func() error) error {
	done := make(chan error, 1)
	go func() { //house:go ends when the files answer; its callers end with the process, or ask once
		done <- look()
	}()
	late := time.NewTimer(filesTime)
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-late.C:
		return fmt.Errorf("%s could not be read within %s: does a mount not answer?", what, filesTime)
	}
}
