package page

import (
	"fmt"
	"math"
	"strings"

	"balhost/host/internal/admin"
)

// chart is the last minutes of one figure, as the paths of an SVG.
type chart struct {
	Label      string
	Now, Most  string
	Line, Area string
	Other      string // the line of a second figure; "": there is none
}

// The box that charts are drawn in. It is stretched to the place that there is.
const (
	chartWidth  = 180.0
	chartHeight = 40.0
)

// Says is the chart in words, for those who don't see it.
func (c chart) Says() string {
	return fmt.Sprintf("%s in the last 15 minutes: now %s, at most %s", c.Label, c.Now, c.Most)
}

// drawn is the chart of points, the oldest first. all is how many there will be: a host
// that has just started has fewer, and they stand at the right. nil: none is known.
func drawn(label string, points admin.Points, all int) *chart {
	most, last := extent(points)
	if math.IsNaN(last) {
		return nil
	}
	c := &chart{Label: label, Now: rateText(last), Most: rateText(most)}
	c.Line, c.Area = curve(points, most, all)
	return c
}

// handling is the chart of how long a plugin takes: p50 as an area, and p99 as a line above.
func handling(label string, p admin.PluginSeries, all int) *chart {
	_, p50 := extent(p.HandlingP50)
	most, p99 := extent(p.HandlingP99)
	if math.IsNaN(p50) || math.IsNaN(p99) {
		return nil
	}
	c := &chart{Label: label, Now: milliseconds(p50) + ", " + milliseconds(p99), Most: milliseconds(most)}
	c.Line, c.Area = curve(p.HandlingP50, most, all)
	c.Other, _ = curve(p.HandlingP99, most, all)
	return c
}

// extent is the largest of some points, and the last that is known; NaN: none is.
func extent(points admin.Points) (most, last float64) {
	last = math.NaN()
	for _, v := range points {
		if !math.IsNaN(v) {
			most, last = max(most, v), v
		}
	}
	return most, last
}

// curve is the line of points, and the area below it.
func curve(points admin.Points, most float64, all int) (of, below string) {
	all = max(all, len(points), 2)
	var line, area strings.Builder
	open := -1.0 // where the stretch of known points began; -1: there is none
	x := func(i int) float64 { return chartWidth * float64(all-len(points)+i) / float64(all-1) }
	shut := func() {
		if open >= 0 {
			fmt.Fprintf(&area, "V%.0fH%.1fZ", chartHeight, open)
		}
		open = -1
	}
	for i, v := range points {
		if math.IsNaN(v) {
			shut()
			continue
		}
		y := chartHeight - 1
		if most > 0 {
			y = 1 + (chartHeight-2)*(1-v/most)
		}
		if open < 0 {
			open = x(i)
			fmt.Fprintf(&line, "M%.1f %.1f", x(i), y)
			fmt.Fprintf(&area, "M%.1f %.0fL%.1f %.1f", x(i), chartHeight, x(i), y)
			continue
		}
		fmt.Fprintf(&line, "L%.1f %.1f", x(i), y)
		fmt.Fprintf(&area, "L%.1f %.1f", x(i), y)
	}
	shut()
	return line.String(), area.String()
}

// steps is how many points a chart has when the host has run long enough.
func steps(s admin.Series) int { return 15 * 60 / max(s.StepSeconds, 1) }

// ChartsOfPlugin are the charts of one plugin.
func (v view) ChartsOfPlugin(name string) (all []*chart) {
	for _, p := range v.Series.Plugins {
		if p.Name == name {
			n := steps(v.Series)
			all = append(all, drawn("Handled/s", p.Handled, n), handling("p50, p99", p, n), drawn("Pending", p.Pending, n), drawn("In flight", p.InFlight, n), drawn("Failed attempts/s", p.Retried, n))
		}
	}
	return known(all)
}

// SparkOfPlugin is how much one plugin has handled.
func (v view) SparkOfPlugin(name string) *chart {
	for _, p := range v.Series.Plugins {
		if p.Name == name {
			return drawn("Handled/s of "+name, p.Handled, steps(v.Series))
		}
	}
	return nil
}

// HandlingOfPlugin is how long one plugin takes.
func (v view) HandlingOfPlugin(name string) *chart {
	for _, p := range v.Series.Plugins {
		if p.Name == name {
			return handling("Handling of "+name+", p50 and p99,", p, steps(v.Series))
		}
	}
	return nil
}

// ChartsOfSession are the charts of one session.
func (v view) ChartsOfSession(name string) (all []*chart) {
	for _, s := range v.Series.Sessions {
		if s.Name == name {
			n := steps(v.Series)
			all = append(all, drawn("Up/s", s.Up, n), drawn("Down/s", s.Down, n), drawn("In flight", s.InFlight, n), drawn("Waiting", s.Waiting, n))
		}
	}
	return known(all)
}

func known(all []*chart) (some []*chart) {
	for _, c := range all {
		if c != nil {
			some = append(some, c)
		}
	}
	return some
}
