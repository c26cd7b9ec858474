package page

import (
	"net/http"

	"balhost/host/internal/admin"
)

func (p *Pages) pauses(w http.ResponseWriter, r *http.Request) {
	page, err := p.Pauses(r.Context())
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v := p.view(r, "Pauses", "pauses")
	v.Page = page
	p.show(w, "pauses", v)
}

func (p *Pages) pauseBy(r *http.Request) (told, error) {
	order, err := pauseOrder(r)
	if err != nil {
		return told{}, err
	}
	if err := p.PauseBy(r.Context(), order); err != nil {
		return told{}, err
	}
	admin.Did(r, "paused %s", pausedName(order))
	return told{Text: pausedName(order) + " is paused"}, nil
}

func (p *Pages) resumeBy(r *http.Request) (told, error) {
	order, err := pauseOrder(r)
	if err != nil {
		return told{}, err
	}
	if err := p.ResumeBy(r.Context(), order); err != nil {
		return told{}, err
	}
	admin.Did(r, "resumed %s", pausedName(order))
	return told{Text: pausedName(order) + " goes on"}, nil
}

// pauseOrder is what a form names.
func pauseOrder(r *http.Request) (o admin.PauseOrder, err error) {
	text := entered(r.PostForm)
	o = admin.PauseOrder{Plugin: text("plugin"), Device: text("device"), Lane: text("lane"), Session: text("session"), Intake: text("part") == "intake", Delivery: text("part") == "delivery"}
	if err := o.Check(); err != nil {
		return o, wrong(err.Error())
	}
	return o, nil
}

// pausedName names what an order is about, without its device and lane.
func pausedName(o admin.PauseOrder) string {
	switch {
	case o.Device != "":
		return "a device at plugin " + o.Plugin
	case o.Lane != "":
		return "a lane at plugin " + o.Plugin
	case o.Plugin != "":
		return "plugin " + o.Plugin
	case o.Intake:
		return "the intake of session " + o.Session
	case o.Delivery:
		return "the delivery of session " + o.Session
	}
	return "session " + o.Session
}
