package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"balhost/host/internal/entry"
)

// ErrNotRunning means that nothing listens at the admin address.
var ErrNotRunning = errors.New("no balhost is running")

// requestTime bounds one call that has no deadline of its own.
const requestTime = 30 * time.Second

// Client asks a running host. The errors of its methods are the host's own texts.
type Client struct {
	listen string // as in the config, for errors
	token  string
	base   string
	http   *http.Client
}

// Address is where a host's API is, and what a client needs to get in.
type Address struct {
	Listen string // "127.0.0.1:8765", "https://host:8765" or "unix:/path"
	Token  string // "": none
	// Own is the cert_file of the host on this machine: its certificate is the right one,
	// whatever its names and its end. "": CAs decide.
	Own    string
	CAFile string // PEM, of the CAs that decide; "": the system's
	// CertFile and KeyFile are the client's own certificate, in PEM, for a host that wants one.
	CertFile, KeyFile string
}

// NewClient makes a client for the host at that address, as [Server.Addr] gives it, with
// that token ("" for none). It doesn't connect yet.
func NewClient(listen, token string) *Client {
	c, err := Address{Listen: listen, Token: token}.Client()
	if err != nil {
		panic(err) // it reads no file
	}
	return c
}

// Client makes a client for that address. It doesn't connect yet. Its error says what is
// wrong with the files.
func (a Address) Client() (*Client, error) {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	transport := &http.Transport{DialContext: dialer.DialContext, MaxIdleConns: 1, TLSHandshakeTimeout: 10 * time.Second}
	c := &Client{listen: a.Listen, token: a.Token, http: &http.Client{Transport: transport, Timeout: requestTime}}
	if path, ok := strings.CutPrefix(a.Listen, unixPrefix); ok {
		c.base = "http://localhost"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", path)
		}
		return c, nil
	}
	where, secure := strings.CutPrefix(strings.TrimSuffix(a.Listen, "/"), httpsPrefix)
	if !secure {
		c.base = httpPrefix + reachable(strings.TrimPrefix(where, httpPrefix))
		return c, nil
	}
	c.base = httpsPrefix + reachable(where)
	var err error
	transport.TLSClientConfig, err = a.tls()
	return c, err
}

// reachable turns an address to listen on into one to connect to. There, an empty
// host or zeros mean "all addresses of this machine".
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("localhost", port)
	}
	return listen
}

// Close closes the connections that are kept for the next call.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status is the host's state.
func (c *Client) Status(ctx context.Context) (Status, error) {
	s, err := ask[Status](ctx, c, http.MethodGet, "/v1/status", nil)
	if s.Now.IsZero() { // an older host, which doesn't send it
		s.Now = time.Now()
	}
	return s, err
}

// Send stores one downstream. It returns the id when the message is on disk (P2).
func (c *Client) Send(ctx context.Context, m Message) (messageID string, err error) {
	if _, err := m.Checked(); err != nil { // JSON would change a string that isn't UTF-8
		return "", err
	}
	s, err := ask[sent](ctx, c, http.MethodPost, "/v1/messages", m)
	return s.MessageID, err
}

// Cancel cancels downstreams that have not gone out. With an error it also returns what
// was done before.
func (c *Client) Cancel(ctx context.Context, o CancelOrder) (Ordered, error) {
	return c.orders(o.IDs, func(ids []string) (Ordered, error) {
		return ask[Ordered](ctx, c, http.MethodPost, "/v1/messages/cancel", CancelOrder{IDs: ids, Session: o.Session})
	})
}

// DeadLetter is one dead letter with its payload.
func (c *Client) DeadLetter(ctx context.Context, id string) (entry.DeadLetter, error) {
	return ask[entry.DeadLetter](ctx, c, http.MethodGet, "/v1/dead/"+url.PathEscape(id), nil)
}

