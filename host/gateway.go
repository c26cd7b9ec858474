package main

import (
	"fmt"

	"balhost/host/internal/status"
)

// upByGateway is what came up by a session's gateway, and how soon it was acked; without
// a gateway nothing comes up by FCM.
func upByGateway(s status.Session) (up, ack string) {
	if s.Gateway == nil {
		return "-", ""
	}
	return fmt.Sprint(s.Upstreams), ackP99(s)
}

// stateGateway is the state of a session that has a gateway alone, in a word.
func stateGateway(s status.Session) string {
	if s.Gateway.Address == "" || s.Gateway.Mute != "" {
		return "not listening"
	}
	return "ready"
}
