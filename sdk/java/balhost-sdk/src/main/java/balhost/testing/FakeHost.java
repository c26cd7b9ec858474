package balhost.testing;

import balhost.Downstream;
import balhost.Json;
import balhost.Log;
import balhost.Outcome;
import balhost.Plugin;
import balhost.Receipt;
import balhost.Timer;
import balhost.Transport;
import balhost.Upstream;
import balhost.Wire;
import balhost.plugin.v1.Changes;
import balhost.plugin.v1.ConfigureRequest;
import balhost.plugin.v1.Delivery;
import balhost.plugin.v1.HostFrame;
import balhost.plugin.v1.Write;
import com.google.gson.reflect.TypeToken;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;

/**
 * A host for the tests of plugin authors. It runs a plugin in the test's own process. The test
 * gives the plugin events, and looks at what it has sent and stored.
 *
 * <pre>{@code
 * try (var host = FakeHost.start(echo())) {
 *   var result = host.upstream("ann", Map.of("say", "hi")).orFail();
 *   assertEquals(token("ann"), result.sent().get(0).to());
 * }
 * }</pre>
 *
 * <p>It commits as the real host does: all of a handler's Tx or nothing, and again from the start
 * if something that the handler has read has changed. There are no devices, no disk and no lanes:
 * each event goes to the plugin at once. What is rare in a real host has a call here: {@link
 * #beforeCommit} for a conflict, {@link #crash}, {@link #reload}, {@link #refuse} for a full disk.
 * What is wrong fails the test with {@link AssertionError}. The methods may be called from any
 * thread.
 */
public final class FakeHost implements AutoCloseable {
  private static final long HUNG_GRACE_MS = 5000; // for a handler after its time, as in the host

  private final Setup setup;
  private final Store store;
  private final Log log = Log.to(System.err::print);
  private final Object changing = new Object(); // held by reload, crash and close

  // Guarded by this.
  private Plugin plugin;
  private Link now; // null after close
  private CompletableFuture<Void> changed = new CompletableFuture<>(); // of now
  private Runnable before; // what beforeCommit has set
  private String traceparent = "";

  /** How a fake host is. Begin with {@link FakeHost#setup}. */
  public static final class Setup {
    private Json config = Json.NONE;
    private List<String> sessions = List.of("main");
    private final Map<String, Transport> transports = new HashMap<>();
    private Duration handlerTimeout = Duration.ofSeconds(30);

    private Setup() {}

    /** The plugin's config object: a map, a record or a {@link Json}. */
    public Setup config(Object object) {
      config = Json.of(object);
      return this;
    }

    /** The names of the host's sessions; one session "main" if nothing is said. */
    public Setup sessions(String... names) {
      sessions = List.of(names);
      return this;
    }

    /** A session's transport; CCS if nothing is said. */
    public Setup transport(String session, Transport t) {
      transports.put(session, t);
      return this;
    }

    /** The time of a handler; 30 s if nothing is said. */
    public Setup handlerTimeout(Duration d) {
      handlerTimeout = d;
      return this;
    }

    /** Starts the plugin: its config, its start, and then its run. */
    public FakeHost start(Plugin plugin) {
      var host = new FakeHost(this, plugin);
      host.begin();
      return host;
    }

    /** Why a plugin that should not start does not; empty: it did start. */
    public Optional<String> refusal(Plugin plugin) {
      try {
        start(plugin).close();
        return Optional.empty();
      } catch (Link.Refused | balhost.InvalidException e) {
        return Optional.of(e.getMessage());
      }
    }
  }

  private FakeHost(Setup setup, Plugin plugin) {
    this.setup = setup;
    this.plugin = plugin;
    this.store = new Store(setup.sessions, setup.transports);
  }

  /** A host with one session and no config. */
  public static FakeHost start(Plugin plugin) {
    return setup().start(plugin);
  }

  /** A host with more than that. */
  public static Setup setup() {
    return new Setup();
  }

