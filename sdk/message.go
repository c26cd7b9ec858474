package sdk

import (
	"time"

	"balhost/sdk/message"
)

// The words of package message, under one import. See there.
type (
	Upstream      = message.Upstream
	Downstream    = message.Downstream
	Checked       = message.Checked
	Target        = message.Target
	Options       = message.Options
	Priority      = message.Priority
	Outcome       = message.Outcome
	OutcomeStatus = message.OutcomeStatus
	Receipt       = message.Receipt
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
