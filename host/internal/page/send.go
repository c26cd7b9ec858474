package page

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"balhost/host/internal/admin"
)

// sendPage is the form for a downstream, with what was typed into it.
type sendPage struct {
	Typed func(name string) string
	Wrong string // why it was not sent
}

func (p *Pages) sendForm(w http.ResponseWriter, r *http.Request) {
	v := p.view(r, "Send", "send")
	v.Page = sendPage{Typed: r.URL.Query().Get}
	p.show(w, "send", v)
}

// send stores the downstream of the form. If something is wrong, the form comes back as it
// was, with what is wrong.
func (p *Pages) send(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	err := r.ParseForm()
	var id string
	if err == nil {
		id, err = p.stored(r)
	}
	if err != nil {
		v := p.view(r, "Send", "send")
		v.Page = sendPage{Typed: r.PostForm.Get, Wrong: err.Error()}
		p.answer(w, http.StatusUnprocessableEntity, "send", v)
		return
	}
	p.status.forget()
	putTold(w, r, told{Text: "stored as " + id + ": it goes out when its session takes it"})
	http.Redirect(w, r, "/send", http.StatusSeeOther)
}

func (p *Pages) stored(r *http.Request) (id string, err error) {
	m, err := typedMessage(r.PostForm.Get)
	if err != nil {
		return "", err
	}
	checked, err := m.Checked()
	if err != nil {
		return "", err
	}
	if id, err = p.Send(r.Context(), checked); err != nil {
		return "", err
	}
	admin.Did(r, "stored downstream %s", admin.Named(id))
	return id, nil
}

// typedMessage is the downstream that a form has.
func typedMessage(typed func(string) string) (m admin.Message, err error) {
	text := func(name string) string { return strings.TrimSpace(typed(name)) }
	m = admin.Message{Session: text("session"), Priority: text("priority"), CollapseKey: text("collapse_key"), Group: text("group"), ReceiptRequested: typed("receipt") != "", DryRun: typed("dry_run") != ""}
	switch to := text("to"); typed("kind") {
	case "topic":
		m.Topic = to
	case "condition":
		m.Condition = to
	case "fid":
		m.FID = to
	default:
		m.Token = to
	}
	for name, field := range map[string]*json.RawMessage{"data": &m.Data, "notification": &m.Notification} {
		if text := text(name); text != "" {
			if !json.Valid([]byte(text)) {
				return m, wrong(name + ` is not JSON: write an object such as {"k": "v"}`)
			}
			*field = json.RawMessage(text)
		}
	}
	if text := text("time_to_live"); text != "" {
		d, err := time.ParseDuration(text)
		if n, numeral := strconv.Atoi(text); numeral == nil {
			d, err = time.Duration(n)*time.Second, nil
		}
		if err != nil || d < 0 {
			return m, wrong("time to live: want a time such as 90s, 15m or 24h")
		}
		seconds := int64(d / time.Second)
		m.TimeToLive = &seconds
	}
	return m, nil
}

// cancel cancels downstreams that have not gone out.
func (p *Pages) cancel(r *http.Request) (told, error) {
	ids := append(strings.Fields(r.PostForm.Get("ids")), r.PostForm["id"]...)
	if len(ids) == 0 {
		return told{}, wrong("name the message that is to be canceled, by its id")
	}
	did, err := p.Cancel(r.Context(), admin.CancelOrder{IDs: ids})
	if err != nil {
		return told{}, err
	}
	if did.Done == 0 {
		return told{}, wrong("nothing was canceled: it has gone out, has ended, or was never stored: " + strings.Join(did.Gone, ", "))
	}
	admin.Did(r, "canceled %s", several(did.Done, "downstream"))
	return told{Text: several(did.Done, "downstream") + " canceled" + missing(did.Gone)}, nil
}