  private void begin() {
    swap(open(plugin));
    now.tell(HostFrame.newBuilder().setRun(true));
  }

  private Link open(Plugin p) {
    var c = ConfigureRequest.newBuilder().setConfig(setup.config.bytes()).setLogLevel("debug");
    for (var name : setup.sessions) {
      var t = setup.transports.getOrDefault(name, Transport.CCS);
      c.addSessions(name).addTransports(t.name().toLowerCase(Locale.ROOT));
    }
    return Link.open(p, log, store::answer, c.build());
  }

  private synchronized Link swap(Link next) {
    var old = now;
    now = next;
    changed.complete(null);
    changed = new CompletableFuture<>();
    return old;
  }

  /** Drains the plugin and ends it. */
  @Override
  public void close() {
    synchronized (changing) {
      var old = swap(null);
      if (old != null) {
        old.drain();
      }
    }
  }

  /**
   * Replaces the plugin by another, as a new file in the plugins folder does. State and sent
   * downstreams stay. Events that the old one gives back go to the new one.
   */
  public void reload(Plugin next) {
    synchronized (changing) {
      var link = open(next);
      Link old;
      synchronized (this) {
        old = now;
        plugin = next;
      }
      old.drain();
      swap(link);
      link.tell(HostFrame.newBuilder().setRun(true));
    }
  }

  /**
   * Does what kill -9 does, as far as that is possible in one process: what handlers do from now on
   * is lost, and a new instance of the same plugin gets the events that the old one held.
   */
  public void crash() {
    synchronized (changing) {
      Link old;
      Plugin p;
      synchronized (this) {
        old = now;
        p = plugin;
      }
      old.cut();
      var next = open(p);
      swap(next);
      next.tell(HostFrame.newBuilder().setRun(true));
    }
  }

  /** What {@code tx.traceparent()} has for the events from now on; "", as at first: no traces. */
  public synchronized void traceparent(String span) {
    traceparent = span;
  }

  /** Gives the plugin a device's message, as JSON, and waits for the result. */
  public Result upstream(String from, Object data) {
    return upstream(Upstream.of(from, data));
  }

  /** Gives the plugin a device's message. What is empty in it gets a value. */
  public Result upstream(Upstream m) {
    var id = or(m.id(), UUID.randomUUID().toString());
    var categories = categories();
    var category = or(m.category(), categories.isEmpty() ? "" : categories.get(0));
    var messageId = or(m.messageId(), "m-" + id);
    var raw = new com.google.gson.JsonObject();
    raw.addProperty("from", m.from());
    raw.addProperty("category", category);
    raw.addProperty("message_id", messageId);
    // The data is in it byte by byte, so it is put in as a text.
    var text = raw.toString();
    var whole =
        m.data().isEmpty()
            ? text
            : text.substring(0, text.length() - 1) + ",\"data\":" + m.data() + "}";
    var filled =
        new Upstream(
            id,
            or(m.session(), setup.sessions.get(0)),
            m.from(),
            category,
            messageId,
            m.data(),
            m.raw().isEmpty() ? Json.parse(whole) : m.raw(),
            m.attempt(),
            m.received() == null ? Instant.now() : m.received());
    return deliver(
        Delivery.newBuilder().setAttempt(m.attempt()).setUpstream(Wire.upstream(filled)));
  }

  private synchronized List<String> categories() {
    return plugin.categories().equals(List.of("*")) ? List.of() : plugin.categories();
  }

  /** Tells the plugin how a downstream ended. What is empty in it gets a value. */
  public Result outcome(Outcome o) {
    var whole =
        Wire.outcome(o).toBuilder()
            .setId(or(o.id(), UUID.randomUUID().toString()))
            .setSession(or(o.session(), setup.sessions.get(0)));
    return deliver(Delivery.newBuilder().setAttempt(o.attempt()).setOutcome(whole));
  }

