package fcmsim

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of a message. Spec: fcm-v1-and-gateway.md A1-A3.
const (
	maxToDevice  = 4096                // bytes of keys and values
	maxToTopic   = 2048                // the same, to a topic or condition
	maxTTL       = 28 * 24 * time.Hour // four weeks; also what an absent ttl means
	maxTopics    = 5                   // in a condition
	maxCollapse  = 64                  // bytes of an apns-collapse-id
	conditionMax = 4096                // bytes
)

var (
	topicForm     = regexp.MustCompile(`^[a-zA-Z0-9\-_.~%]{1,900}$`)
	labelForm     = regexp.MustCompile(`^[a-zA-Z0-9\-_.~%]{1,50}$`)
	colorForm     = regexp.MustCompile(`^#[0-9a-fA-F]{6}$`)
	conditionTerm = regexp.MustCompile(`^'([a-zA-Z0-9\-_.~%]{1,900})' +in +topics`)
)

// ttl is how long FCM keeps a message. It is maxTTL without android.ttl.
type ttl = time.Duration

// readTarget finds the target. Exactly one must be there.
func (m *message) readTarget(content map[string]any) *fault {
	var found []Kind
	for _, k := range []Kind{KindToken, KindFID, KindTopic, KindCondition} {
		if v, _ := content[string(k)].(string); v != "" {
			found = append(found, k)
			m.kind, m.target = k, v
		}
	}
	switch {
	case len(found) == 0:
		return &fault{"message", "Recipient of the message is not set.", true}
	case len(found) > 1:
		return &fault{"message", "Invalid value (oneof), oneof field 'target' is already set. Cannot set '" + string(found[1]) + "'", false}
	case m.kind == KindTopic && !topicForm.MatchString(m.target):
		return &fault{"message.topic", "Invalid topic name: " + m.target, true}
	case m.kind == KindCondition:
		if err := checkCondition(m.target); err != nil {
			return &fault{"message.condition", "Invalid condition expression provided: " + err.Error(), true}
		}
	}
	return nil
}

// readData checks the keys of all data, and finds what an Android app gets:
// android.data replaces data.
func (m *message) readData(content map[string]any) *fault {
	for _, at := range []string{"message.data", "message.android.data", "message.webpush.data"} {
		data := dataAt(content, at)
		for i, key := range slices.Sorted(maps.Keys(data)) {
			if reserved(key) {
				return &fault{fmt.Sprintf("%s[%d].key", at, i), "Invalid data payload key: " + key, true}
			}
		}
		if data != nil && at != "message.webpush.data" {
			m.data = data
		}
	}
	m.balID = m.data["bal_id"]
	return nil
}

// dataAt is the map of strings at a path such as message.android.data. nil without one.
func dataAt(content map[string]any, path string) map[string]string {
	names := strings.Split(path, ".")[1:]
	for _, name := range names[:len(names)-1] {
		content, _ = content[name].(map[string]any)
	}
	in, ok := content[names[len(names)-1]].(map[string]any)
	if !ok {
		return nil
	}
	out := make(map[string]string, len(in))
	for k, v := range in {
		out[k], _ = v.(string)
	}
	return out
}

func reserved(key string) bool {
	return key == "from" || key == "message_type" || strings.HasPrefix(key, "google.") || strings.HasPrefix(key, "gcm.notification.")
}

// readAndroid reads the android block, or android_v2.
func (m *message) readAndroid(content map[string]any) *fault {
	block, at := content["android"], "message.android"
	if v2, both := content["android_v2"]; both {
		if block != nil {
			return &fault{"message.android_v2", "Only one of android and android_v2 may be set.", true}
		}
		block, at = v2, "message.android_v2"
	}
	a, _ := block.(map[string]any)
	m.collapseKey, _ = a["collapse_key"].(string)
	m.ttl = maxTTL
	if v, ok := a["ttl"].(string); ok {
		seconds, err := strconv.ParseFloat(strings.TrimSuffix(v, "s"), 64)
		if err != nil || seconds < 0 || seconds > maxTTL.Seconds() {
			return &fault{at + ".ttl", "Invalid time to live: " + v + " is not between 0s and 2419200s", true}
		}
		m.ttl = time.Duration(seconds) * time.Second // rounded down
	}
	n, _ := a["notification"].(map[string]any)
	if color, ok := n["color"].(string); ok && !colorForm.MatchString(color) {
		return &fault{at + ".notification.color", "Invalid color: " + color, true}
	}
	for _, part := range []string{"body", "title"} {
		if n[part+"_loc_args"] != nil && n[part+"_loc_key"] == nil {
			return &fault{at + ".notification." + part + "_loc_args", part + "_loc_args is set without " + part + "_loc_key", true}
		}
	}
	return nil
}

