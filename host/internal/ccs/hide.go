package ccs

import "fmt"

// hide takes our secrets out of an error of CCS's: what denies a login may repeat it.
// For texts that are cut see xmpp.Reader.Hide.
func (s *Session) hide(err error) error {
	if err == nil {
		return nil
	}
	if text := err.Error(); s.secrets.Text(text) != text {
		return hiddenError{err, s.secrets.Text(text)}
	}
	return err
}

// hiddenError has the text without secrets.
type hiddenError struct {
	error
	text string
}

func (e hiddenError) Error() string { return e.text }
func (e hiddenError) Unwrap() error { return e.error }

// nacked hands CCS's nack of a downstream to the writer, without secrets: its text
// reaches logs, the ledger and plugins. size is that of its payload.
func (c *conn) nacked(a answer, size int) {
	a.nack, a.code, a.description = true, c.s.secrets.Text(a.code), c.s.secrets.Text(a.description)
	c.box.answer(a, size)
}

// clip quotes the beginning of what CCS said.
func clip(text string) string {
	const enough = 200
	if len(text) > enough {
		return fmt.Sprintf("%q… (%d bytes)", text[:enough], len(text))
	}
	return fmt.Sprintf("%q", text)
}