  /** Gives the plugin a receipt. What is empty in it gets a value. */
  public Result receipt(Receipt r) {
    var whole =
        Wire.receipt(r).toBuilder()
            .setId(or(r.id(), UUID.randomUUID().toString()))
            .setSession(or(r.session(), setup.sessions.get(0)))
            .setStatus(or(r.status(), "MESSAGE_SENT_TO_DEVICE"));
    return deliver(Delivery.newBuilder().setAttempt(r.attempt()).setReceipt(whole));
  }

  /** Gives the plugin a timer, whether it has set one or not. What is empty in it gets a value. */
  public Result timer(Timer t) {
    var whole =
        new Timer(
            or(t.id(), UUID.randomUUID().toString()),
            or(t.session(), setup.sessions.get(0)),
            t.device(),
            t.key(),
            t.data(),
            t.due() == null ? Instant.now() : t.due(),
            t.attempt());
    return deliver(Delivery.newBuilder().setAttempt(t.attempt()).setTimer(Wire.timer(whole)));
  }

  private static String or(String s, String otherwise) {
    return s.isEmpty() ? otherwise : s;
  }

  /** Gives an event until it has a result that counts: again after a conflict or a crash. */
  private Result deliver(Delivery.Builder event) {
    event.setTimeoutMs((int) setup.handlerTimeout.toMillis());
    synchronized (this) {
      event.setTraceparent(traceparent);
    }
    for (int runs = 1; ; ) {
      Link to;
      CompletableFuture<Void> change;
      synchronized (this) {
        to = now;
        change = changed;
      }
      if (to == null) {
        throw new AssertionError("the host is closed: the plugin can't get this event");
      }
      var r =
          Link.await(
              to.deliver(event),
              setup.handlerTimeout.toMillis() + HUNG_GRACE_MS,
              "a handler has not returned 5 s after it was interrupted: in a real host its lane"
                  + " waits, and when a quarter of maxInFlight handlers hang like this, the host"
                  + " kills the plugin");
      if (r == null || r.getCode() == balhost.plugin.v1.Result.Code.RELEASE) {
        Link.await(
            change, Link.PATIENCE_S * 1000, "the plugin gave an event back, and was not replaced");
        continue;
      }
      meddle();
      var ended = ended(r, event.build(), runs);
      if (ended != null) {
        return ended;
      }
      runs++;
    }
  }

  /** How the event ended; null: it runs again. */
  private Result ended(balhost.plugin.v1.Result r, Delivery event, int runs) {
    var changes = r.getChanges();
    if (r.getCode() != balhost.plugin.v1.Result.Code.DONE) {
      boolean rejected = r.getCode() == balhost.plugin.v1.Result.Code.REJECT;
      var status = rejected ? Result.Status.REJECTED : Result.Status.RETRIED;
      return store.stale(changes)
          ? null
          : new Result(
              status,
              r.getError(),
              Duration.ofMillis(Math.max(0, r.getDelayMs())),
              List.of(),
              runs);
    }
    try {
      return switch (store.commit(changes, event)) {
        case CONFLICT -> null;
        case REPLACED ->
            new Result(
                Result.Status.CANCELED,
                "the timer was cancelled or set anew",
                Duration.ZERO,
                List.of(),
                runs);
        case DONE ->
            new Result(Result.Status.DONE, "", Duration.ZERO, records(changes.getSendList()), runs);
      };
    } catch (IllegalArgumentException e) {
      throw new AssertionError("commit: " + e.getMessage());
    }
  }

  private static List<Downstream> records(List<balhost.plugin.v1.Downstream> all) {
    return all.stream().map(Wire::downstream).toList();
  }

  /**
   * Has something done once: after the next handler has returned, and before what it did is
   * committed. If it changes what the handler has read, the handler runs again.
   */
  public synchronized void beforeCommit(Runnable r) {
    before = r;
  }

  private void meddle() {
    Runnable r;
    synchronized (this) {
      r = before;
      before = null;
    }
    if (r != null) {
      r.run();
    }
  }

