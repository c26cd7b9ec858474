//go:build powercut

package powercut

import "syscall"

// syscall.Powercut exists only in the layer.
func init() {
	layered = true
	syscall.Powercut = func(c *syscall.PowercutCall, do func() error) error {
		return event(&call{name: c.Name, fd: c.FD, path: c.Path, to: c.To, flags: c.Flags, size: c.Size, address: c.Address, span: c.Span}, do)
	}
}
