package page

import (
	"net/http"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
)

// erasePage is what there is of a device, or what has become of it.
type erasePage struct {
	Order  admin.EraseOrder
	Asked  bool // Found says what there is
	Done   bool // it is erased
	Found  entry.Erased
	Wrong  string
	Stands admin.Erasing
}

func (p *Pages) eraseForm(w http.ResponseWriter, r *http.Request) {
	v := p.view(r, "Erase a device", "erase")
	v.Page = erasePage{Stands: p.Erasing()}
	p.show(w, "erase", v)
}

// erase says what there is of a device, and with "do" erases it. The device is in no
// address: those are kept by browsers.
func (p *Pages) erase(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	page, code := erasePage{}, http.StatusOK
	err := r.ParseForm()
	if err == nil {
		err = unpack(r.PostForm)
	}
	if err == nil {
		text := entered(r.PostForm)
		page.Order = admin.EraseOrder{Device: text("device"), FID: text("fid"), Session: text("session"), Values: text("values") != "", Plan: text("do") == ""}
		err = page.Order.Check()
	}
	if err == nil {
		page.Found, err = p.Erase(r.Context(), page.Order)
		page.Asked, page.Done = err == nil, err == nil && !page.Order.Plan
	}
	if err != nil {
		page.Wrong, code = err.Error(), http.StatusUnprocessableEntity
	}
	if records := page.Found.Records(); page.Done || records > 0 && !page.Order.Plan { // it may have failed when a part was done
		admin.Did(r, "erased a device: %s", several(records, "record"))
		p.status.forget()
	} else if page.Asked {
		admin.Did(r, "%s", admin.SawDevice)
	}
	v := p.view(r, "Erase a device", "erase")
	v.Page = page
	p.answer(w, code, "erase", v)
}
