package message

// Transport is how a session's messages travel.
type Transport string

// The transports.
const (
	CCS   Transport = "ccs"    // Cloud Connection Server (XMPP), both ways; Google shut its own down in 2024
	FCMv1 Transport = "fcm_v1" // FCM's HTTP v1, downstream only; it reaches today's phones
)
