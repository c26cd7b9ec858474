package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"balhost/host/internal/ccssim"
)

// What a person types into dev's console: a message of a virtual device a line.

// typedLine is one message. Without a category it is for the first plugin of --plugin.
type typedLine struct {
	device, category string
	data             json.RawMessage
}

const usageOfLine = `type DEVICE {"key":"value"}, or DEVICE key=value; a category can stand before the data, if it is not the plugin's first`

// parseLine reads DEVICE [CATEGORY] JSON, or DEVICE [CATEGORY] KEY=VALUE...
func parseLine(text string) (l typedLine, err error) {
	var rest string
	l.device, rest = word(text)
	if first, more := word(rest); first != "" && !strings.HasPrefix(first, "{") && !strings.Contains(first, "=") {
		l.category, rest = first, more
	}
	if l.device == "" || rest == "" || strings.HasPrefix(l.device, "{") {
		return l, errors.New(usageOfLine)
	}
	if strings.HasPrefix(rest, "{") {
		l.data = json.RawMessage(rest)
		if err := json.Unmarshal(l.data, &map[string]any{}); err != nil {
			return l, fmt.Errorf("that is no JSON object: %w", err)
		}
		return l, nil
	}
	pairs := map[string]string{}
	for _, pair := range strings.Fields(rest) {
		key, value, found := strings.Cut(pair, "=")
		if !found || key == "" {
			return l, fmt.Errorf("%q: want key=value", pair)
		}
		pairs[key] = value
	}
	l.data, err = json.Marshal(pairs)
	return l, err
}

// word cuts the first word off a text.
func word(text string) (first, rest string) {
	first, rest, _ = strings.Cut(strings.TrimSpace(text), " ")
	return first, strings.TrimSpace(rest)
}

// read sends each line of in until its end.
func (c *console) read(ctx context.Context, in io.Reader) {
	all := bufio.NewScanner(in)
	all.Buffer(nil, 1<<20)
	for all.Scan() && ctx.Err() == nil {
		if strings.TrimSpace(all.Text()) == "" {
			continue
		}
		if err := c.submit(ctx, all.Text()); err != nil && ctx.Err() == nil {
			c.tell("balhost dev: " + err.Error())
		}
	}
	if err := all.Err(); err != nil && ctx.Err() == nil {
		c.tell("balhost dev: stdin is read no further: " + err.Error())
	}
}

// submit sends one line.
func (c *console) submit(ctx context.Context, text string) error {
	l, err := parseLine(text)
	if err != nil {
		return err
	}
	if l.category == "" {
		if l.category, err = c.category(ctx); err != nil {
			return err
		}
	}
	c.mu.Lock()
	c.typed[l.device] = true
	c.mu.Unlock()
	return c.send(l)
}

// category is the first plugin's. It is known when the plugin runs: until then this waits.
func (c *console) category(ctx context.Context) (string, error) {
	name, said := c.sources[0].Name, false
	for {
		status, err := c.host.Status(ctx)
		for _, p := range status.Plugins {
			if err != nil || p.Name != name || p.PID == 0 {
				continue
			}
			for _, category := range p.Categories {
				if category != "*" {
					return category, nil
				}
			}
			return "", fmt.Errorf(`%s has no category of its own: type one, DEVICE CATEGORY {"key":"value"}`, name)
		}
		if !said {
			said = true
			c.tell("balhost dev: sent as soon as " + name + " runs")
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// send has a virtual device send: a phone, by the gateway that dev has added, or a device
// of CCS.
func (c *console) send(l typedLine) error {
	var err error
	switch {
	case c.gateway.session != "":
		_, err = c.phones[c.gateway.session].Upstream(l.device, l.category, l.data)
	case len(withCCS(c.config.Sessions)) > 0:
		_, err = c.sim.Send(ccssim.Upstream{From: l.device, Category: l.category, Data: l.data})
	default:
		err = errors.New("the gateway of this config has credentials of its own: send with balhost device send")
	}
	return err
}
