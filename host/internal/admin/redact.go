package admin

import (
	"net/http"
	"slices"

	"balhost/host/internal/plain"
	"balhost/host/internal/status"
)

// statusFor is the host's state as the caller of r may see it: without whole tokens of devices
// for who may only read.
func (a api) statusFor(r *http.Request) Status {
	s := a.Status()
	s.Sessions, s.Plugins = notNull(s.Sessions), notNull(s.Plugins)
	if a.may(r, Operate) {
		return s
	}
	s.Plugins, s.Unusable = slices.Clone(s.Plugins), slices.Clone(s.Unusable) // the host may have kept them
	for i := range s.Plugins {
		s.Plugins[i].StuckHandlers = briefHandlers(s.Plugins[i].StuckHandlers)
	}
	for i := range s.Unusable {
		s.Unusable[i].From = plain.Brief(s.Unusable[i].From)
	}
	return s
}

func briefHandlers(all []status.StuckHandler) []status.StuckHandler {
	all = slices.Clone(all)
	for i := range all {
		all[i].Device = plain.Brief(all[i].Device)
	}
	return all
}
