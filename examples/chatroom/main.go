// Command chatroom is a plugin with state. Devices join rooms. What one device says
// goes to all others in the room. It shows
//
//   - order by a key of the payload: the messages of one room are handled one after
//     the other, and different rooms at the same time;
//   - state that is committed together with the event (Tx.Get, Tx.Put);
//   - groups: each member gets a room's messages in the order in which they were said;
//   - outcomes: a device that does not exist any more leaves its rooms;
//   - sessions: members of one room may come by different sessions;
//   - metrics of the plugin's own, which the host gives on.
//
// A device sends {"do":"join","room":"r","name":"Ann"}, {"do":"say","room":"r",
// "text":"hi"} or {"do":"leave","room":"r"}.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"balhost/sdk"
)

func main() { sdk.Serve(chatroom()) }

// config is the config block of the plugin in config.hcl.
type config struct {
	MaxMembers int `json:"max_members"` // of one room
	MaxText    int `json:"max_text"`    // bytes of one message
}

// request is what a device sends. CCS carries only strings.
type request struct {
	Do   string `json:"do"`
	Room string `json:"room"`
	Name string `json:"name"`
	Text string `json:"text"`
}

// room is the state of one room: its members by their tokens. Its key is "members/" and
// the room's name.
type room map[string]member

// member is a device in a room. It is reached by the session by which it came.
type member struct {
	Name    string `json:"name"`
	Session string `json:"session"`
}

// chat has the plugin's handlers.
type chat struct {
	config config

	mu    sync.Mutex     // handlers run at the same time
	ended map[string]int // downstreams, by how they ended; for metrics
}

func chatroom() sdk.Plugin {
	c := &chat{
		config: config{MaxMembers: 100, MaxText: 1000}, // the defaults
		ended:  map[string]int{"acked": 0, "failed": 0, "expired": 0, "canceled": 0},
	}
	return sdk.Plugin{
		Name:       "chatroom",
		Version:    "1.0.0",
		Categories: []string{"com.example.chatroom"},
		Order:      sdk.OrderByKey("data.room"),
		Config:     &c.config,
		Upstream:   c.upstream,
		Outcome:    c.outcome,
		Metrics:    c.metrics,
	}
}

func (c *chat) upstream(ctx context.Context, tx *sdk.Tx, m sdk.Upstream) error {
	var q request
	if err := json.Unmarshal(m.Data, &q); err != nil {
		return sdk.Reject(fmt.Errorf("data of %s: %w", m.MessageID, err)) // a later attempt can't read it either
	}
	if q.Room == "" || len(q.Room) > 100 {
		return refuse(tx, m, "room: give a name of 1 to 100 bytes")
	}
	members := room{}
	if _, err := tx.Get(ctx, key(q.Room), &members); err != nil {
		return err // after an error the message comes again later
	}
	who, inside := members[m.From]
	switch {
	case q.Do == "join" && !inside && len(members) >= c.config.MaxMembers:
		return refuse(tx, m, "room is full")
	case q.Do == "join" && (q.Name == "" || len(q.Name) > 100):
		return refuse(tx, m, "name: give one of 1 to 100 bytes")
	case q.Do == "join":
		members[m.From] = member{q.Name, m.Session}
		if err := tx.Put(key(q.Room), members); err != nil {
			return err
		}
		return tell(tx, q.Room, members, m.From, map[string]string{"event": "joined", "name": q.Name})
	case !inside:
		return refuse(tx, m, "join the room first")
	case q.Do == "say" && (q.Text == "" || len(q.Text) > c.config.MaxText):
		return refuse(tx, m, fmt.Sprintf("text: say something of 1 to %d bytes", c.config.MaxText))
	case q.Do == "say":
		return tell(tx, q.Room, members, m.From, map[string]string{"event": "said", "name": who.Name, "text": q.Text})
	case q.Do == "leave":
		return leave(tx, q.Room, members, m.From)
	}
	return refuse(tx, m, "do: it must be join, say or leave")
}

// outcome is told how each downstream ended. A token that is gone leaves the room. If
// CCS has replaced a token, the member gets the new one.
func (c *chat) outcome(ctx context.Context, tx *sdk.Tx, o sdk.Outcome) error {
	c.count(o.Status.String()) // it is gone at the next start, as metrics are
	if !o.Gone && o.NewToken == "" {
		return nil
	}
	var name string // of the room; tell has put it into Context
	if err := json.Unmarshal(o.Context, &name); err != nil {
		return nil // refuse has sent it: it belongs to no room
	}
	members := room{}
	if _, err := tx.Get(ctx, key(name), &members); err != nil {
		return err
	}
	old := o.To.Token
	if _, inside := members[old]; !inside {
		return nil
	}
	if o.Gone {
		return leave(tx, name, members, old)
	}
	members[o.NewToken] = members[old]
	delete(members, old)
	return tx.Put(key(name), members)
}

func (c *chat) count(status string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended[status]++
}

// metrics writes Prometheus's text. The few values of a label are there from the start, as
// 0. With more than this, use a library and a registry of the plugin's own.
func (c *chat) metrics(_ context.Context, w io.Writer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := fmt.Fprintln(w, "# TYPE chatroom_outcomes_total counter"); err != nil {
		return err
	}
	for _, status := range slices.Sorted(maps.Keys(c.ended)) {
		if _, err := fmt.Fprintf(w, "chatroom_outcomes_total{status=%q} %d\n", status, c.ended[status]); err != nil {
			return err
		}
	}
	return nil
}

func leave(tx *sdk.Tx, name string, members room, token string) error {
	who := members[token]
	delete(members, token)
	var err error
	if len(members) == 0 {
		err = tx.Delete(key(name))
	} else {
		err = tx.Put(key(name), members)
	}
	if err != nil {
		return err
	}
	return tell(tx, name, members, token, map[string]string{"event": "left", "name": who.Name})
}

// tell sends data to all members but one. Each pair of room and device has a group of
// its own. So a device gets the room's messages in order, and no device waits for
// another.
func tell(tx *sdk.Tx, name string, members room, but string, data map[string]string) error {
	data["room"] = name
	about, err := json.Marshal(name)
	if err != nil {
		return err
	}
	// The tokens are sorted, because a downstream's id is made of its place in the
	// Tx. If the message comes again, this must send in the same order.
	for _, token := range slices.Sorted(maps.Keys(members)) {
		if token == but {
			continue
		}
		_, err := tx.Send(sdk.Downstream{To: sdk.Token(token), Data: data, Session: members[token].Session, Group: group(name, token), Context: about})
		if err != nil {
			return err
		}
	}
	return nil
}

// refuse tells the device why its message was refused. Then the message is handled:
// another attempt would not help.
func refuse(tx *sdk.Tx, m sdk.Upstream, why string) error {
	_, err := tx.Send(sdk.Downstream{To: sdk.Token(m.From), Data: map[string]string{"event": "refused", "why": why}})
	return err
}

func key(name string) string { return "members/" + name }

// group is the group of a room's messages to one device. Tokens are long and the
// length of a group's name is limited, so it is a hash of both.
func group(room, token string) string {
	sum := sha256.Sum256([]byte(room + "\x00" + token))
	return hex.EncodeToString(sum[:16])
}
