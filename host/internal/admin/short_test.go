package admin

import (
	"bytes"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// empty is a listener that has no file descriptors left.
type empty struct{ net.Listener }

func (empty) Accept() (net.Conn, error) {
	return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
}

// No room for a connection is said once, with the limit's name.
func TestFewDescriptors(t *testing.T) {
	var log bytes.Buffer
	l := &short{Listener: empty{}, log: hclog.New(&hclog.LoggerOptions{Output: &log})}
	for range 2 {
		if _, err := l.Accept(); !errors.Is(err, syscall.EMFILE) {
			t.Error(err)
		}
	}
	if said := log.String(); strings.Count(said, "LimitNOFILE") != 1 {
		t.Errorf("log: %s", said)
	}
}
