package sdk

import (
	"time"

	"balhost/sdk/message"
)

// The types of package message, so that a plugin needs one import. "go doc" does not
// show the fields of these types here. Each comment lists them;
// "go doc balhost/sdk/message.Downstream" and so on explain them.
type (
	// Upstream is a message from a device. Its fields: ID, Session, From, Category,
	// MessageID, Data, Raw, Attempt, Received. See go doc balhost/sdk/message.Upstream.
	Upstream = message.Upstream
	// Downstream is a message to a device, a topic or a condition. Its fields: To,
	// Data, Notification, Options, Group, MessageID, Session, Context, NotBefore, Replace.
	// See go doc balhost/sdk/message.Downstream.
	Downstream = message.Downstream
	// Checked is a downstream that has passed all checks. Its fields: To, Data,
	// Notification, Options, Group, MessageID, Session, Context, NotBefore, Replace.
	// See go doc balhost/sdk/message.Checked.
	Checked = message.Checked
	// Target is where a downstream goes. [Token], [FID], [Topic] and [Condition] make one.
	// See go doc balhost/sdk/message.Target.
	Target = message.Target
	// Options are FCM's delivery options. Its fields: TTL, Priority, CollapseKey,
	// DryRun, ReceiptRequested, ContentAvailable, MutableContent, Android, APNS,
	// Webpush. See go doc balhost/sdk/message.Options.
	Options = message.Options
	// Priority is "", [PriorityNormal] or [PriorityHigh].
	Priority = message.Priority
	// Outcome tells how one downstream ended. Its fields: ID, Session, MessageID,
	// Group, To, Status, Code, Description, NewToken, Gone, Attempts, Attempt, Context.
	// See go doc balhost/sdk/message.Outcome.
	Outcome = message.Outcome
	// Transport is how a session's messages travel: [CCS], [FCMv1], [Gateway] or
	// [Huawei].
	Transport = message.Transport
	// OutcomeStatus is [Acked], [Failed], [Expired] or [Canceled].
	OutcomeStatus = message.OutcomeStatus
	// Receipt tells that a device has got a downstream. Its fields: ID, Session,
	// OriginalMessageID, Device, Category, Status, Attempt, SentAt.
	// See go doc balhost/sdk/message.Receipt.
	Receipt = message.Receipt
	// Timer tells that a timer is due. Its fields: ID, Session, Device, Key, Data, Due,
	// Attempt. See go doc balhost/sdk/message.Timer.
	Timer = message.Timer
)

// The values of [OutcomeStatus], [Priority] and [Transport].
const (
	Acked    = message.Acked
	Failed   = message.Failed
	Expired  = message.Expired
	Canceled = message.Canceled

	PriorityNormal = message.PriorityNormal
	PriorityHigh   = message.PriorityHigh

	CCS     = message.CCS
	FCMv1   = message.FCMv1
	Gateway = message.Gateway
	Huawei  = message.Huawei
)

// Token targets one device by its registration token, or a device group by its
// notification key.
func Token(t string) Target { return message.Token(t) }

// FID targets one installation of an app by its Firebase installation id. A session with
// CCS does not take it. An installation answers to a token or to its FID, never to
// both: use the kind that the app gave.
func FID(id string) Target { return message.FID(id) }

// Topic targets the subscribers of a topic; the name has no "/topics/" prefix.
func Topic(name string) Target { return message.Topic(name) }

// Condition targets devices by a boolean expression over topics, such as
// "'a' in topics && 'b' in topics".
func Condition(expr string) Target { return message.Condition(expr) }

// TTL makes the value for Options.TTL. TTL(0) means now or never. An unset TTL is
// FCM's default of four weeks.
func TTL(d time.Duration) *time.Duration { return message.TTL(d) }
