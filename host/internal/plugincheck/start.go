package plugincheck

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"balhost/host/internal/plain"
	"balhost/sdk/wire"
)

// start is one way to start a process.
type start struct {
	config  []byte
	note    func(row string, f finding)
	unknown []byte // fields that the messages of the start have beside the known ones
}

// start starts a process as a host does: handshake, connection, health, Describe, Session,
// Configure. Each step is noted in the row that is about it.
func (c *check) start(ctx context.Context, how start) (*life, error) {
	l := &life{c: c, log: newListener()}
	l.proc = c.solo.New(l.log)
	l.spared = context.AfterFunc(ctx, func() { l.proc.Abort("the check was ended") })
	for _, step := range []func(context.Context, start) error{l.shake, l.prove, l.connect, l.describe, l.open, l.configure} {
		if err := step(ctx, how); err != nil {
			l.proc.Abort("did not start")
			l.bury()
			return nil, err
		}
	}
	return l, nil
}

// shake starts the process and reads its handshake.
func (l *life) shake(_ context.Context, how start) error {
	began := time.Now()
	if err := l.proc.Shake(); err != nil {
		err = l.explain(err)
		how.note("handshake", fails("§1: listen, print the one line 1|2|unix|/path/of/the/socket|grpc, flush it, and print little before it", "%v", err))
		return err
	}
	found := "after " + took(time.Since(began))
	if n := l.proc.Preamble(); n > 0 {
		how.note("handshake", warns("§1: print nothing to stdout before the line; the host gives up after 20 lines", "%s; it printed %s before the line", found, plural(n, "line", "lines")))
	} else {
		how.note("handshake", ok("%s", found))
	}
	return nil
}

// connect connects, and asks whether the plugin is well.
func (l *life) connect(ctx context.Context, how start) error {
	if _, err := l.proc.Connect(ctx); err != nil {
		err = l.explain(err)
		if l.c.begin.steps["tls"].verdict == Fails {
			return err
		}
		how.note("health", fails("§1 step 3: serve grpc.health.v1.Health/Check; the status of the service \"plugin\" is SERVING. The server's only CA is host.crt", "%v", err))
		return err
	}
	how.note("health", ok("SERVING"))
	return nil
}

// strange is a capability that no plugin knows.
const strange = "balhost-check"

// describe asks twice, as nothing may follow from it.
func (l *life) describe(ctx context.Context, how start) error {
	rpc := wire.NewPluginClient(l.proc.Conn())
	request := &wire.DescribeRequest{HostVersion: l.c.o.Version, Capabilities: append(wire.HostCapabilities(), strange)}
	request.ProtoReflect().SetUnknown(how.unknown)
	var all [2]*wire.Manifest
	for i := range all {
		within, cancel := context.WithTimeout(ctx, l.c.o.Plugin.StartTimeout)
		m, err := rpc.Describe(within, request)
		cancel()
		if err != nil {
			err = l.explain(err)
			how.note("describe", fails("§2: Describe comes first, without configuration; answer with the manifest", "%v", err))
			return err
		}
		all[i] = m
	}
	l.manifest = all[0]
	mend := "§10, and Manifest in plugin.proto: the name is that of the file or folder"
	if err := wire.CheckManifest(l.c.solo.Name, l.manifest); err != nil {
		how.note("describe", fails(mend, "%v", err))
		return err
	}
	if !proto.Equal(all[0], all[1]) {
		how.note("describe", fails("§2: Describe has no side effects; answer the same each time", "two answers differ: %v, and %v", all[0], all[1]))
	} else {
		how.note("describe", ok("%s", manifest(l.manifest)))
	}
	how.note("capabilities", capabilities(l.manifest))
	return nil
}

// manifest is a manifest for people.
func manifest(m *wire.Manifest) string {
	var kinds []string
	for _, k := range kinds4(m) {
		if k.has {
			kinds = append(kinds, k.name)
		}
	}
	text := strings.TrimSpace(m.GetName() + " " + m.GetVersion())
	if len(kinds) == 0 {
		return text + ", without handlers"
	}
	return text + ", with handlers for " + strings.Join(kinds, ", ")
}

