package simnet

import (
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Listen opens a listener for TLS, and the CA in caFile that vouches for it: see
// [OpenAuthority].
func Listen(address, caFile string) (net.Listener, *Authority, *tls.Config, error) {
	ca, err := OpenAuthority(caFile)
	if err != nil {
		return nil, nil, nil, err
	}
	leaf, err := ca.Leaf()
	if err != nil {
		return nil, nil, nil, err
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, nil, nil, err
	}
	return ln, ca, &tls.Config{Certificates: []tls.Certificate{leaf}, MinVersion: tls.VersionTLS12}, nil
}

// Accept gives each connection to start, until the listener is closed.
func Accept(ln net.Listener, log hclog.Logger, start func(net.Conn)) error {
	for {
		nc, err := ln.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil: // too many open files, or the client has gone
			log.Warn("accept", "err", err)
			time.Sleep(10 * time.Millisecond)
		default:
			start(nc)
		}
	}
}