  /**
   * The plugin's own metrics, as a scrape of the host gets them. What the plugin throws is the
   * cause of the {@link AssertionError}.
   */
  public String metrics() {
    Link to;
    synchronized (this) {
      to = now;
    }
    if (to == null) {
      throw new AssertionError("the host is closed: the plugin has no metrics");
    }
    return to.metrics();
  }

  /** The value of a key of the plugin's state; empty: there is none. */
  public <T> Optional<T> state(String key, Class<T> type) {
    var json = store.get(key);
    return json.isEmpty() ? Optional.empty() : Optional.of(json.as(type));
  }

  /** As {@link #state(String, Class)}, of a generic type. */
  public <T> Optional<T> state(String key, TypeToken<T> type) {
    var json = store.get(key);
    return json.isEmpty() ? Optional.empty() : Optional.of(json.as(type));
  }

  /** Sets a key of the plugin's state; null removes it. */
  public void setState(String key, Object value) {
    var w = Write.newBuilder().setKey(key);
    if (value == null) {
      w.setRemove(true);
    } else {
      w.setValue(Json.of(value).bytes());
    }
    store.commit(Changes.newBuilder().addWrite(w).build(), null);
  }

  /** The keys of the plugin's state, in order. */
  public List<String> keys() {
    return store.keys();
  }

  /** All that the plugin has sent so far, from handlers and otherwise. */
  public List<Downstream> sent() {
    return records(store.sent());
  }

  /** Waits until the plugin has sent n downstreams in all, and returns all. */
  public List<Downstream> awaitSent(int n) {
    try {
      var all = store.awaitSent(n, Link.PATIENCE_S * 1000);
      if (all.size() < n) {
        throw new AssertionError(all.size() + " downstreams sent within 30 s, expected " + n);
      }
      return records(all);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new AssertionError("interrupted");
    }
  }

  /** What was sent and has not gone out: it can be cancelled and replaced. All waits for goOut. */
  public List<Downstream> waiting() {
    return records(store.waiting());
  }

  /** Lets downstreams that wait go out: from now on they are neither cancelled nor replaced. */
  public void goOut(String... messageIds) {
    for (var id : messageIds) {
      if (!store.goOut(id)) {
        throw new AssertionError("\"" + id + "\" does not wait, so it can't go out");
      }
    }
  }

  /** Why a downstream does not go out: "CANCELED", "REPLACED", or "" for another. */
  public String canceled(String messageId) {
    return store.canceled(messageId);
  }

  /**
   * Makes {@code Host.send}, and {@code Host.update} with a downstream, fail with this reason, as
   * when the host's disk fills up. "" ends this. A handler's Tx is still committed.
   */
  public void refuse(String reason) {
    store.refuse(reason);
  }

  /** The timers that were set and not handled, in the order in which they are due. */
  public List<Timer> timers() {
    return store.timers().stream().map(FakeHost::record).toList();
  }

  private static Timer record(Store.Set s) {
    var t = s.timer;
    return new Timer(
        t.getId(),
        t.getSession(),
        t.getDevice(),
        t.getKey(),
        Json.ofBytes(t.getData()),
        Instant.ofEpochMilli(t.getDueMs()),
        s.attempt);
  }

  /**
   * Lets time pass for the plugin's timers, and gives the plugin those that are due by then, one
   * after the other, also those that handlers set meanwhile. One that was retried comes again at
   * the next call. The clock of the process stays as it is.
   */
  public List<Result> advance(Duration d) {
    var goal = store.past().plus(d);
    var until = store.until(d);
    var tried = new HashSet<String>();
    var results = new ArrayList<Result>();
    for (var t = store.next(until, tried); t != null; t = store.next(until, tried)) {
      tried.add(t.timer.getId());
      var r = deliver(Delivery.newBuilder().setAttempt(t.attempt).setTimer(t.timer));
      if (r.status() == Result.Status.REJECTED) {
        store.reject(t);
      }
      results.add(r);
    }
    store.past(goal);
    return results;
  }
}
