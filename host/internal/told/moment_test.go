package told

import (
	"strings"
	"testing"
	"time"
)

func TestMomentReadsWhatPeopleWrite(t *testing.T) {
	cet := time.FixedZone("CET", 3600)
	now := time.Date(2026, 3, 2, 12, 30, 0, 0, cet)
	for text, want := range map[string]string{
		"":                          "0001-01-01T00:00:00Z",
		"2h":                        "2026-03-02T10:30:00+01:00",
		"2h ago":                    "2026-03-02T10:30:00+01:00",
		"1h30m":                     "2026-03-02T11:00:00+01:00",
		"3d4h":                      "2026-02-27T08:30:00+01:00",
		"2d ago":                    "2026-02-28T12:30:00+01:00",
		" 11:43 ":                   "2026-03-02T11:43:00+01:00",
		"16:43":                     "2026-03-01T16:43:00+01:00", // yesterday's
		"09:00:07":                  "2026-03-02T09:00:07+01:00",
		"2026-01-02":                "2026-01-02T00:00:00+01:00",
		"2026-01-02 14:03":          "2026-01-02T14:03:00+01:00",
		"2026-01-02 14:03:05":       "2026-01-02T14:03:05+01:00",
		"2026-01-02T14:03":          "2026-01-02T14:03:00+01:00",
		"2026-01-02T14:03:00Z":      "2026-01-02T14:03:00Z",
		"2026-01-02T14:03:00+05:30": "2026-01-02T14:03:00+05:30",
		"2026-01-02 14:03:05 UTC":   "2026-01-02T14:03:05Z",
		"2026-01-02 14:03:05 CET":   "2026-01-02T14:03:05+01:00",
	} {
		at, err := Moment(text, now)
		if got := at.Format(time.RFC3339); err != nil || got != want {
			t.Errorf("%q is %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "-2h", "24:00", "2026-13-01", "14:03 XYZ", "2026-01-02 14:03:05 XYZ", "xd", "d", "2"} {
		if at, err := Moment(text, now); err == nil || !strings.Contains(err.Error(), "14:03") {
			t.Errorf("%q is %s, %v; want an error that says what to write", text, at, err)
		}
	}
}

// What is shown can be typed, and names its zone.
func TestTimesNameTheirZone(t *testing.T) {
	defer func(was *time.Location) { time.Local = was }(time.Local)
	at := time.Date(2026, 1, 2, 13, 3, 5, 0, time.UTC)
	for _, tc := range []struct {
		zone                *time.Location
		name, stamp, ofZone string
	}{
		{time.UTC, "UTC", "2026-01-02 13:03:05 UTC", "UTC"},
		{time.FixedZone("CET", 3600), "CET", "2026-01-02 14:03:05 CET", "CET (UTC+01:00)"},
		{time.FixedZone("", -3*3600), "-03", "2026-01-02 10:03:05 -0300", "UTC-03:00"},
	} {
		time.Local = tc.zone
		if got := Stamp(at); got != tc.stamp {
			t.Errorf("%s: stamp %q, want %q", tc.name, got, tc.stamp)
		}
		if got := Zone(at); got != tc.ofZone {
			t.Errorf("%s: zone %q, want %q", tc.name, got, tc.ofZone)
		}
		if tc.zone.String() == "" {
			continue // what has no name is typed in RFC 3339
		}
		if back, err := Moment(Stamp(at), at.Local()); err != nil || !back.Equal(at) {
			t.Errorf("%s: %q is read as %s, %v", tc.name, Stamp(at), back, err)
		}
	}
	if got := TimeOfDay(at.Add(-24*time.Hour), at); !strings.HasPrefix(got, "2026-01-01 ") {
		t.Errorf("yesterday is %q", got)
	}
}
