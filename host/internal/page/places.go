package page

import (
	"fmt"
	"math"

	"balhost/host/internal/admin"
	"balhost/host/internal/status"
	say "balhost/host/internal/told"
)

// place is one in the navigation.
type place struct {
	Name, Path, Title string
	Count             int    // what is there for a person to look at
	Grade             string // how grave that is
}

// group are places that belong together.
type group struct {
	Name, Title string
	Places      []place
}

// Groups are the places that the reader may go to.
func (v view) Groups() []group {
	retries := 0
	for _, p := range v.Host.Plugins {
		retries += p.Waiting
	}
	see := group{"see", "See", []place{
		{Name: "overview", Path: "/", Title: "Overview", Count: len(v.Host.Reasons), Grade: "bad"},
		{Name: "messages", Path: "/messages", Title: "Messages"},
		{Name: "tail", Path: "/tail", Title: "Live tail"},
		{Name: "plugins", Path: "/plugins", Title: "Plugins"},
		{Name: "sessions", Path: "/sessions", Title: "Sessions"},
	}}
	mend := group{"mend", "Mend", []place{
		{Name: "dead", Path: "/dead", Title: "Dead letters", Count: v.Host.Ledger.Dead, Grade: "warn"},
		{Name: "retries", Path: "/retries", Title: "Retries", Count: retries, Grade: "warn"},
		{Name: "pauses", Path: "/pauses", Title: "Pauses", Count: v.paused(), Grade: "warn"},
	}}
	send := group{Name: "send", Title: "Send"}
	keep := group{"keep", "Keep", []place{{Name: "state", Path: "/state", Title: "State of plugins"}}}
	if v.May("operate") {
		send.Places = append(send.Places, place{Name: "send", Path: "/send", Title: "A downstream"})
		if v.Device {
			send.Places = append(send.Places, place{Name: "device", Path: "/device", Title: "Virtual device"})
		}
		keep.Places = append(keep.Places, place{Name: "bindings", Path: "/bindings", Title: "Bindings"})
	}
	if v.May("admin") {
		keep.Places = append(keep.Places, place{Name: "backup", Path: "/backup", Title: "Backup"},
			place{Name: "erase", Path: "/erase", Title: "Erase a device"}, place{Name: "audit", Path: "/audit", Title: "Audit log"})
	}
	all := []group{see, mend}
	if len(send.Places) > 0 {
		all = append(all, send)
	}
	return append(all, keep)
}

// paused is how many plugins a person has paused, and devices at them.
func (v view) paused() (n int) {
	for _, p := range v.Host.Plugins {
		if n += len(p.PausedDevices); p.Paused {
			n++
		}
	}
	return n
}

// Counted is what there is to look at in all places, for the menu when it is shut.
func (v view) Counted() (n int) {
	for _, g := range v.Groups() {
		for _, p := range g.Places {
			n += p.Count
		}
	}
	return n
}

// figure is one number of the overview.
type figure struct {
	Label, Value, Unit string
	Under              string // in small letters
	Chart              *chart
}

// Figures are the numbers that say how much passes, and how much waits.
func (v view) Figures() []figure {
	l, rate, inFlight, lanes := v.Host.Ledger, 0.0, 0, 0
	for _, p := range v.Host.Plugins {
		rate += p.Rate
		inFlight += p.InFlight
		lanes += p.Lanes
	}
	going := 0
	for _, s := range v.Host.Sessions {
		if w := windowOf(s); w != nil {
			going += w[0]
		}
	}
	series, n := v.Series.Ledger, steps(v.Series)
	return []figure{
		{"Stored", latestOf(series.Accepted), "/s", grouped(int(l.Accepted)) + " upstreams and receipts in all", drawn("Stored/s", series.Accepted, n)},
		{"Handled", rateText(rate), "/s", grouped(int(l.Handled)) + " events in all", drawn("Handled/s", series.Handled, n)},
		{"Events pending", grouped(l.Events), "", fmt.Sprintf("%s in flight, in %s", grouped(inFlight), say.Count(lanes, "lane", "lanes")), drawn("Events pending", series.Events, n)},
		{"Sent", latestOf(series.Sent), "/s", fmt.Sprintf("%s acked, %s failed, %s expired", grouped(int(l.Acked)), grouped(int(l.Failed)), grouped(int(l.Expired))), drawn("Downstreams stored/s", series.Sent, n)},
		{"Downstreams waiting", grouped(l.Downstreams), "", grouped(going) + " in flight", drawn("Downstreams waiting", series.Downstreams, n)},
		{"Dead letters", grouped(l.Dead), "", grouped(int(l.Died)) + " since the ledger was made", drawn("Dead letters", series.Dead, n)},
	}
}

// latestOf is the newest of some points.
func latestOf(points admin.Points) string {
	if n := len(points); n > 0 && !math.IsNaN(points[n-1]) {
		return rateText(points[n-1])
	}
	return "-"
}

// Disk is how much room the ledger has.
func (v view) Disk() string {
	l := v.Host.Ledger
	if l.DiskFree == nil {
		return "disk space unknown: " + l.DiskError
	}
	return say.Size(*l.DiskFree) + " of disk free; below " + say.Size(l.DiskSoft) + " no new messages are taken"
}

// latest is how many of the events that ended last are shown.
const latest = 12

// Latest are the events that ended last, the newest first.
func (v view) Latest() []status.Recent { return v.Host.Recent[:min(len(v.Host.Recent), latest)] }

// windowOf is how much of a session's windows is used, and how large they are together;
// nil: it has none.
func windowOf(s status.Session) []int {
	if s.FCMv1 != nil {
		return []int{s.FCMv1.InFlight, s.FCMv1.Window}
	}
	used, all := 0, 0
	for _, c := range s.Connections {
		used, all = used+c.InFlight, all+c.Window
	}
	if all == 0 {
		return nil
	}
	return []int{used, all}
}

// ended is how an event ended.
func ended(end string) mark {
	return mark{map[string]string{"handled": "good", "retried": "warn", "dead": "bad"}[end], end}
}
