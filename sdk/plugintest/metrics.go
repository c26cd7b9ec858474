package plugintest

import "context"

// Metrics is what the plugin's Metrics writes, as a scrape of the host would get it. The
// error says why the host would get nothing.
func (h *Host) Metrics() (string, error) {
	h.t.Helper()
	h.mu.Lock()
	in := h.now
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	text, err := in.client.Metrics(ctx)
	return string(text), err
}
