package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"balhost/sdk"
	"balhost/sdk/message"
)

// downstreamData is the fcm_data of a DOWNSTREAM: what GIMMM passed on to CCS as it was.
type downstreamData struct {
	To               string          `json:"to"`        // a token, or /topics/NAME
	Condition        string          `json:"condition"` // instead of to
	FID              string          `json:"fid"`       // instead of to; not GIMMM's
	MessageID        string          `json:"message_id"`
	TTL              *int64          `json:"time_to_live"` // seconds
	Priority         sdk.Priority    `json:"priority"`
	CollapseKey      string          `json:"collapse_key"`
	ReceiptRequested bool            `json:"delivery_receipt_requested"`
	DryRun           bool            `json:"dry_run"`
	ContentAvailable bool            `json:"content_available"`
	MutableContent   bool            `json:"mutable_content"`
	Data             json.RawMessage `json:"data"`
	Notification     json.RawMessage `json:"notification"`
}

// downstream makes a downstream of a BAL's DOWNSTREAM.
func (b *bridge) downstream(session, id string, l line) (sdk.Downstream, error) {
	var d downstreamData
	fcm, err := sorted(l.FCMData)
	if err != nil {
		return sdk.Downstream{}, err
	}
	dec := json.NewDecoder(bytes.NewReader(fcm))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return sdk.Downstream{}, fmt.Errorf("fcm_data: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	m := sdk.Downstream{
		To: target(d), MessageID: hostID(id, session), Group: l.GroupID,
		Options: sdk.Options{
			Priority: d.Priority, CollapseKey: d.CollapseKey, ReceiptRequested: d.ReceiptRequested,
			DryRun: d.DryRun, ContentAvailable: d.ContentAvailable, MutableContent: d.MutableContent,
		},
		Context: encode(origin{session, fcm}),
	}
	if m.Session, err = b.session(l.HostSession); err != nil {
		return sdk.Downstream{}, err
	}
	if d.TTL != nil {
		m.Options.TTL = sdk.TTL(time.Duration(min(max(*d.TTL, -1), 1<<30)) * time.Second) // far beyond what FCM takes
	}
	if d.Data != nil { // a nil RawMessage would make Data non-nil
		m.Data = d.Data
	}
	if d.Notification != nil {
		m.Notification = d.Notification
	}
	return m, nil
}

// session is the host's session that a downstream goes by.
func (b *bridge) session(named string) (string, error) {
	all := b.host.Sessions()
	switch {
	case named == "" && b.config.Session == "" && len(all) > 1:
		return "", fmt.Errorf("the host has several sessions, %q: name one in host_session, that of the upstream for example, or set session in the plugin's config", all)
	case named == "":
		return b.config.Session, nil
	case !slices.Contains(all, named):
		return "", fmt.Errorf("host_session is %.64q: the host has %q", named, all)
	}
	return named, nil
}

// sorted is fcm_data with its keys in order. A BAL that writes the same downstream again may
// write them in another order, and it is the same downstream.
func sorted(fcmData json.RawMessage) (json.RawMessage, error) {
	if err := message.CheckText("fcm_data", fcmData); err != nil { // the decoder would replace it
		return nil, err
	}
	var fields map[string]any
	dec := json.NewDecoder(bytes.NewReader(fcmData))
	dec.UseNumber()
	if err := dec.Decode(&fields); err != nil || fields == nil {
		return nil, errors.New("fcm_data is not an object")
	}
	return encode(fields), nil
}

// target has all that the BAL has set; the SDK refuses two.
func target(d downstreamData) sdk.Target {
	to := sdk.Target{Condition: d.Condition, FID: d.FID}
	if topic, is := strings.CutPrefix(d.To, "/topics/"); is {
		to.Topic = topic
	} else {
		to.Token = d.To
	}
	return to
}

// nameOf is the id that a DOWNSTREAM is known by: sent again under it, it is stored once.
func nameOf(l line) (string, error) {
	var d struct {
		MessageID string `json:"message_id"`
	}
	_ = json.Unmarshal(l.FCMData, &d) // what is wrong with it, downstream tells
	switch {
	case d.MessageID != "":
		return d.MessageID, nil
	case l.SequenceID > 0:
		return strconv.FormatInt(l.SequenceID, 10), nil
	}
	return "", peerError("a DOWNSTREAM has neither fcm_data.message_id nor a sequence_id above 0: without one it could be stored twice")
}

// take stores what a BAL hands over, in one commit, and answers each with an ACK. What can't
// be sent is stored as a DOWNSTREAM_REJECT. So after its ACK the BAL can forget the downstream
// in any case, and hears once how it ended.
func (c *conn) take(ctx context.Context, batch []line) error {
	acks, err := c.store(ctx, batch)
	if errors.Is(err, sdk.ErrInvalid) && len(batch) > 1 { // one of them: each by itself finds which
		acks = nil
		for _, l := range batch {
			ack, err := c.store(ctx, []line{l})
			if err != nil {
				return err
			}
			acks = append(acks, ack...)
		}
		err = nil
	}
	if err != nil {
		return err
	}
	return c.write(acks...)
}

// store commits a batch. An ErrInvalid of a single one is stored as its refusal.
func (c *conn) store(ctx context.Context, batch []line) (acks [][]byte, err error) {
	var failed error // of the commit of a single one
	again := func() error {
		return update(ctx, c.bridge.host, func(tx *sdk.Tx) error {
			acks = acks[:0]
			for _, l := range batch {
				ack, err := c.storeOne(tx, l, failed)
				if err != nil {
					return err
				}
				acks = append(acks, ack)
			}
			return nil
		})
	}
	if err = again(); errors.Is(err, sdk.ErrInvalid) && len(batch) == 1 {
		failed = err
		err = again()
	}
	return acks, err
}

// storeOne adds a downstream to tx, or its refusal, and gives the ACK for it.
func (c *conn) storeOne(tx *sdk.Tx, l line, failed error) (ack []byte, err error) {
	id, err := nameOf(l)
	if err != nil {
		return nil, err
	}
	if failed == nil {
		var d sdk.Downstream
		if d, failed = c.bridge.downstream(c.box.session, id, l); failed == nil {
			_, failed = tx.Send(d)
		}
	}
	if failed != nil {
		if err := c.refuse(tx, id, l, failed); err != nil {
			return nil, err
		}
	}
	return encodeLine(line{Type: typeAck, SequenceID: l.SequenceID, MessageID: id}), nil
}

// refuse puts a DOWNSTREAM_REJECT into the mailbox. Its key is made of the id, so one that comes
// again makes no second.
func (c *conn) refuse(tx *sdk.Tx, id string, l line, why error) error {
	sum := sha256.Sum256([]byte(id))
	key := keyOf(c.box.session, "!"+hex.EncodeToString(sum[:16]))
	if n := c.bridge.expect(c.box.session, key); n > 0 {
		return peerError(fmt.Sprintf("%d messages wait for an ACK: that is the most", n))
	}
	return tx.Put(key, line{
		Type: typeDownstreamReject, SessionID: c.box.session, GroupID: l.GroupID,
		FCMData: bytes.ToValidUTF8(l.FCMData, []byte("\uFFFD")), // else the BAL could not read it
		Error:   "INVALID", ErrorDescription: strings.ReplaceAll(why.Error(), "\n", "; "),
	})
}
