package ccs

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/ccssim"
)

// CCS may repeat the key in what it says, as it is or as the login that we sent. The key
// is shown nowhere: not in logs, status or outcomes, nor in a dead letter's reason.
func TestSecretsThatCCSRepeats(t *testing.T) {
	const key, token = "AAAA&k3y<>:-_", "an-admin-token"
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + ccssim.DefaultSenderID + "@gcm.googleapis.com\x00" + key))
	core := base64.StdEncoding.EncodeToString([]byte(key))[4:12]
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace
	secret := map[string]string{
		"key": escape(key), "login": plain, "token": token, "long": strings.Repeat("x", 290) + escape(key) + strings.Repeat("y", 100),
		"long JSON": strings.Repeat("x", 120) + escape(key) + strings.Repeat("y", 200),
	}
	const sasl = header + `<stream:features><mechanisms xmlns="urn:ietf:params:xml:ns:xmpp-sasl"><mechanism>PLAIN</mechanism></mechanisms></stream:features>`
	for name, c := range map[string]struct{ login, stanza string }{
		"login refused":     {login: sasl + `<failure xmlns="urn:ietf:params:xml:ns:xmpp-sasl"><not-authorized/><text>no %s here</text></failure>`},
		"odd login":         {login: sasl + `<failure xmlns="urn:ietf:params:xml:ns:xmpp-sasl"><text>%s</text></failure>`},
		"login ended":       {login: sasl + `<stream:error><policy-violation xmlns="urn:ietf:params:xml:ns:xmpp-streams"/><text xmlns="urn:ietf:params:xml:ns:xmpp-streams">%s</text></stream:error>`},
		"other host":        {login: sasl + `<stream:error><see-other-host xmlns="urn:ietf:params:xml:ns:xmpp-streams">%s</see-other-host></stream:error>`},
		"no such mechanism": {login: header + `<stream:features><mechanisms xmlns="urn:ietf:params:xml:ns:xmpp-sasl"><mechanism>%s</mechanism></mechanisms></stream:features>`},
		"stream error":      {stanza: `<stream:error><internal-server-error xmlns="urn:ietf:params:xml:ns:xmpp-streams"/><text xmlns="urn:ietf:params:xml:ns:xmpp-streams">%s</text></stream:error>`},
		"stanza error":      {stanza: `<message type="error" id="m1"><error code="400" type="modify"><bad-request xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/><text xmlns="urn:ietf:params:xml:ns:xmpp-stanzas">%s</text></error></message>`},
		"of nothing":        {stanza: `<message type="error" id="m99"><error code="406" type="modify"><text xmlns="urn:ietf:params:xml:ns:xmpp-stanzas">%s</text></error></message>`},
		"nack":              {stanza: `<message><gcm xmlns="google:mobile:data">{"message_type":"nack","message_id":"m1","from":"A","error":"BAD %[1]s","error_description":"%[1]s"}</gcm></message>`},
		"nack without id":   {stanza: `<message><gcm xmlns="google:mobile:data">{"message_type":"nack","error":"BAD","error_description":"%s"}</gcm></message>`},
		"unknown type":      {stanza: `<message><gcm xmlns="google:mobile:data">{"message_type":"%s"}</gcm></message>`},
		"control":           {stanza: `<message><gcm xmlns="google:mobile:data">{"message_type":"control","control_type":"%s"}</gcm></message>`},
		"unusable":          {stanza: `<message><gcm xmlns="google:mobile:data">{"from":"A","message_id":"1","message_type":"%s","data":{}}</gcm></message>`},
		"unknown stanza":    {stanza: `<odd>%s</odd>`},
		"broken":            {stanza: `<message><gcm xmlns="google:mobile:data">%s&nbsp;</gcm></message>`},
		"between":           {stanza: `%s`},
		"no JSON":           {stanza: `<message><gcm xmlns="google:mobile:data">%s</gcm></message>`},
		"late":              {stanza: `<message><gcm xmlns="google:mobile:data">{"message_type":"ack","message_id":"%s","from":"A"}</gcm></message>`},
	} {
		for form, s := range secret {
			t.Run(name+", "+form, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := start(t, ccssim.Options{ServerKey: key}, func(o *Options) {
						if o.Secrets = []string{token}; c.login != "" {
							o.Dial = func(context.Context, string) (net.Conn, error) {
								ours, theirs := net.Pipe()
								return ours, says(fmt.Sprintf(c.login, s))(theirs)
							}
						}
					})
					defer w.finish()
					if c.stanza != "" {
						w.until("login", func(n ccssim.Counts) bool { return n.Logins > 0 })
						w.srv.Nack(ccssim.Nack{Count: 3})
						w.outbox.send(1, 3, "tokA")
						synctest.Wait()
						w.srv.Inject(fmt.Sprintf(c.stanza, s))
					}
					time.Sleep(10 * time.Minute)
					said := fmt.Sprintf("%s\n%+v", w.log, w.s.Status())
					w.outbox.look(func(b *outbox) { said += fmt.Sprint(b.words, b.ends) })
					w.inbox.mu.Lock()
					for _, in := range w.inbox.seen {
						said += in.Unusable
					}
					w.inbox.mu.Unlock()
					for _, never := range []string{key, "k3y", core, plain, token} {
						if strings.Contains(said, never) {
							t.Errorf("%q is shown in\n%s", never, said)
						}
					}
					if c.login != "" && form == "key" && !strings.Contains(said, "(hidden)") {
						t.Errorf("nothing is hidden in\n%s", said)
					}
				})
			})
		}
	}
}
