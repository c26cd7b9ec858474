package outbox

// Pause keeps the downstreams of a sender from going out until Resume, by its transport
// and by the routes of its devices. What is in flight ends as usual. What waits can
// expire, and can be canceled.
func (b *Outbox) Pause(sender string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queue(sender).paused = true
}

// Resume undoes Pause.
func (b *Outbox) Resume(sender string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queue(sender)
	q.paused = false
	q.signal()
	for _, r := range q.routes {
		r.changed()
	}
}