// Replay puts dead letters back at the end of their lanes, in their old order. With
// an error it also returns what was done before.
func (c *Client) Replay(ctx context.Context, ids []string) (Ordered, error) {
	return c.orders(ids, func(ids []string) (Ordered, error) {
		return ask[Ordered](ctx, c, http.MethodPost, "/v1/dead/replay", order{IDs: ids})
	})
}

// DeleteDead removes dead letters for good. With an error it also returns what was
// done before.
func (c *Client) DeleteDead(ctx context.Context, ids []string) (Ordered, error) {
	return c.orders(ids, func(ids []string) (Ordered, error) {
		return ask[Ordered](ctx, c, http.MethodPost, "/v1/dead/delete", order{IDs: ids})
	})
}

// Plugin has the host do one of these to a plugin: pause, resume, or rollback (to its
// previous proven content).
func (c *Client) Plugin(ctx context.Context, action, name string) error {
	_, err := ask[done](ctx, c, http.MethodPost, "/v1/plugins/"+url.PathEscape(name)+"/"+action, struct{}{})
	return err
}

// LogLevel changes how much a plugin logs; "" is the host's level.
func (c *Client) LogLevel(ctx context.Context, plugin, level string) error {
	_, err := ask[done](ctx, c, http.MethodPost, "/v1/plugins/"+url.PathEscape(plugin)+"/log-level", logLevel{Level: level})
	return err
}

// Reload applies the config file again and looks at the plugins folder.
func (c *Client) Reload(ctx context.Context, o ReloadOrder) (Reloaded, error) {
	return ask[Reloaded](ctx, c, http.MethodPost, "/v1/reload", o)
}

// orders orders by as many ids at once as one request may have.
func (c *Client) orders(ids []string, do func(ids []string) (Ordered, error)) (all Ordered, err error) {
	for len(ids) > 0 {
		part := ids[:min(len(ids), maxPage)]
		did, err := do(part)
		if err != nil {
			return all, err
		}
		all.Done, all.Gone, ids = all.Done+did.Done, append(all.Gone, did.Gone...), ids[len(part):]
	}
	return all, nil
}

// ask is do with a typed answer.
func ask[T any](ctx context.Context, c *Client, method, path string, in any) (out T, err error) {
	err = c.do(ctx, method, path, in, &out)
	return out, err
}

// do sends a request and decodes the answer into out.
func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	resp, err := c.send(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return c.decode(resp, out)
}

// send sends a request; the caller closes the answer.
func (c *Client) send(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false) // a payload's bytes stay as they are
		if err := e.Encode(in); err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		body = &b
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("admin address %q: %w", c.listen, err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if opErr := (*net.OpError)(nil); errors.As(err, &opErr) && opErr.Op == "dial" {
		return nil, fmt.Errorf("%w at %s (%w)", ErrNotRunning, c.listen, opErr.Err)
	} else if err != nil {
		return nil, fmt.Errorf("ask the host at %s: %w%s", c.listen, err, secured(err))
	}
	return resp, nil
}

func (c *Client) decode(resp *http.Response, out any) error {
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("read the answer of the host at %s: %w", c.listen, err)
	}
	var f failure
	if resp.StatusCode/100 != 2 {
		if json.Unmarshal(b, &f) == nil && f.Error != "" {
			err := errors.New(f.Error)
			if f.Kind == kindConfig {
				err = Refusal{Err: err, Config: true}
			}
			return err
		}
		if resp.StatusCode == http.StatusBadRequest && !strings.HasPrefix(c.base, httpsPrefix) && resp.Header.Get("Content-Type") == "" { // net/http's, to who speaks plain HTTP
			return fmt.Errorf("the program at %s answers %s; if it speaks TLS, write https://%s", c.listen, resp.Status, strings.TrimPrefix(c.listen, httpPrefix))
		}
		return fmt.Errorf("the program at %s answers %s; is it a balhost?", c.listen, resp.Status)
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("the program at %s does not answer in JSON; is it a balhost? (%w)", c.listen, err)
	}
	return nil
}
