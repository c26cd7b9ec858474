package entry

import (
	"strings"
	"time"
)

// DeadFilter selects dead letters. Each field that is set narrows it; the zero value
// selects all.
type DeadFilter struct {
	Device   string // the whole token, or its beginning with "…" behind it, as listings show it
	Category string
	Plugin   string // who tried it last
	Kind     string // as [Kind.String] has it
	Reason   string // a part of the reason; upper and lower case are the same
	Since    time.Time
	Until    time.Time // it died from Since on, and before Until
}

// Any reports whether f selects all dead letters.
func (f DeadFilter) Any() bool { return f == DeadFilter{} }

// Selects reports whether f selects a dead letter.
func (f DeadFilter) Selects(d *DeadLetter) bool {
	is := func(want, have string) bool { return want == "" || want == have }
	return isDevice(f.Device, d.From) && is(f.Category, d.Category) && is(f.Plugin, d.Plugin) && is(f.Kind, d.Kind) &&
		(f.Since.IsZero() || !d.Died.Before(f.Since)) && (f.Until.IsZero() || d.Died.Before(f.Until)) &&
		(f.Reason == "" || strings.Contains(strings.ToLower(d.Reason), strings.ToLower(f.Reason)))
}

// isDevice reports whether wanted names the device with this token. A beginning that is
// longer than the 16 bytes that listings show names none: else who may not see whole tokens
// could find them letter by letter.
func isDevice(wanted, token string) bool {
	if begins, short := strings.CutSuffix(wanted, "…"); short {
		return begins != "" && len(begins) <= 16 && strings.HasPrefix(token, begins)
	}
	return wanted == "" || wanted == token
}
