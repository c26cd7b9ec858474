package fcmsim

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// Install is an app on a device. It is reached by a token or by an FID, and by both
// only while By is empty. Spec: fcm-v1-and-gateway.md A2.
type Install struct {
	Token string `json:"token"`
	FID   string `json:"fid"`
	By    Kind   `json:"by"` // "token" or "fid": the one that it registered last; the other is answered UNREGISTERED
}

// unregistered reports whether FCM knows that a target has gone. s.mu must be held.
func (s *Server) unregistered(m message) bool {
	d := s.devices[m.key()]
	switch {
	case d == nil:
		return false
	case d.gone:
		return true
	case d.install.By == KindFID:
		return m.target == d.install.Token
	}
	return d.install.By == KindToken && m.target == d.install.FID
}

// Register makes an install known, or says by which kind of address it is reached now.
func (s *Server) Register(i Install) error {
	switch {
	case i.Token == "" && i.FID == "":
		return errors.New("an install needs a token or an fid")
	case i.By != "" && i.By != KindToken && i.By != KindFID:
		return fmt.Errorf("by %q: want %q, %q or nothing", i.By, KindToken, KindFID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := cmp.Or(s.devices[i.Token], s.devices[i.FID])
	switch {
	case d != nil:
	case i.Token != "":
		d = s.device(KindToken, i.Token)
	default:
		d = s.device(KindFID, i.FID)
	}
	if d == nil {
		return errors.New("too many devices are remembered")
	}
	d.install, d.gone = i, false
	for _, name := range []string{i.Token, i.FID} {
		if name != "" {
			s.devices[name] = d
		}
	}
	return nil
}

// Uninstall removes the app at a token or FID: from now on it is UNREGISTERED.
func (s *Server) Uninstall(target string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.device(KindToken, target); d != nil {
		d.gone, d.stored = true, nil
	}
}

// SetOnline takes the device at a token or FID offline, or brings it back. Then it
// gets what was stored for it.
func (s *Server) SetOnline(target string, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.device(KindToken, target); d != nil {
		d.offline = !on
		s.flush(d, time.Now())
	}
}

// Device reports on one token, FID, topic ("/topics/x") or condition. It is false if
// nothing is known of it.
func (s *Server) Device(target string) (DeviceReport, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[target]
	if d == nil {
		return DeviceReport{Target: target}, false
	}
	return s.reportDevice(d, time.Now()), true
}

// Devices reports on all targets, oldest first, each with its last 10 messages.
func (s *Server) Devices() []DeviceReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reportDevices(len(s.order), time.Now())
}

// reportDevices reports on the first n. s.mu must be held.
func (s *Server) reportDevices(n int, now time.Time) []DeviceReport {
	out := []DeviceReport{}
	for _, d := range s.order[:min(n, len(s.order))] {
		r := s.reportDevice(d, now)
		r.Last = r.Last[max(0, len(r.Last)-10):]
		out = append(out, r)
	}
	return out
}

func (s *Server) reportDevice(d *device, now time.Time) DeviceReport {
	s.flush(d, now)
	r := d.report
	r.Target, r.Kind, r.Waiting, r.Offline, r.Gone = d.target, d.kind, len(d.stored), d.offline, d.gone
	r.Last = append([]Received{}, d.received...)
	return r
}
