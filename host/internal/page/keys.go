package page

import (
	"encoding/json"
	"net/http"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
)

// ownersPage is who has state.
func (p *Pages) stateOwners(w http.ResponseWriter, r *http.Request) {
	owners, err := p.StateOwners(r.URL.Query().Get("after"))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v := p.view(r, "State", "state")
	v.Page = owners
	p.show(w, "owners", v)
}

// statePage is a part of a plugin's state.
type statePage struct {
	Plugin string
	Items  []stateItem
	Next   string // where the next page begins; "": there is none
}

type stateItem struct {
	Key   string
	Value string
}

// maxState is how much of the state one page shows, in bytes.
const maxState = 256 << 10

func (p *Pages) state(w http.ResponseWriter, r *http.Request) {
	query, name := r.URL.Query(), r.PathValue("plugin")
	page := statePage{Plugin: name}
	if query.Has("key") {
		value, err := p.StateValue(name, query.Get("key"))
		if err != nil {
			p.fail(w, r, err)
			return
		}
		page.Items = []stateItem{{query.Get("key"), indented(value)}}
	} else {
		got, err := p.State(name, entry.Span{Prefix: query.Get("prefix"), After: query.Get("after"), Keys: rowsOfPage, Bytes: maxState})
		if err != nil {
			p.fail(w, r, err)
			return
		}
		for _, it := range got.Items {
			page.Items = append(page.Items, stateItem{it.Key, indented(json.RawMessage(it.Value))})
		}
		if got.More {
			page.Next = got.Items[len(got.Items)-1].Key
		}
	}
	v := p.view(r, "State of "+name, "state")
	v.Page = page
	p.show(w, "state", v)
}

func (p *Pages) deleteState(r *http.Request) (told, error) {
	name, key := r.PathValue("plugin"), r.PostForm.Get("key")
	if !r.PostForm.Has("key") {
		return told{}, wrong("no key is named")
	}
	n, err := p.DeleteState(r.Context(), name, admin.StateOrder{Key: &key})
	if err != nil {
		return told{}, err
	}
	admin.Did(r, "deleted %s of the state of plugin %s", several(n, "key"), name)
	return told{Text: several(n, "key") + " deleted"}, nil
}

func (p *Pages) bindings(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	v := p.view(r, "Bindings", "bindings")
	page, err := admin.BindingPage{}, error(nil)
	if v.Gateways() > 0 {
		page, err = p.Bindings(admin.BindingQuery{Session: query.Get("session"), User: query.Get("user"), From: query.Get("from"), After: query.Get("after"), Limit: rowsOfPage})
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v.Page = page
	p.show(w, "bindings", v)
}

// Gateways is how many sessions have one.
func (v view) Gateways() (n int) {
	for _, s := range v.Host.Sessions {
		if s.Gateway != nil {
			n++
		}
	}
	return n
}

func (p *Pages) unbind(r *http.Request) (told, error) {
	did, err := p.Unbind(r.Context(), admin.UnbindOrder{Session: r.PostForm.Get("session"), From: r.PostForm["from"]})
	if err != nil {
		return told{}, err
	}
	admin.Did(r, "took %s from their users", several(did.Done, "device"))
	return told{Text: several(did.Done, "device") + " taken from their users" + missing(did.Gone)}, nil
}
