package admin

import (
	"errors"
	"net"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"balhost/host/internal/mend"
)

// short is a listener that says once, until a connection is taken again, what to
// do when there are no files for them; net/http only tries again.
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
