package message

// Transport is how a session's messages travel.
type Transport string

// The transports.
const (
	CCS     Transport = "ccs"     // Cloud Connection Server (XMPP), both ways; Google shut its own down in 2024
	FCMv1   Transport = "fcm_v1"  // FCM's HTTP v1, downstream only; it reaches today's phones
	Gateway Transport = "gateway" // sockets of devices that are connected to the host's own gateway, and nothing else
	Huawei  Transport = "huawei"  // Huawei's uplink alone: nothing can be sent
)

// Fits returns why t cannot carry the downstream, all reasons in one error as
// [Downstream.Checked] does. The zero Transport is [CCS]: a host from before there were
// others does not name it. A transport that this package does not know has no rules
// here; the host that knows it checks.
func (c Checked) Fits(t Transport) error {
	var found checker
	switch t {
	case CCS, "":
		found.ccs(&c)
	case FCMv1:
		found.fcmV1(&c)
	case Gateway:
		found.gateway(&c)
	case Huawei:
		found.huawei()
	}
	return found.all()
}
