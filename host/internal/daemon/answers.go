package daemon

import (
	"fmt"
	"time"
)

// filesTime is how long the host and its commands wait for the files that they must
// read: a file may lie on a mount that does not answer.
const filesTime = 10 * time.Second

// Answers runs look, which reads files. It returns an error when they don't answer in
// time, such as files of a mount whose server is gone. Then look keeps running until
// they answer or the process ends, and the caller must not use what it finds.
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