// capabilities says whether the plugin has named those only that both have.
func capabilities(m *wire.Manifest) finding {
	for _, name := range m.GetCapabilities() {
		if !slices.Contains(wire.HostCapabilities(), name) {
			return fails("§6: answer with those of the host's capabilities that the plugin has too, and with no others", "it names the capability %q, which it can't know or the host hasn't named", name)
		}
	}
	if len(m.GetCapabilities()) == 0 {
		return ok("none")
	}
	return ok("%s", strings.Join(m.GetCapabilities(), ", "))
}

// open opens the session.
func (l *life) open(_ context.Context, how start) error {
	st, err := openStream(l.proc.Conn())
	if err != nil {
		err = l.explain(err)
		how.note("configure", fails("§2: Session is opened before Configure", "%v", err))
		return err
	}
	b := newBook(l.c.o.Sessions)
	b.timed = l.manifest.GetTimer()
	l.session = newSession(st, b, &l.c.flaws, l.c.o.Extend)
	return nil
}

// configure hands over the config while the session is open, and lets run begin.
func (l *life) configure(ctx context.Context, how start) error {
	began := time.Now()
	said, err := l.tellConfig(ctx, how)
	switch {
	case err != nil:
		err = l.explain(err)
		how.note("configure", fails("§2: Configure comes while Session is open and runs; at least four calls must be able to run at once", "%v", err))
		return err
	case said != "":
		how.note("configure", fails("§2: it refuses the config; give the right one with --config, or with -c the config.hcl", "it refuses to start: %s", plain.Line(said, 400)))
		return errors.New("it refuses to start: " + plain.Line(said, 200))
	}
	how.note("configure", ok("after %s, while Session was open", took(time.Since(began))))
	l.session.until(time.Second, func() bool { return l.session.credit > 0 })
	l.session.mu.Lock()
	credit := l.session.credit
	l.session.mu.Unlock()
	most := uint32(l.c.o.Plugin.MaxInFlight)
	switch {
	case credit == 0:
		how.note("credit", ok("none sent: the host's max_in_flight counts, %d", most))
	case credit > most:
		how.note("credit", ok("%d, of which %d count (max_in_flight)", credit, most))
	default:
		how.note("credit", ok("%d", credit))
	}
	l.session.send(&wire.HostFrame{Run: true})
	return nil
}

// tellConfig calls Configure. said is the plugin's refusal.
func (l *life) tellConfig(ctx context.Context, how start) (said string, err error) {
	request := &wire.ConfigureRequest{
		Config: how.config, LogLevel: "info", HostVersion: l.c.o.Version,
		Limits: wire.NewLimits(l.c.o.Plugin.MaxInFlight, pingWithin),
	}
	request.Limits.ExtendMs = uint32(l.c.o.Extend.Milliseconds())
	for _, s := range l.c.o.Sessions {
		request.Sessions, request.Transports = append(request.Sessions, s.Name), append(request.Transports, string(s.Transport))
	}
	request.ProtoReflect().SetUnknown(how.unknown)
	within, cancel := context.WithTimeout(ctx, l.c.o.Plugin.StartTimeout)
	defer cancel()
	reply, err := wire.NewPluginClient(l.proc.Conn()).Configure(within, request)
	return reply.GetError(), err
}

// inFlight is how many deliveries the plugin may hold.
func (l *life) inFlight() int {
	l.session.mu.Lock()
	defer l.session.mu.Unlock()
	if n := int(l.session.credit); n > 0 {
		return min(n, l.c.o.Plugin.MaxInFlight)
	}
	return l.c.o.Plugin.MaxInFlight
}

// unknownFields are fields of each wire type, with numbers that no message has.
func unknownFields() protoreflect.RawFields {
	const first = 1000
	b := protowire.AppendVarint(protowire.AppendTag(nil, first, protowire.VarintType), 7)
	b = protowire.AppendFixed64(protowire.AppendTag(b, first+1, protowire.Fixed64Type), 7)
	b = protowire.AppendBytes(protowire.AppendTag(b, first+2, protowire.BytesType), []byte("unknown\xff"))
	return protowire.AppendFixed32(protowire.AppendTag(b, first+3, protowire.Fixed32Type), 7)
}
