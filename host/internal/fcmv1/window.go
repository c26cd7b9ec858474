package fcmv1

import "time"

// window is how many requests may be in flight (P3): no more than the connections have
// streams. FCM allows 100 on a connection, and HTTP/1.1 one. If a connection has fewer,
// net/http dials another one beside it. So such a dial halves what a connection is taken
// to carry, and that grows again slowly. Spec: fcm-v1-and-gateway.md A8.
type window struct {
	connections int
	most        int       // streams of a connection at most
	streams     int       // that it is taken to have
	crowded     uint64    // dials beside an open connection, as last seen
	changed     time.Time // when streams was last changed
}

const (
	streamsHTTP2 = 100
	reshrink     = time.Second      // between two halvings: a restart of FCM ends all connections at once
	regrow       = 10 * time.Second // between two steps of growth, each a fifth
)

func newWindow(connections int) window {
	return window{connections: connections, most: streamsHTTP2, streams: streamsHTTP2}
}

// size is how many may be in flight; crowded counts the dials beside an open connection.
func (w *window) size(crowded uint64, now time.Time) int {
	switch {
	case crowded > w.crowded && now.Sub(w.changed) >= reshrink:
		w.streams, w.changed = max(1, w.streams/2), now
	case w.streams < w.most && now.Sub(w.changed) >= regrow:
		w.streams, w.changed = min(w.most, w.streams+max(1, w.streams/5)), now
	}
	w.crowded = crowded
	return w.connections * w.streams
}

// spoke notes the version of HTTP that the peer speaks.
func (w *window) spoke(major int) {
	most := streamsHTTP2
	if major == 1 {
		most = 1
	}
	if most != w.most {
		w.most, w.streams = most, most
	}
}
