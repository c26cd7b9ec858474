package told

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// Times have one rule, in the commands and on the page. They are shown by the clock of this
// process's time zone, and the zone's name stands with them. What a person types without a
// zone is by the same clock.

// Zone names the time zone of this process at t: "UTC", "CET (UTC+01:00)".
func Zone(t time.Time) string {
	name, offset := t.Local().Zone()
	switch {
	case name == "UTC":
		return name
	case name == "" || strings.ContainsAny(name[:1], "+-"): // a zone without a name of its own
		return "UTC" + t.Local().Format("-07:00")
	case offset == 0:
		return name + " (UTC)"
	}
	return name + t.Local().Format(" (UTC-07:00)")
}

// Stamp is a time with its zone: "2026-12-24 18:00:00 CET".
func Stamp(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 MST") }

// Clock is the time of day with its zone: "18:00:00 CET".
func Clock(t time.Time) string { return t.Local().Format("15:04:05 MST") }

// TimeOfDay is the time of day to the millisecond, with the date if that is not now's. The
// zone stands elsewhere: at the head of a table, or once above.
func TimeOfDay(at, now time.Time) string {
	at, now = at.Local(), now.Local()
	if at.Format(time.DateOnly) != now.Format(time.DateOnly) {
		return at.Format("2006-01-02 15:04:05.000")
	}
	return at.Format("15:04:05.000")
}

// momentForms are the dates that people write.
var momentForms = []string{
	time.RFC3339, time.DateTime, "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly,
	"2006-01-02 15:04:05 MST", "2006-01-02 15:04 MST", // as Stamp shows them
}

var errMoment = errors.New(`want a time such as 14:03, "2026-01-02 14:03", 2026-01-02T14:03:00Z, or 2h for two hours ago`)

// Moment reads a time as people write it: a time of day, which is the last one that was, a
// date with or without a time of day, RFC 3339, or how long ago it was, as [Short] shows it.
// Without a zone it is by the clock of now's. "" is the zero time.
func Moment(text string, now time.Time) (time.Time, error) {
	if text = strings.TrimSpace(text); text == "" {
		return time.Time{}, nil
	}
	if ago, ok := span(strings.TrimSpace(strings.TrimSuffix(text, "ago"))); ok {
		return now.Add(-ago), nil
	}
	for _, form := range momentForms {
		if at, err := time.ParseInLocation(form, text, now.Location()); err == nil && !strange(at, now.Location()) {
			return at, nil
		}
	}
	for _, form := range []string{time.TimeOnly, "15:04"} {
		at, err := time.ParseInLocation(form, text, now.Location())
		if err != nil {
			continue
		}
		y, m, d := now.Date()
		at = time.Date(y, m, d, at.Hour(), at.Minute(), at.Second(), 0, now.Location())
		if at.After(now) {
			at = time.Date(y, m, d-1, at.Hour(), at.Minute(), at.Second(), 0, now.Location()) // yesterday's
		}
		return at, nil
	}
	return time.Time{}, errMoment
}

// strange reports a zone whose name is known to nobody: Go reads it as UTC.
func strange(at time.Time, here *time.Location) bool {
	name, offset := at.Zone()
	return offset == 0 && name != "" && name != "UTC" && name != "GMT" && at.Location() != here
}

// span reads how long something took: "90s", "1h30m", "3d4h".
func span(text string) (time.Duration, bool) {
	days := time.Duration(0)
	if before, rest, found := strings.Cut(text, "d"); found {
		n, err := strconv.ParseUint(before, 10, 16)
		if err != nil {
			return 0, false
		}
		if days = time.Duration(n) * 24 * time.Hour; rest == "" {
			return days, true
		}
		text = rest
	}
	d, err := time.ParseDuration(text)
	return days + d, err == nil && d >= 0
}
