package message

import (
	"bytes"
	"fmt"
)

// ccs has the rules of CCS alone. Control characters need no check: ids have none, and
// JSON allows them only as escapes.
func (c *checker) ccs(m *Checked) {
	if m.To.FID != "" {
		c.add("to.fid", "is set, but CCS knows no installation ids", "use the registration token, or a session with fcm_v1")
	}
	c.conditionWithin(m.To, maxOperatorsCCS, "CCS")
	c.noBlocks(m, "CCS has no blocks per platform", "leave it out and use Options and Notification, or a session with fcm_v1")
	c.carriable("data", m.Data)
	c.carriable("notification", m.Notification)
}

// carriable finds what XML cannot carry unchanged.
func (c *checker) carriable(name string, text []byte) {
	if i := bytes.IndexFunc(text, isNoncharacter); i >= 0 {
		c.add(name, fmt.Sprintf("has U+FFFE or U+FFFF at byte %d, which XML cannot carry", i), `leave it out, or write it as \ufffe or \uffff`)
	}
}

// isNoncharacter reports whether r is one of the two that XML has no place for.
func isNoncharacter(r rune) bool { return r == 0xFFFE || r == 0xFFFF }
