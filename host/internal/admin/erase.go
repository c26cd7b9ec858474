package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"balhost/host/internal/entry"
)

// EraseOrder names a device of which everything is to be erased: by its registration token, by
// its FID, or by both.
type EraseOrder struct {
	Device  string `json:"device,omitempty"`
	FID     string `json:"fid,omitempty"`
	Session string `json:"session,omitempty"` // only in this session; "": in all
	Values  bool   `json:"values,omitempty"`  // also keys of plugins' state whose values name it
	Plan    bool   `json:"plan,omitempty"`    // only say what there is
}

// Names are those of the device.
func (o EraseOrder) Names() []string {
	return slices.DeleteFunc([]string{o.Device, o.FID}, func(name string) bool { return name == "" })
}

// maxDevice bounds the name of a device, in bytes: no message has a longer one.
const maxDevice = 4 << 10

// Check says what is wrong with the order.
func (o EraseOrder) Check() error {
	if len(o.Names()) == 0 {
		return errors.New(`say which device: its token ({"device": "…"}), its FID ({"fid": "…"}), or both`)
	}
	for _, name := range o.Names() {
		if len(name) > maxDevice {
			return fmt.Errorf("a name of %d bytes: no device has a longer one than %d", len(name), maxDevice)
		}
	}
	return nil
}

// Erasing says how far the running erasure is.
type Erasing struct {
	Running bool      `json:"running"`
	Stage   string    `json:"stage,omitempty"` // what it does
	Since   time.Time `json:"since,omitzero"`  // when that began
}

func (a api) erase(w http.ResponseWriter, r *http.Request) {
	var o EraseOrder
	if !read(w, r, &o) {
		return
	}
	if err := o.Check(); err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	did, err := a.Erase(r.Context(), o)
	did.Keys, did.Mentions, did.Held = notNull(did.Keys), notNull(did.Mentions), notNull(did.Held)
	if o.Plan && err == nil {
		a.did(r, "%s", SawDevice)
	} else if !o.Plan {
		keys := len(did.Keys) + did.MoreKeys
		a.didSome(r, did.Records()+keys, err, "erased a device: %s and %s", several(did.Records(), "record"), several(keys, "state key"))
	}
	a.answer(w, r, did, err)
}

// SawDevice is what the audit log says of who asked what there is of a device.
const SawDevice = "saw what there is of a device; nothing was erased"

func (a api) erasing(w http.ResponseWriter, _ *http.Request) { answer(w, a.Erasing()) }

// Erase erases a device, or says what there is of it. It takes as long as the ledger is large.
func (c *Client) Erase(ctx context.Context, o EraseOrder) (entry.Erased, error) {
	if err := o.Check(); err != nil {
		return entry.Erased{}, err
	}
	return ask[entry.Erased](ctx, c.long(), http.MethodPost, "/v1/erase", o)
}

// Erasing says how far the running erasure is.
func (c *Client) Erasing(ctx context.Context) (Erasing, error) {
	return ask[Erasing](ctx, c, http.MethodGet, "/v1/erase", nil)
}