// checkAPNs refuses what APNs would: data alone at the priority of an alert.
// Spec: fcm-v1-and-gateway.md A1.
func checkAPNs(content map[string]any) *fault {
	headers := dataAt(content, "message.apns.headers")
	if id := headers["apns-collapse-id"]; len(id) > maxCollapse {
		return &fault{"message.apns.headers", fmt.Sprintf("apns-collapse-id has %d bytes; at most %d are allowed", len(id), maxCollapse), true}
	}
	apns, _ := content["apns"].(map[string]any)
	payload, _ := apns["payload"].(map[string]any)
	aps, _ := payload["aps"].(map[string]any)
	shows := content["notification"] != nil || apns["live_activity_token"] != nil
	for _, key := range []string{"alert", "sound", "badge"} {
		shows = shows || aps[key] != nil
	}
	if headers["apns-priority"] == "10" && !shows {
		return &fault{"", "Request contains an invalid argument.", true}
	}
	return nil
}

// checkLabels checks what only a pattern limits.
func checkLabels(content map[string]any) *fault {
	for _, at := range []string{"", "android", "android_v2", "apns", "webpush"} {
		block, path := content, "message.fcm_options"
		if at != "" {
			block, _ = content[at].(map[string]any)
			path = "message." + at + ".fcm_options"
		}
		options, _ := block["fcm_options"].(map[string]any)
		if v, ok := options["analytics_label"].(string); ok && v != "" && !labelForm.MatchString(v) {
			return &fault{path + ".analytics_label", "Invalid analytics label: " + v, true}
		}
		if link, ok := options["link"].(string); ok && !strings.HasPrefix(link, "https://") {
			return &fault{path + ".link", "Invalid link: only https is allowed", true}
		}
	}
	return nil
}

// checkSize limits the keys and values of data and notification.
func (m *message) checkSize(content map[string]any) *fault {
	size := 0
	for k, v := range m.data {
		size += len(k) + len(v)
	}
	n, _ := content["notification"].(map[string]any)
	for k, v := range n {
		text, _ := v.(string)
		size += len(k) + len(text)
	}
	limit := maxToDevice
	if m.kind == KindTopic || m.kind == KindCondition {
		limit = maxToTopic
	}
	if size > limit {
		return &fault{"", "Android message is too big", true}
	}
	return nil
}

// checkCondition parses a condition: topics with !, && and ||, and parentheses.
func checkCondition(s string) error {
	if len(s) > conditionMax {
		return fmt.Errorf("it has %d bytes", len(s))
	}
	p := conditionParser{rest: s}
	if err := p.expression(0); err != nil {
		return err
	}
	switch {
	case p.rest != "":
		return fmt.Errorf("unexpected %.20q", p.rest)
	case p.topics > maxTopics:
		return fmt.Errorf("it has %d topics; at most %d are allowed", p.topics, maxTopics)
	}
	return nil
}

type conditionParser struct {
	rest   string
	topics int
}

func (p *conditionParser) skip(token string) bool {
	p.rest = strings.TrimLeft(p.rest, " ")
	rest, ok := strings.CutPrefix(p.rest, token)
	if ok {
		p.rest = strings.TrimLeft(rest, " ")
	}
	return ok
}

func (p *conditionParser) expression(depth int) error {
	if depth > 20 {
		return fmt.Errorf("parentheses are too deep")
	}
	for {
		for p.skip("!") {
		}
		if p.skip("(") {
			if err := p.expression(depth + 1); err != nil {
				return err
			}
			if !p.skip(")") {
				return fmt.Errorf("a parenthesis is not closed")
			}
		} else if found := conditionTerm.FindString(p.rest); found != "" {
			p.topics++
			p.rest = strings.TrimLeft(p.rest[len(found):], " ")
		} else {
			return fmt.Errorf("want 'topic' in topics, and not %.20q", p.rest)
		}
		if !p.skip("&&") && !p.skip("||") {
			return nil
		}
	}
}
