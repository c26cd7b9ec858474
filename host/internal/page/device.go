package page

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"balhost/host/internal/entry"
)

// device is where balhost dev runs virtual devices; the zero value: nowhere.
type device struct {
	base   string
	client *http.Client
}

// deviceLimit is how long the simulator may take to answer, on this machine.
const deviceLimit = 3 * time.Second

func newDevice(base string) device {
	if base == "" {
		return device{}
	}
	return device{base: strings.TrimSuffix(base, "/"), client: &http.Client{Timeout: deviceLimit}}
}

func (d device) there() bool { return d.base != "" }

// devicePage is a virtual device to type to.
type devicePage struct {
	From, Category, Data string
	Got                  string // what it has got, as the simulator tells it; "": nothing yet
}

func (p *Pages) deviceForm(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	page := devicePage{From: query.Get("from"), Category: query.Get("category"), Data: query.Get("data")}
	if page.From != "" {
		got, _ := p.device.ask(r.Context(), http.MethodGet, "/devices/"+url.PathEscape(page.From), nil) // a device that has got nothing is not known
		page.Got = indented(json.RawMessage(got))
	}
	v := p.view(r, "Virtual device", "device")
	v.Page = page
	p.show(w, "device", v)
}

// typed sends what a person typed, as the virtual device.
func (p *Pages) typed(r *http.Request) (told, error) {
	from, category, data := strings.TrimSpace(r.PostForm.Get("from")), strings.TrimSpace(r.PostForm.Get("category")), strings.TrimSpace(r.PostForm.Get("data"))
	if from == "" || category == "" || !json.Valid([]byte(data)) {
		return told{}, wrong(`name the device and the category, and write data as a JSON object such as {"text": "hello"}`)
	}
	body, err := json.Marshal(map[string]any{"from": from, "category": category, "data": json.RawMessage(data)})
	if err != nil {
		return told{}, err
	}
	if _, err := p.device.ask(r.Context(), http.MethodPost, "/upstream", body); err != nil {
		return told{}, err
	}
	to := "/device?" + url.Values{"from": {from}, "category": {category}, "data": {data}}.Encode()
	return told{Text: from + " has sent it", to: to}, nil
}

// Categories are those that the plugins have, for a person to choose from.
func (v view) Categories() (all []string) {
	for _, p := range v.Host.Plugins {
		for _, c := range p.Categories {
			if c != "*" {
				all = append(all, c)
			}
		}
	}
	return all
}

// ask asks the simulator, and returns its answer's text.
func (d device) ask(ctx context.Context, method, path string, body []byte) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, d.base+path, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return "", fmt.Errorf("ask the simulator of balhost dev: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxForm))
	switch {
	case err != nil:
		return "", fmt.Errorf("read the simulator's answer: %w", err)
	case resp.StatusCode == http.StatusNotFound:
		return "", entry.NoSuch("%s", text)
	case resp.StatusCode/100 != 2:
		return "", wrong(strings.TrimSpace(string(text)))
	}
	return string(text), nil
}
