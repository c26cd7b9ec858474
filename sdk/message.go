package sdk

import (
	"time"

	"balhost/sdk/message"
)

// The words of package message, under one import. "go doc" shows no fields of another
// package's type, so each names its own; "go doc balhost/sdk/message.Downstream" says what they are.
type (
	// Upstream is a message from a device: ID, Session, From, Category, MessageID,
	// Data, Raw, Attempt, Received. See go doc balhost/sdk/message.Upstream.
	Upstream = message.Upstream
	// Downstream is a message for a device, a topic or a condition: To, Data,
	// Notification, Options, Group, MessageID, Session, Context.
	// See go doc balhost/sdk/message.Downstream.
	Downstream = message.Downstream
	// Checked is a downstream that CCS could take: To, Data, Notification, Options,
	// Group, MessageID, Session, Context. See go doc balhost/sdk/message.Checked.
	Checked = message.Checked
	// Target is where a downstream goes, made by [Token], [Topic] or [Condition].
	// See go doc balhost/sdk/message.Target.
	Target = message.Target
	// Options are CCS's delivery options: TTL, Priority, CollapseKey, DryRun,
	// ReceiptRequested, ContentAvailable, MutableContent, Android, APNS, Webpush.
	// See go doc balhost/sdk/message.Options.
	Options = message.Options
	// Priority is "", [PriorityNormal] or [PriorityHigh].
	Priority = message.Priority
	// Outcome tells how one downstream ended: ID, Session, MessageID, Group, To, Status,
	// Code, Description, NewToken, Attempts, Attempt, Context.
	// See go doc balhost/sdk/message.Outcome.
	Outcome = message.Outcome
	// OutcomeStatus is [Acked], [Failed] or [Expired].
	OutcomeStatus = message.OutcomeStatus
	// Receipt tells that a device has a downstream: ID, Session, OriginalMessageID,
	// Device, Category, Status, Attempt, SentAt. See go doc balhost/sdk/message.Receipt.
	Receipt = message.Receipt
)

// How a downstream can end, and how urgent it can be.
const (
	Acked   = message.Acked
	Failed  = message.Failed
	Expired = message.Expired

	PriorityNormal = message.PriorityNormal
	PriorityHigh   = message.PriorityHigh
)

// Token targets one device, or a device group by its notification key.
func Token(t string) Target { return message.Token(t) }

// Topic targets the subscribers of a topic; the name has no "/topics/" prefix.
func Topic(name string) Target { return message.Topic(name) }

// Condition targets devices by a boolean expression over topics.
func Condition(expr string) Target { return message.Condition(expr) }

// TTL makes the value for Options.TTL; TTL(0) is "now or never", which unset is not.
func TTL(d time.Duration) *time.Duration { return message.TTL(d) }
