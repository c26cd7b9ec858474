package page

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
)

func (p *Pages) plugins(w http.ResponseWriter, r *http.Request) {
	p.show(w, "plugins", p.view(r, "Plugins", "plugins"))
}

func (p *Pages) plugin(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	v := p.view(r, name, "plugins")
	i := slices.IndexFunc(v.Host.Plugins, func(p admin.Plugin) bool { return p.Name == name })
	if i < 0 {
		p.fail(w, r, entry.NoSuch("there is no plugin %q", name))
		return
	}
	v.Page = v.Host.Plugins[i]
	p.show(w, "plugin", v)
}

// orderPlugin does to a plugin what the last word of the path says.
func (p *Pages) orderPlugin(r *http.Request) (told, error) {
	name, order := r.PathValue("name"), r.PathValue("order")
	do := func(f func(context.Context, string) error, did string) (told, error) {
		if err := f(r.Context(), name); err != nil {
			return told{}, err
		}
		admin.Did(r, "%s plugin %s", did, name)
		return told{Text: name + " is " + did}, nil
	}
	switch order {
	case "pause":
		return do(p.Pause, "paused")
	case "resume":
		return do(p.Resume, "resumed")
	case "log-level":
		level := r.PostForm.Get("level")
		if err := p.LogLevel(r.Context(), name, level); err != nil {
			return told{}, err
		}
		admin.Did(r, "log level of plugin %s: %q", name, level)
		return told{Text: "the log of " + name + " has another level now"}, nil
	}
	return told{}, entry.NoSuch("there is no order %q for a plugin", order)
}

// rollback starts a plugin's previous proven content.
func (p *Pages) rollback(r *http.Request) (told, error) {
	name := r.PathValue("name")
	if err := p.Rollback(r.Context(), name); err != nil {
		return told{}, err
	}
	admin.Did(r, "rolled back plugin %s", name)
	return told{Text: name + " is rolled back, until its file changes"}, nil
}

// giveUp ends the wait for a stuck handler.
func (p *Pages) giveUp(r *http.Request) (told, error) {
	order := admin.GiveUpOrder{ID: r.PostForm.Get("id"), Replay: r.PostForm.Get("replay") != ""}
	if err := p.GiveUp(r.Context(), order); err != nil {
		return told{}, err
	}
	became := "a dead letter"
	if order.Replay {
		became = "the last of its lane"
	}
	admin.Did(r, "gave up the handler of event %s, which is now %s", order.ID, became)
	return told{Text: "event " + order.ID + " is given up, and now " + became}, nil
}

// reload applies the config, or looks at one plugin's file again.
func (p *Pages) reload(r *http.Request) (told, error) {
	order := admin.ReloadOrder{Plugin: r.PostForm.Get("plugin"), Force: r.PostForm.Get("force") != ""}
	did, err := p.Reload(r.Context(), order)
	if err != nil {
		return told{}, err
	}
	text := "reloaded: nothing has changed"
	if len(did.Changed) > 0 {
		text = "reloaded: " + strings.Join(did.Changed, "; ")
	}
	admin.Did(r, "%s", text)
	return told{Text: text}, nil
}

func (p *Pages) sessions(w http.ResponseWriter, r *http.Request) {
	p.show(w, "sessions", p.view(r, "Sessions", "sessions"))
}

// several is a number of things in words.
func several(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
