package outbox

import (
	"balhost/host/internal/feed"
	"balhost/sdk/message"
)

// sent is the step that a downstream goes out, for those who watch.
func (b *Outbox) sent(it *item, m message.Checked) feed.Step {
	s := feed.Step{
		What: feed.Sent, Kind: feed.Downstream, MessageID: m.MessageID, Session: it.queue.sender, Plugin: it.Owner,
		Device: feed.Target(m.To), Attempt: int(it.writes), Payload: m.Data,
	}
	switch {
	case it.routed:
		s.By = string(message.Gateway)
	case b.o.Senders != nil:
		s.By = string(b.o.Senders().Transport(it.queue.sender))
	}
	return s
}
