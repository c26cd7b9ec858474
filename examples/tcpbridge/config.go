package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
)

// config is the config block of the plugin in config.hcl.
type config struct {
	Listen string `json:"listen"` // address and port; loopback alone needs no tokens and no TLS
	// Sessions are the session ids that may log on, each with its token: file("bal-token"). ""
	// is no token. Without Sessions any id may log on, which only loopback allows.
	Sessions map[string]string `json:"sessions"`
	// Session is the host's session for downstreams that name none in host_session; "": the
	// host's only one.
	Session string `json:"session"`
	// Hold is how many messages may wait for one session id. Then events are tried again
	// each minute.
	Hold int `json:"hold"`
	TLS  struct {
		Cert string `json:"cert"` // PEM: file("bal-cert.pem"), with all certificates between it and the root
		Key  string `json:"key"`  // PEM: file("bal-key.pem")
	} `json:"tls"`
}

const minToken = 16 // bytes: nobody guesses it

func defaults() config { return config{Listen: "127.0.0.1:5001", Hold: 1_000_000} }

// check says what can't work, with the sessions of the host.
func (c *config) check(sessions []string) error {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("config: listen is %q: write it like 127.0.0.1:5001", c.Listen)
	}
	if c.Hold < 1 {
		return fmt.Errorf("config: hold is %d: use at least 1", c.Hold)
	}
	if c.Session != "" && !slices.Contains(sessions, c.Session) {
		return fmt.Errorf("config: session is %q, but the host has only %q", c.Session, sessions)
	}
	for id, token := range c.Sessions {
		if err := checkSessionID(id); err != nil {
			return fmt.Errorf("config: sessions: %w", err)
		}
		if token != "" && len(token) < minToken {
			return fmt.Errorf("config: the token of %s has %d bytes: use at least %d, for example of openssl rand -hex 16", id, len(token), minToken)
		}
	}
	if _, err := c.tls(); err != nil {
		return fmt.Errorf("config: tls: %w", err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return c.open()
	}
	return nil
}

// open says what an address that others can reach lacks.
func (c *config) open() error {
	if c.TLS.Cert == "" {
		return fmt.Errorf("config: others can reach %s: set tls, or listen on 127.0.0.1", c.Listen)
	}
	if len(c.Sessions) == 0 {
		return fmt.Errorf("config: others can reach %s: set sessions, each with a token", c.Listen)
	}
	for id, token := range c.Sessions {
		if token == "" {
			return fmt.Errorf("config: others can reach %s: give %s a token", c.Listen, id)
		}
	}
	return nil
}

// tls is nil if the config has none.
func (c *config) tls() (*tls.Config, error) {
	if c.TLS.Cert == "" && c.TLS.Key == "" {
		return nil, nil
	}
	pair, err := tls.X509KeyPair([]byte(c.TLS.Cert), []byte(c.TLS.Key))
	if err != nil {
		return nil, errors.New("cert and key are not a certificate and its key, as PEM") // err may quote them
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}
