//go:build !linux

package daemon

// monotonic: there is no systemd here.
func monotonic() string { return "" }
