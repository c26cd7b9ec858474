package status

import (
	"time"

	"balhost/sdk/message"
)

// Session is one sender, whatever carries its messages. What a transport does not know
// is zero. Counters count since the start.
type Session struct {
	Name         string            `json:"name"` // the block's label in config.hcl; empty: the block is gone, but downstreams still wait
	SenderID     string            `json:"sender_id"`
	Transport    message.Transport `json:"transport,omitempty"` // ccs, fcm_v1, gateway, huawei
	Address      string            `json:"address"`
	Upstreams    uint64            `json:"upstreams"`              // stored and acked, including duplicates
	Downstreams  uint64            `json:"downstreams"`            // sent, including repeats
	Answered     uint64            `json:"answered"`               // of these, taken or refused by the server
	Unusable     uint64            `json:"unusable"`               // not understood; those with an id are dead letters
	TooLarge     uint64            `json:"too_large"`              // stanzas over max_stanza, skipped
	Waiting      int               `json:"waiting"`                // downstreams without an outcome
	Oldest       time.Time         `json:"oldest,omitzero"`        // of these, when the first was stored; one with a not_before counts from then on
	Later        int               `json:"later"`                  // of these, those that wait for a time: for a retry, because their target gets too many, or for their own
	Early        int               `json:"early"`                  // of these, those that wait for their own: they were sent with a not_before
	NextTry      time.Time         `json:"next_try,omitzero"`      // when the first of them may go
	Troubles     []Trouble         `json:"troubles,omitempty"`     // why downstreams were not taken, the one that came last first; of many kinds the last eight
	HaltedUntil  time.Time         `json:"halted_until,omitzero"`  // the account is refused: no downstream goes out before this time
	RestingUntil time.Time         `json:"resting_until,omitzero"` // the server wants fewer requests, or is not reached: none is made before this time
	AckP50       float64           `json:"ack_p50_ms"`             // from reading an upstream to writing its ack
	AckP99       float64           `json:"ack_p99_ms"`
	AckMax       float64           `json:"ack_max_ms"`
	Connections  []Connection      `json:"connections"`
	FCMv1        *FCMv1            `json:"fcm_v1,omitempty"`     // what only this transport has
	Gateway      *Gateway          `json:"gateway,omitempty"`    // of a session with a gateway
	LastError    string            `json:"last_error,omitempty"` // why a connection last ended unexpectedly, or why a request was last not served
	LastErrorAt  time.Time         `json:"last_error_at,omitzero"`
	Pushed       int               `json:"pushed,omitempty"`      // how often in a row another client of the sender has pushed its connections off; absent when that does not repeat
	PushedAt     time.Time         `json:"pushed_at,omitzero"`    // the last time
	PushedUntil  time.Time         `json:"pushed_until,omitzero"` // not ready until then, or until a reload

	Unready  []string   `json:"-"` // why it can't do its work, each a sentence with its name; [admin.Status] has those of all sessions
	Warnings []string   `json:"-"` // what is wrong although it can
	Recent   []Unusable `json:"-"` // what it could not understand last, newest first
}

// FCMv1 is what only a session by FCM's HTTP v1 has.
type FCMv1 struct {
	Account     string    `json:"account,omitempty"` // the service account that sends; absent with the platform's own credentials
	State       string    `json:"state"`             // ready, resting (for the project's quota), not reached, refused, no token
	Token       bool      `json:"token"`             // there is an access token
	TokenUntil  time.Time `json:"token_until,omitzero"`
	Refused     bool      `json:"refused,omitempty"` // FCM does not serve the account
	InFlight    int       `json:"in_flight"`         // requests without an answer
	Window      int       `json:"window"`            // how many there may be
	Connections int       `json:"connections"`       // open now
	Dialled     uint64    `json:"dialled"`           // connections that were begun
	Rate        float64   `json:"rate"`              // messages a second that may go now
	MostRate    float64   `json:"most_rate"`         // and at most, as the config says
	Ambiguous   uint64    `json:"ambiguous"`         // requests without an answer: FCM may have delivered them, and they are sent again
	Odd         uint64    `json:"odd"`               // answers of an unknown form that count as taken
}

// Gateway is what devices do at a session's gateway. Counters count since the start, and
// messages by their own words: stored, duplicate, refused.
type Gateway struct {
	Address          string    `json:"address"`
	Mute             string    `json:"mute,omitempty"` // why it does not listen; it tries again
	Sockets          int       `json:"sockets"`        // devices that are connected by WebSocket now
	Connections      int       `json:"connections"`    // TCP connections now
	MaxConnections   int       `json:"max_connections"`
	Stored           uint64    `json:"stored"`                // upstreams
	Duplicates       uint64    `json:"duplicates"`            // upstreams that were stored before
	Refused          uint64    `json:"refused"`               // upstreams and receipts that can never be stored; their device was told
	NoRoom           uint64    `json:"no_room"`               // upstreams and receipts that the device has to send again
	Receipts         uint64    `json:"receipts"`              // stored
	Downstreams      uint64    `json:"downstreams"`           // written to a socket, including repeats
	Acked            uint64    `json:"acked"`                 // of these, acked by the device
	InFlight         int       `json:"in_flight"`             // written, and not acked yet
	Returned         uint64    `json:"returned"`              // given back, because the device did not ack in time or its connection ended
	Denied           uint64    `json:"denied"`                // credentials that fit no auth block
	Limited          uint64    `json:"limited"`               // connections, requests and messages over a limit
	LastDenied       string    `json:"last_denied,omitempty"` // why, and from which address
	LastDeniedAt     time.Time `json:"last_denied_at,omitzero"`
	LastLimited      string    `json:"last_limited,omitempty"` // who, and by which limit
	LastLimitedAt    time.Time `json:"last_limited_at,omitzero"`
	Foreign          uint64    `json:"foreign"`                // requests of web pages whose origin is not in cors_origins
	LastForeign      string    `json:"last_foreign,omitempty"` // the origin
	LastForeignAt    time.Time `json:"last_foreign_at,omitzero"`
	NoCategory       uint64    `json:"no_category"`                // upstreams that were stored without a category: only a plugin that takes "*" gets them
	LastNoCategory   string    `json:"last_no_category,omitempty"` // from which device
	LastNoCategoryAt time.Time `json:"last_no_category_at,omitzero"`
	AckP50           float64   `json:"ack_p50_ms"` // from reading an upstream to writing its ack or answer
	AckP99           float64   `json:"ack_p99_ms"`
	CertUntil        time.Time `json:"cert_until,omitzero"` // when its certificate expires
}

// Server is what a person calls the other end of a transport.
func Server(t message.Transport) string {
	if t == message.FCMv1 {
		return "FCM"
	}
	return "CCS"
}
