// Package frame has the words between a device and the gateway: the frames of a
// WebSocket and the bodies of HTTP. Both ends use it. It is pure. Spec:
// fcm-v1-and-gateway.md C2, C3. Start at [Message].
package frame

import "encoding/json"

// Message is one upstream as a device sends it. Its keys are those of CCS's envelope.
type Message struct {
	MessageID  string          `json:"message_id"`
	From       string          `json:"from,omitempty"`
	Category   string          `json:"category,omitempty"`
	Data       json.RawMessage `json:"data,omitempty"`
	TimeToLive *int64          `json:"time_to_live,omitempty"` // seconds
}
