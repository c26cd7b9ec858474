package daemon

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Files that don't answer hold nobody up; those that do say what they have to say.
func TestAnswers(t *testing.T) { // P10
	synctest.Test(t, func(t *testing.T) {
		dead, began := make(chan struct{}), time.Now()
		err := Answers("config.hcl", func() error { <-dead; return nil })
		if took := time.Since(began); took != filesTime || err == nil || !strings.HasPrefix(err.Error(), "config.hcl could not be read within 10s: does a mount not answer?") {
			t.Errorf("after %v: %v", took, err)
		}
		close(dead)
		if err := Answers("it", func() error { return errors.ErrUnsupported }); !errors.Is(err, errors.ErrUnsupported) {
			t.Error(err)
		}
		if err := Answers("it", func() error { return nil }); err != nil {
			t.Error(err)
		}
	})
}
