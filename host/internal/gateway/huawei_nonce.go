package gateway

import (
	"sync"
	"time"
)

const (
	nonceKept  = 10 * time.Minute // twice as long as its time is good
	mostNonces = 100_000
)

// nonces remember which deliveries were taken. The zero value is ready.
type nonces struct {
	mu    sync.Mutex // guards known
	known map[string]nonceUse
}

type nonceUse struct {
	at   time.Time
	done bool
}

// nonceState says what is known of a delivery.
type nonceState int

const (
	nonceNew  nonceState = iota // end follows
	nonceBusy                   // it is being stored now, or there is no room to remember it
	nonceDone
)

// begin says whether the delivery with this nonce was taken.
func (n *nonces) begin(nonce string, now time.Time) nonceState {
	n.mu.Lock()
	defer n.mu.Unlock()
	if use, ok := n.known[nonce]; ok && now.Sub(use.at) < nonceKept {
		if use.done {
			return nonceDone
		}
		return nonceBusy
	}
	if len(n.known) >= mostNonces {
		for old, use := range n.known {
			if use.done && now.Sub(use.at) >= nonceKept {
				delete(n.known, old)
			}
		}
		if len(n.known) >= mostNonces {
			return nonceBusy
		}
	}
	if n.known == nil {
		n.known = map[string]nonceUse{}
	}
	n.known[nonce] = nonceUse{at: now}
	return nonceNew
}

// end remembers the delivery, if it was stored.
func (n *nonces) end(nonce string, stored bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !stored {
		delete(n.known, nonce)
		return
	}
	n.known[nonce] = nonceUse{n.known[nonce].at, true}
}
