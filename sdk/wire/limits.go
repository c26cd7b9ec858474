package wire

import (
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"balhost/sdk/message"
)

// Limits of the stream beside those of package message.
const (
	MaxCalls     = 256              // in one frame
	MaxError     = 4 << 10          // bytes of a result's error; the rest is cut off
	ExtendWithin = 10 * time.Second // a running handler's delivery is extended at least so often
)

// NewLimits are the limits that a host tells a process that may hold so many deliveries,
// and that must answer each ping in this time.
func NewLimits(inFlight int, ping time.Duration) *Limits {
	return &Limits{
		Changes: message.MaxChanges, ChangeBytes: message.MaxChangeBytes, KeyBytes: message.MaxKey, ValueBytes: message.MaxValue,
		Calls: MaxCalls, FrameBytes: MaxFrame, InFlight: uint32(inFlight), ErrorBytes: MaxError,
		ExtendMs: uint32(ExtendWithin.Milliseconds()), PingMs: uint32(ping.Milliseconds()),
	}
}

// CheckKey says what is wrong with a state key, as ErrInvalid.
func CheckKey(key string) error { return checkText("state key", key) }

// checkText says what is wrong with a text that is as long as a state key.
func checkText(what, key string) error {
	if key == "" || len(key) > message.MaxKey || !utf8.ValidString(key) {
		return fmt.Errorf("%w: %s %.64q of %d bytes: it must be 1 to %d bytes of UTF-8", ErrInvalid, what, key, len(key), message.MaxKey)
	}
	return nil
}

// Check says why w can never be committed, as ErrInvalid.
func (w *Write) Check() error {
	if err := CheckKey(w.GetKey()); err != nil {
		return err
	}
	if n := len(w.GetValue()); n > message.MaxValue {
		return fmt.Errorf("%w: the value of %.64q has %d bytes as JSON, at most %d are possible: split it over several keys, or keep it elsewhere", ErrInvalid, w.GetKey(), n, message.MaxValue)
	}
	return nil
}

// Check says why s can never be committed, as ErrInvalid.
func (s *Schedule) Check() error {
	if err := checkText("timer", s.GetKey()); err != nil {
		return err
	}
	if named, is := s.GetLane().(*Schedule_Named); is {
		if err := checkText("lane", named.Named); err != nil {
			return fmt.Errorf("timer %q: %w", s.GetKey(), err)
		}
	}
	if device, is := s.GetLane().(*Schedule_Device); is {
		if n := len(device.Device.GetDevice()); n == 0 || n > message.MaxDevice {
			return fmt.Errorf("%w: timer %q: the device of its lane has %d bytes: it must be 1 to %d, as Upstream.From", ErrInvalid, s.GetKey(), n, message.MaxDevice)
		}
	}
	if s.GetCancel() {
		return nil
	}
	if s.GetAtMs() >= message.LatestTimer {
		return fmt.Errorf("%w: timer %q is set for Unix time %d ms, which is after the year 2199: is the number in milliseconds?", ErrInvalid, s.GetKey(), s.GetAtMs())
	}
	if n := len(s.GetData()); n > message.MaxValue {
		return fmt.Errorf("%w: the data of timer %q has %d bytes as JSON, at most %d are possible: keep it in the state", ErrInvalid, s.GetKey(), n, message.MaxValue)
	}
	if len(s.GetData()) > 0 && !json.Valid(s.GetData()) {
		return fmt.Errorf("%w: the data of timer %q is not JSON", ErrInvalid, s.GetKey())
	}
	return nil
}

// Check says which limit of package message c breaks, as ErrInvalid. It doesn't
// look into the downstreams.
func (c *Changes) Check() error {
	if err := CheckSize(c.Count(), c.Size()); err != nil {
		return err
	}
	for _, w := range c.GetWrite() {
		if err := w.Check(); err != nil {
			return err
		}
	}
	for _, id := range c.GetCancel() {
		if err := message.CheckID(id); err != nil {
			return fmt.Errorf("%w: cancel %.64q: %w", ErrInvalid, id, err)
		}
	}
	for _, r := range c.GetRead() {
		if err := CheckKey(r.GetKey()); err != nil {
			return err
		}
	}
	for _, s := range c.GetSchedule() {
		if err := s.Check(); err != nil {
			return err
		}
	}
	for _, r := range c.GetRange() {
		if err := r.Check(); err != nil {
			return err
		}
	}
	return nil
}

// Count is what counts towards message.MaxChanges.
func (c *Changes) Count() int {
	n := len(c.GetSend()) + len(c.GetWrite()) + len(c.GetRead()) + len(c.GetSchedule()) + len(c.GetCancel())
	for _, r := range c.GetRange() {
		n += r.Count()
	}
	return n
}

// CheckSize is the part of Check that counts.
func CheckSize(count, bytes int) error {
	if count > message.MaxChanges {
		return fmt.Errorf("%w: %d downstreams, timers and keys at once, at most %d are possible: send fewer, or split the work over several events", ErrInvalid, count, message.MaxChanges)
	}
	if bytes > message.MaxChangeBytes {
		return fmt.Errorf("%w: changes of %d bytes at once, at most %d are possible: split the work, or keep large values elsewhere", ErrInvalid, bytes, message.MaxChangeBytes)
	}
	return nil
}

// Size is what counts towards message.MaxChangeBytes.
func (c *Changes) Size() int {
	n := 0
	for _, d := range c.GetSend() {
		n += d.Size()
	}
	for _, w := range c.GetWrite() {
		n += w.Size()
	}
	for _, r := range c.GetRead() {
		n += len(r.GetKey())
	}
	for _, id := range c.GetCancel() {
		n += len(id)
	}
	for _, s := range c.GetSchedule() {
		n += s.Size()
	}
	for _, r := range c.GetRange() {
		n += r.Size()
	}
	return n
}

// Size is what a write counts in Changes.Size.
func (w *Write) Size() int { return len(w.GetKey()) + len(w.GetValue()) }

// Size is what a schedule counts in Changes.Size: its texts, and 64 for the rest.
func (s *Schedule) Size() int {
	return 64 + len(s.GetKey()) + len(s.GetData()) + len(s.GetNamed()) + len(s.GetDevice().GetSession()) + len(s.GetDevice().GetDevice())
}

// Size is what a downstream counts in Changes.Size: its texts, and 64 for the rest.
func (d *Downstream) Size() int {
	to, o := d.GetTo(), d.GetOptions()
	return 64 + len(d.GetMessageId()) + len(d.GetSession()) + len(d.GetGroup()) +
		len(d.GetReplace()) + len(d.GetData()) + len(d.GetNotification()) + len(d.GetContext()) +
		len(to.GetToken()) + len(to.GetFid()) + len(to.GetTopic()) + len(to.GetCondition()) +
		len(o.GetPriority()) + len(o.GetCollapseKey()) + len(o.GetAndroid()) + len(o.GetApns()) + len(o.GetWebpush())
}
