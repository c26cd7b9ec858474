package wire

const (
	// maxBatch and maxBytes are where a frame is cut (notes/goplugin.md §3: larger
	// ones cost latency and save nothing). One item may be larger than maxBytes.
	maxBatch = 64
	maxBytes = 256 << 10
	// maxDone is the limit for bare delivery numbers, of which 256 are under 2 KiB.
	maxDone = 256

	// maxBacklog is queued for a plugin that does not read; then the host reads
	// nothing of it either. Deliveries, which credit bounds, fit twice.
	maxBacklog = 8 << 20

	perItem = 128 // assumed for the small fields of a delivery, result, call or reply
)

// mergeHost adds f to pending. The receiver takes a frame's fields in a fixed
// order, deliveries first and the drain last, so that merging keeps the meaning.
func mergeHost(pending, f *HostFrame) {
	pending.Deliver = append(pending.Deliver, f.Deliver...)
	pending.Revoke = append(pending.Revoke, f.Revoke...)
	pending.Reply = append(pending.Reply, f.Reply...)
	pending.Run = pending.Run || f.Run
	pending.Ping = max(pending.Ping, f.Ping)
	if f.Drain != nil {
		pending.Drain = f.Drain
	}
	if f.LogLevel != "" {
		pending.LogLevel = f.LogLevel
	}
	if f.Sessions != nil {
		pending.Sessions, pending.Transports = f.Sessions, f.Transports
	}
}

// cutHost takes what goes into the next frame off pending; nil for nothing.
// Revokes and the drain wait for the last delivery queued before them.
func cutHost(pending *HostFrame) *HostFrame {
	if len(pending.Deliver)+len(pending.Revoke)+len(pending.Reply) == 0 &&
		pending.Drain == nil && !pending.Run && pending.Ping == 0 && pending.LogLevel == "" && pending.Sessions == nil {
		return nil
	}
	f := &HostFrame{Ping: pending.Ping, LogLevel: pending.LogLevel, Sessions: pending.Sessions, Transports: pending.Transports, Run: pending.Run}
	pending.Ping, pending.LogLevel, pending.Sessions, pending.Transports, pending.Run = 0, "", nil, nil, false
	room := maxBytes
	f.Deliver = front(&pending.Deliver, &room, (*Delivery).weight)
	f.Reply = front(&pending.Reply, &room, (*Reply).weight)
	if len(pending.Deliver) == 0 && len(pending.Reply) == 0 {
		f.Revoke, pending.Revoke = pending.Revoke, nil
		f.Drain, pending.Drain = pending.Drain, nil
	}
	return f
}

// weighHost is what a frame takes of the host's memory while the plugin does not
// read it.
func weighHost(f *HostFrame) int {
	n := 0
	for _, d := range f.Deliver {
		n += d.weight()
	}
	for _, r := range f.Reply {
		n += r.weight()
	}
	return n
}

// weighPlugin is nothing: what a plugin queues is bounded by what it was given.
func weighPlugin(*PluginFrame) int { return 0 }

func mergePlugin(pending, f *PluginFrame) {
	pending.Done = append(pending.Done, f.Done...)
	pending.Result = append(pending.Result, f.Result...)
	pending.Extend = append(pending.Extend, f.Extend...)
	pending.Call = append(pending.Call, f.Call...)
	pending.Abandon = append(pending.Abandon, f.Abandon...)
	pending.Drained = pending.Drained || f.Drained
	pending.Pong = max(pending.Pong, f.Pong)
	if f.Credit != 0 {
		pending.Credit = f.Credit
	}
	if f.RunFailure != nil {
		pending.RunFailure = f.RunFailure
	}
}

// cutPlugin takes what goes into the next frame off pending; nil for nothing.
// Drained goes after everything else.
func cutPlugin(pending *PluginFrame) *PluginFrame {
	if len(pending.Done)+len(pending.Result)+len(pending.Call)+len(pending.Extend)+len(pending.Abandon) == 0 &&
		pending.Credit == 0 && pending.Pong == 0 && pending.RunFailure == nil && !pending.Drained {
		return nil
	}
	f := &PluginFrame{Extend: pending.Extend, Credit: pending.Credit, Pong: pending.Pong, RunFailure: pending.RunFailure}
	pending.Extend, pending.Credit, pending.Pong, pending.RunFailure = nil, 0, 0, nil
	n := min(len(pending.Done), maxDone)
	f.Done, pending.Done = pending.Done[:n:n], pending.Done[n:]
	room := maxBytes
	f.Result = front(&pending.Result, &room, (*Result).weight)
	f.Call = front(&pending.Call, &room, (*Call).weight)
	if len(pending.Call) == 0 { // an abandoned call goes before
		f.Abandon, pending.Abandon = pending.Abandon, nil
	}
	if len(pending.Done) == 0 && len(pending.Result) == 0 && len(pending.Call) == 0 {
		f.Drained, pending.Drained = pending.Drained, false
	}
	return f
}

// front cuts at most maxBatch items off the front of *list, at least one while
// room is left, and lowers room by their weight.
func front[T any](list *[]T, room *int, weight func(T) int) []T {
	n := 0
	for n < len(*list) && n < maxBatch && *room > 0 {
		w := weight((*list)[n])
		if *room < maxBytes && w > *room {
			*room = 0
			break
		}
		*room -= w
		n++
	}
	front := (*list)[:n:n]
	if *list = (*list)[n:]; len(*list) == 0 {
		*list = nil
	}
	return front
}

func (d *Delivery) weight() int {
	switch e := d.Event.(type) {
	case *Delivery_Upstream:
		return perItem + len(e.Upstream.GetData()) + len(e.Upstream.GetRaw()) + len(e.Upstream.GetDevice())
	case *Delivery_Outcome:
		return perItem + len(e.Outcome.GetContext()) + len(e.Outcome.GetDescription())
	case *Delivery_Timer:
		return perItem + len(e.Timer.GetData()) + len(e.Timer.GetDevice())
	}
	return 2 * perItem
}

func (r *Reply) weight() int { return perItem + len(r.Value) + len(r.Error) + r.List.weight() }

func (r *Result) weight() int { return perItem + len(r.Error) + r.Changes.weight() }

func (c *Call) weight() int {
	switch op := c.Op.(type) {
	case *Call_Send:
		return op.Send.weight()
	case *Call_Update:
		return op.Update.weight()
	}
	return perItem
}

func (c *Changes) weight() int {
	n := 0
	for _, d := range c.GetSend() {
		n += d.weight()
	}
	for _, w := range c.GetWrite() {
		n += perItem + len(w.Key) + len(w.Value)
	}
	for _, r := range c.GetRead() {
		n += perItem + len(r.Key)
	}
	for _, s := range c.GetSchedule() {
		n += perItem + s.Size()
	}
	for _, r := range c.GetRange() {
		n += perItem + r.Size()
	}
	return n
}

func (d *Downstream) weight() int {
	return perItem + len(d.GetData()) + len(d.GetNotification()) + len(d.GetContext()) + len(d.GetGroup())
}
