package page

import (
	"net/http"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
)

// forgetPage is what there is of a plugin that is gone.
type forgetPage struct {
	Plugin string
	Found  entry.Forgotten
}

// forgetForm shows what there is of a plugin, and asks what becomes of it.
func (p *Pages) forgetForm(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	found, err := p.Forget(r.Context(), name, admin.ForgetOrder{Plan: true})
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v := p.view(r, "Forget "+name, "plugins")
	v.Page = forgetPage{name, found}
	p.show(w, "forget", v)
}

func (p *Pages) forget(r *http.Request) (told, error) {
	name := r.PathValue("name")
	did, err := p.Forget(r.Context(), name, admin.ForgetOrder{Delete: r.PostForm.Get("waits") == "delete", State: r.PostForm.Get("state") != ""})
	said := admin.SaidForgotten(did, err)
	if said != "" {
		admin.Did(r, "plugin %s: %s", name, said)
	}
	return told{Text: name + ": " + said, to: "/plugins"}, err
}
