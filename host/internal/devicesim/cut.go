package devicesim

import (
	"net"
	"sync"
	"sync/atomic"
)

// cut is a connection that ends after so many bytes, both ways together.
type cut struct {
	net.Conn
	left  atomic.Int64
	once  sync.Once
	count func()
}

func (c *cut) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if keep := c.spend(n); keep < n {
		c.end()
		return keep, net.ErrClosed
	}
	return n, err
}

func (c *cut) Write(p []byte) (int, error) {
	keep := c.spend(len(p))
	n, err := c.Conn.Write(p[:keep])
	if keep < len(p) {
		c.end()
		return n, net.ErrClosed
	}
	return n, err
}

// spend takes n bytes of what is left, and says how many of them there were.
func (c *cut) spend(n int) int {
	return min(n, max(0, n+int(min(c.left.Add(-int64(n)), 0))))
}

func (c *cut) end() {
	c.once.Do(func() { c.count(); c.Close() })
}
