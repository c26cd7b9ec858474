package ccs

import "fmt"

// hide takes our secrets out of what CCS says in an error: a login that is refused
// may be repeated in the refusal. See xmpp.Reader.Hide too, for texts that are cut.
func (s *Session) hide(err error) error {
	if err == nil {
		return nil
	}
	if text := err.Error(); s.secrets.Text(text) != text {
		return hiddenError{err, s.secrets.Text(text)}
	}
	return err
}

// hiddenError is an error that says less.
type hiddenError struct {
	error
	text string
}

func (e hiddenError) Error() string { return e.text }
func (e hiddenError) Unwrap() error { return e.error }

// nacked hands CCS's nack of a downstream to the writer; size is that of its
// payload. What it says reaches logs, the ledger and plugins.
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
