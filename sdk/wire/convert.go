package wire

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"balhost/sdk/message"
)

// clean makes s valid UTF-8: one string that isn't would break a whole frame (P10).
func clean(s string) string {
	if utf8.ValidString(s) { // eight bytes at a time, where ToValidUTF8 takes one
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// toMillis is Unix time in milliseconds; 0 for no time.
func toMillis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// fromMillis undoes toMillis.
func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// UpstreamToProto is the upstream as the wire has it. Its bytes are shared. The
// data is a part of the raw payload and goes over the wire once: half the bytes. A
// plugin that has not named [Offsets] needs [Upstream.SpellOut].
func UpstreamToProto(u *message.Upstream) *Upstream {
	p := &Upstream{
		Id: u.ID, Session: clean(u.Session), Device: clean(u.From), Category: clean(u.Category),
		MessageId: clean(u.MessageID), Raw: u.Raw, ReceivedMs: toMillis(u.Received),
	}
	if len(u.Data) == 0 {
		return p
	}
	if at := find(u.Raw, u.Data); at >= 0 {
		p.DataStart, p.DataEnd = uint32(at), uint32(at+len(u.Data))
	} else {
		p.Data = u.Data
	}
	return p
}

// find is where part is in whole, or -1. One that was sliced off it has as much less
// capacity as lies before.
func find(whole, part []byte) int {
	if at := cap(whole) - cap(part); at >= 0 && at <= len(whole) && bytes.HasPrefix(whole[at:], part) {
		return at
	}
	return bytes.Index(whole, part)
}

// SpellOut puts the data itself in place of where it is in raw.
func (u *Upstream) SpellOut() {
	if from, to := u.GetDataStart(), u.GetDataEnd(); from < to {
		u.Data, u.DataStart, u.DataEnd = u.Raw[from:to:to], 0, 0
	}
}

// UpstreamFromProto is the upstream of a delivery with that attempt.
func UpstreamFromProto(u *Upstream, attempt uint32) message.Upstream {
	m := message.Upstream{
		ID: u.GetId(), Session: u.GetSession(), From: u.GetDevice(), Category: u.GetCategory(),
		MessageID: u.GetMessageId(), Data: raw(u.GetData()), Raw: raw(u.GetRaw()),
		Attempt: int(attempt), Received: fromMillis(u.GetReceivedMs()),
	}
	if from, to := u.GetDataStart(), u.GetDataEnd(); m.Data == nil && from < to && uint64(to) <= uint64(len(m.Raw)) {
		m.Data = m.Raw[from:to:to]
	}
	return m
}

// OutcomeToProto is the outcome as the wire has it.
func OutcomeToProto(o *message.Outcome) *Outcome {
	return &Outcome{
		Id: o.ID, Session: clean(o.Session), MessageId: clean(o.MessageID), Group: clean(o.Group), To: targetToProto(o.To),
		Status: o.Status.String(), Code: clean(o.Code), Description: clean(o.Description), NewToken: clean(o.NewToken),
		Gone: o.Gone, Attempts: uint32(o.Attempts), Context: o.Context,
	}
}

// OutcomeFromProto is the outcome of a delivery with that attempt.
func OutcomeFromProto(o *Outcome, attempt uint32) message.Outcome {
	return message.Outcome{
		ID: o.GetId(), Session: o.GetSession(), MessageID: o.GetMessageId(), Group: o.GetGroup(), To: targetFromProto(o.GetTo()),
		Status: statusFromProto(o.GetStatus()), Code: o.GetCode(), Description: o.GetDescription(), NewToken: o.GetNewToken(),
		Gone: o.GetGone(), Attempts: int(o.GetAttempts()), Attempt: int(attempt), Context: raw(o.GetContext()),
	}
}

// ReceiptToProto is the receipt as the wire has it.
func ReceiptToProto(r *message.Receipt) *Receipt {
	return &Receipt{
		Id: r.ID, Session: clean(r.Session), OriginalMessageId: clean(r.OriginalMessageID), Device: clean(r.Device),
		Category: clean(r.Category), Status: clean(r.Status), SentMs: toMillis(r.SentAt),
	}
}

// ReceiptFromProto is the receipt of a delivery with that attempt.
func ReceiptFromProto(r *Receipt, attempt uint32) message.Receipt {
	return message.Receipt{
		ID: r.GetId(), Session: r.GetSession(), OriginalMessageID: r.GetOriginalMessageId(), Device: r.GetDevice(),
		Category: r.GetCategory(), Status: r.GetStatus(), Attempt: int(attempt), SentAt: fromMillis(r.GetSentMs()),
	}
}

// TimerToProto is the timer as the wire has it.
func TimerToProto(t *message.Timer) *Timer {
	return &Timer{Id: t.ID, Session: clean(t.Session), Device: clean(t.Device), Key: clean(t.Key), Data: t.Data, DueMs: t.Due.UnixMilli()}
}

// TimerFromProto is the timer of a delivery with that attempt.
func TimerFromProto(t *Timer, attempt uint32) message.Timer {
	return message.Timer{
		ID: t.GetId(), Session: t.GetSession(), Device: t.GetDevice(), Key: t.GetKey(), Data: raw(t.GetData()),
		Due: time.UnixMilli(t.GetDueMs()), Attempt: int(attempt),
	}
}

// DownstreamToProto is the downstream as the wire has it. Its bytes are shared.
func DownstreamToProto(d message.Checked) *Downstream {
	return &Downstream{
		MessageId: d.MessageID, Session: clean(d.Session), To: targetToProto(d.To), Data: d.Data, Notification: d.Notification,
		Options: optionsToProto(d.Options), Group: d.Group, Context: d.Context,
		NotBeforeMs: millis(d.NotBefore), Replace: clean(d.Replace),
	}
}

// millis is t in milliseconds since 1970; 0 for the zero time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// DownstreamFromProto is the downstream that a plugin asked for. It is not
// checked: what comes off the wire is not to be trusted (P10).
func DownstreamFromProto(d *Downstream) message.Downstream {
	m := message.Downstream{
		MessageID: d.GetMessageId(), Session: d.GetSession(), To: targetFromProto(d.GetTo()),
		Options: optionsFromProto(d.GetOptions()), Group: d.GetGroup(), Context: raw(d.GetContext()), Replace: d.GetReplace(),
	}
	if ms := d.GetNotBeforeMs(); ms != 0 {
		m.NotBefore = time.UnixMilli(ms)
	}
	if len(d.GetData()) > 0 {
		m.Data = json.RawMessage(d.Data)
	}
	if len(d.GetNotification()) > 0 {
		m.Notification = json.RawMessage(d.Notification)
	}
	return m
}

func targetToProto(t message.Target) *Target {
	switch {
	case t.Token != "":
		return &Target{To: &Target_Token{clean(t.Token)}}
	case t.FID != "":
		return &Target{To: &Target_Fid{clean(t.FID)}}
	case t.Topic != "":
		return &Target{To: &Target_Topic{clean(t.Topic)}}
	case t.Condition != "":
		return &Target{To: &Target_Condition{clean(t.Condition)}}
	}
	return nil
}

func targetFromProto(t *Target) message.Target {
	return message.Target{Token: t.GetToken(), FID: t.GetFid(), Topic: t.GetTopic(), Condition: t.GetCondition()}
}

func optionsToProto(o message.Options) *Options {
	p := &Options{
		Priority: clean(string(o.Priority)), CollapseKey: clean(o.CollapseKey), DryRun: o.DryRun, ReceiptRequested: o.ReceiptRequested,
		ContentAvailable: o.ContentAvailable, MutableContent: o.MutableContent,
		Android: o.Android, Apns: o.APNS, Webpush: o.Webpush,
	}
	if o.TTL != nil {
		s := int64(*o.TTL / time.Second)
		p.TtlS = &s
	}
	return p
}

func optionsFromProto(p *Options) message.Options {
	o := message.Options{
		Priority: message.Priority(p.GetPriority()), CollapseKey: p.GetCollapseKey(), DryRun: p.GetDryRun(), ReceiptRequested: p.GetReceiptRequested(),
		ContentAvailable: p.GetContentAvailable(), MutableContent: p.GetMutableContent(),
		Android: raw(p.GetAndroid()), APNS: raw(p.GetApns()), Webpush: raw(p.GetWebpush()),
	}
	if p != nil && p.TtlS != nil { // clamped so that no number from the wire overflows into a legal TTL
		const most = math.MaxInt64 / int64(time.Second)
		o.TTL = message.TTL(time.Duration(min(max(*p.TtlS, -most), most)) * time.Second)
	}
	return o
}

func statusFromProto(s string) message.OutcomeStatus {
	for _, known := range []message.OutcomeStatus{message.Acked, message.Failed, message.Expired, message.Canceled} {
		if known.String() == s {
			return known
		}
	}
	return 0
}

// raw is nil for nothing, as package message has it.
func raw(b []byte) json.RawMessage {
	if len(b) == 0 {
		return nil
	}
	return b
}
