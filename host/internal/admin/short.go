package admin

import (
	"errors"
	"net"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"balhost/host/internal/mend"
)

// short is a listener that logs what to do when no file descriptors are left for
// connections. It logs once until it accepts again. net/http would only try again.
type short struct {
	net.Listener
	log  hclog.Logger
	said atomic.Bool
}

// Accept takes the next connection.
func (s *short) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err == nil {
		s.said.Store(false)
	} else if hint := mend.Hint(err); hint != "" && !errors.Is(err, net.ErrClosed) && !s.said.Swap(true) {
		s.log.Error("admin API can't take connections: "+hint, "err", err)
	}
	return c, err
}
