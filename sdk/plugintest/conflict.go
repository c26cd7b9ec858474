package plugintest

// BeforeCommit has f run once: after the next handler has returned, and before what it did is
// committed. What f changes by SetState, or by giving the plugin another event, is there first.
// If the handler has read or listed it, the handler runs again, as in a real host when two
// handlers meet.
//
//	h.BeforeCommit(func() { h.SetState("stock/7", 0) })
//	if r := h.Upstream(order); r.Runs != 2 || len(r.Sent) != 1 { … }
func (h *Host) BeforeCommit(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.before = f
}

// meddle does what BeforeCommit has asked for.
func (h *Host) meddle() {
	h.mu.Lock()
	f := h.before
	h.before = nil
	h.mu.Unlock()
	if f != nil {
		f()
	}
}
