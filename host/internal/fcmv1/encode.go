package fcmv1

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"balhost/sdk/message"
)

// outgoing is one downstream as it is sent at this moment.
type outgoing struct {
	message message.Checked
	seq     uint64
	ttl     *time.Duration // what remains of it; nil when none was set
}

// appendRequest appends the body of the request that sends d. It fails for what FCM's
// HTTP v1 can't carry; the reasons are [message.Problem]s.
// Spec: fcm-v1-and-gateway.md A1, B1.
func appendRequest(dst []byte, d outgoing, now time.Time) ([]byte, error) {
	m := &d.message
	if err := m.Fits(message.FCMv1); err != nil {
		return dst, err
	}
	n, err := readNotification(m.Notification)
	if err != nil {
		return dst, err
	}
	var request object
	if m.Options.DryRun {
		request.set("validate_only", []byte("true"))
	}
	o := request.in("message")
	switch {
	case m.To.FID != "":
		o.text("fid", m.To.FID)
	case m.To.Topic != "":
		o.text("topic", m.To.Topic)
	case m.To.Condition != "":
		o.text("condition", m.To.Condition)
	default:
		o.text("token", m.To.Token)
	}
	o.set("data", d.data())
	common := o.in("notification")
	for _, name := range []string{"title", "body", "image"} {
		n.text(common, name, name)
	}
	for _, block := range []struct {
		name string
		fill func(*object, notification, time.Time) error
	}{{"android", d.android}, {"apns", d.apns}, {"webpush", d.webpush}} {
		if err := block.fill(o.in(block.name), n, now); err != nil {
			return dst, fmt.Errorf("options.%s: %w", block.name, err)
		}
	}
	return request.append(dst), nil
}

// data is the plugin's, byte by byte, with the host's keys after it.
func (d *outgoing) data() []byte {
	all := append(make([]byte, 0, len(d.message.Data)+64), '{')
	if inside, ok := strings.CutPrefix(string(d.message.Data), "{"); ok {
		if inside = strings.TrimSpace(strings.TrimSuffix(inside, "}")); inside != "" {
			all = append(append(all, inside...), ',')
		}
	}
	own := d.own()
	return append(all, own.append(nil)[1:]...)
}

// own has the keys of the host.
func (d *outgoing) own() *object {
	o := &object{}
	o.text(message.DataID, d.message.MessageID)
	if d.message.Group != "" {
		o.text(message.DataSeq, strconv.FormatUint(d.seq, 10))
	}
	if d.message.Options.ReceiptRequested {
		o.text(message.DataReceipt, "1")
	}
	return o
}

// overridden puts the host's keys into the data of a block, which replaces the message's.
func (d *outgoing) overridden(block *object, raw json.RawMessage) {
	if inside(raw, "data") != nil {
		*block.in("data") = *d.own()
	}
}

func (d *outgoing) android(o *object, n notification, _ time.Time) error {
	options := &d.message.Options
	if options.CollapseKey != "" { // never by default: it makes the message collapsible (A9)
		o.text("collapse_key", options.CollapseKey)
	}
	if options.Priority != "" {
		o.text("priority", strings.ToUpper(string(options.Priority)))
	}
	if d.ttl != nil {
		o.text("ttl", seconds(*d.ttl)+"s")
	}
	d.overridden(o, options.Android)
	if n != nil || inside(options.Android, "notification") != nil {
		shown := o.in("notification")
		n.android(shown)
		if _, ok := n["tag"]; !ok { // a banner that comes again replaces the first (A9)
			shown.text("tag", d.message.MessageID)
		}
	}
	return o.lay(options.Android)
}

func (d *outgoing) apns(o *object, n notification, now time.Time) error {
	options := &d.message.Options
	headers, aps := o.in("headers"), o.in("payload").in("aps")
	alone := d.message.DataOnly() // FCM refuses data alone with another priority than 5 (A1)
	switch {
	case alone, options.Priority == message.PriorityNormal:
		headers.text("apns-priority", "5")
	case options.Priority == message.PriorityHigh:
		headers.text("apns-priority", "10")
	}
	if alone && options.ContentAvailable {
		headers.text("apns-push-type", "background")
	}
	if d.ttl != nil {
		expires := "0"
		if *d.ttl >= time.Second {
			expires = strconv.FormatInt(now.Add(*d.ttl).Unix(), 10)
		}
		headers.text("apns-expiration", expires)
	}
	headers.text("apns-collapse-id", collapseID(options.CollapseKey, d.message.MessageID))
	n.aps(aps)
	if options.ContentAvailable {
		aps.set("content-available", []byte("1"))
	}
	if options.MutableContent {
		aps.set("mutable-content", []byte("1"))
	}
	return o.lay(options.APNS)
}

func (d *outgoing) webpush(o *object, n notification, _ time.Time) error {
	options := &d.message.Options
	headers := o.in("headers")
	if d.ttl != nil {
		headers.text("TTL", seconds(*d.ttl))
	}
	if options.Priority != "" {
		headers.text("Urgency", string(options.Priority))
	}
	if options.CollapseKey != "" {
		headers.text("Topic", webTopic(options.CollapseKey))
	}
	d.overridden(o, options.Webpush)
	n.text(o.in("notification"), "icon", "icon")
	if strings.HasPrefix(n["click_action"], "https://") { // else it names an activity or a category
		n.text(o.in("fcm_options"), "click_action", "link")
	}
	return o.lay(options.Webpush)
}

func seconds(ttl time.Duration) string { return strconv.FormatInt(int64(max(0, ttl)/time.Second), 10) }

// collapseID is key, or else id, in the 64 bytes that Apple allows. That of a message
// that comes twice merges the two banners (A9).
func collapseID(key, id string) string {
	const limit = 64
	if key == "" {
		key = id
	}
	if len(key) > limit {
		return hash(key, sha256.Size) // 43 characters
	}
	return key
}

// webTopic is key as a Topic header: 32 characters of the base64 of URLs at most.
// Spec: RFC 8030 §5.4.
func webTopic(key string) string {
	const limit = 32
	if len(key) > limit || strings.Trim(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		return hash(key, limit*3/4)
	}
	return key
}

// hash is the first bytes of a text's hash, in the base64 of URLs.
func hash(text string, bytes int) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:bytes])
}

// inside is the value of a field of a raw block; nil: it is not there.
func inside(raw json.RawMessage, path ...string) json.RawMessage {
	for _, name := range path {
		var fields map[string]json.RawMessage
		if len(raw) == 0 || json.Unmarshal(raw, &fields) != nil {
			return nil
		}
		raw = fields[name]
	}
	return raw
}
