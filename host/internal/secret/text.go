package secret

// Text is text that is never printed: fmt, encoding/json and hclog all show a
// placeholder.
type Text string

// Reveal returns the text; only the place that needs it calls this.
func (t Text) Reveal() string { return string(t) }

// String hides the text.
func (t Text) String() string { return Hidden }

// GoString hides the text from %#v.
func (t Text) GoString() string { return Hidden }

// MarshalText hides the text from encoding/json and from loggers.
func (t Text) MarshalText() ([]byte, error) { return []byte(Hidden), nil }
