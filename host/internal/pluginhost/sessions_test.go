package pluginhost

import (
	"slices"
	"testing"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// Plugins are told a transport for each session, in the order of their names.
func TestToldSessions(t *testing.T) {
	var senders entry.Senders
	h := New(Options{Sessions: func() entry.Senders { return senders }})
	for _, tt := range []struct {
		senders                   entry.Senders
		names, transports, former []string
	}{
		{nil, nil, nil, nil},
		{entry.Senders{{Name: "main", ID: "1"}}, []string{"main"}, []string{"ccs"}, nil},
		{entry.Senders{{Name: "phones", ID: "2", Transport: message.FCMv1, Former: []string{"v1"}}, {Name: "main", ID: "1", Transport: message.CCS}}, []string{"phones", "main"}, []string{"fcm_v1", "ccs"}, []string{"v1"}},
	} {
		senders = tt.senders
		if told := h.toldSessions(); !slices.Equal(told.names, tt.names) || !slices.Equal(told.transports, tt.transports) || !slices.Equal(told.former, tt.former) {
			t.Errorf("%v are told as %+v", tt.senders, told)
		}
	}
	if told := New(Options{}).toldSessions(); told.names != nil {
		t.Errorf("a host without sessions tells %+v", told)
	}
}
