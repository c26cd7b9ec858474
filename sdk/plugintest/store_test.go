package plugintest

import (
	"context"
	"errors"
	"testing"

	"balhost/sdk"
)

// One message that a handler sends twice under one id is sent once, as the host does.
func TestOneIDTwiceInOneCommit(t *testing.T) {
	h := New(t, sdk.Plugin{
		Name: "twice", Version: "1", Categories: []string{"app"},
		Upstream: func(_ context.Context, tx *sdk.Tx, m sdk.Upstream) error {
			_, err := tx.Send(sdk.Downstream{To: sdk.Token("ann"), MessageID: "a"})
			_, again := tx.Send(sdk.Downstream{To: sdk.Token("ann"), MessageID: "a"})
			return errors.Join(err, again)
		},
	}, Options{})
	if r := h.Upstream(sdk.Upstream{}); r.Err() != nil {
		t.Fatal(r.Err())
	}
	if sent := h.Sent(); len(sent) != 1 {
		t.Errorf("sent %v", sent)
	}
}
