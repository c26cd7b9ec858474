package message

import (
	"fmt"
	"strings"
)

func (c *checker) target(t Target) {
	set := 0
	for _, to := range []struct{ field, s string }{
		{"to.token", t.Token}, {"to.fid", t.FID}, {"to.topic", t.Topic}, {"to.condition", t.Condition},
	} {
		if to.s == "" {
			continue
		}
		if set++; len(to.s) > MaxTarget {
			c.add(to.field, fmt.Sprintf("has %d bytes", len(to.s)), fmt.Sprintf("use at most %d", MaxTarget))
		} else {
			c.text(to.field, to.s)
		}
	}
	if set != 1 {
		c.add("to", fmt.Sprintf("has %d targets", set), "set exactly one: a token, an fid, a topic or a condition")
	}
	if strings.HasPrefix(t.Token, "/topics/") {
		c.add("to.token", "is a topic", "use Topic with the name after /topics/")
	} else if strings.ContainsAny(t.Token, " \t\r\n") {
		c.add("to.token", "has a space", "use the registration token exactly as the app got it")
	}
	if strings.ContainsAny(t.FID, " \t\r\n") {
		c.add("to.fid", "has a space", "use the installation id exactly as the app got it")
	}
	if name, ok := strings.CutPrefix(t.Topic, "/topics/"); ok {
		c.add("to.topic", "starts with /topics/", fmt.Sprintf("use the name alone, %q", name))
	} else if t.Topic != "" && !isTopic(t.Topic) {
		c.add("to.topic", fmt.Sprintf("%.40q is not a topic's name", t.Topic), "use only letters, digits and - _ . ~ %")
	}
	if t.Condition != "" {
		if _, err := readCondition(t.Condition); err != nil {
			c.condition(err)
		}
	}
}

func (c *checker) condition(wrong error) {
	c.add("to.condition", wrong.Error(), "write it like 'a' in topics && ('b' in topics || 'c' in topics)")
}

// conditionWithin refuses a condition with more operators than most, which name allows.
func (c *checker) conditionWithin(t Target, most int, name string) {
	if t.Condition == "" {
		return
	}
	if got, err := readCondition(t.Condition); err == nil && got.operators > most {
		c.condition(fmt.Errorf("has %d operators, and %s takes at most %d", got.operators, name, most))
	}
}

// limit is how many bytes of payload may go to t, and what it is.
func (t Target) limit() (bytes int, to string) {
	if t.Token == "" && t.FID == "" {
		return MaxTopicPayload, "to a topic or condition"
	}
	return MaxPayload, "to a device"
}
