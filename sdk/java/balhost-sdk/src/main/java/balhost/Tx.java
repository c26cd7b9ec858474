package balhost;

import balhost.plugin.v1.Call;
import balhost.plugin.v1.Changes;
import balhost.plugin.v1.ListReply;
import balhost.plugin.v1.Range;
import balhost.plugin.v1.Read;
import balhost.plugin.v1.Reply;
import balhost.plugin.v1.Schedule;
import balhost.plugin.v1.Write;
import com.google.gson.reflect.TypeToken;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CancellationException;

/**
 * What a handler does: the downstreams that it sends, the state that it changes, and the timers
 * that it sets. When the handler returns, all of it is committed together with the end of the
 * event; when it throws, nothing. Others see nothing of it before. The state belongs to the plugin
 * alone, and stays when the plugin is replaced.
 *
 * <p>A Tx is no snapshot. The first read of a key gives what is committed at that moment. If a key
 * that was read or listed has changed by the time of the commit, nothing is committed, and the
 * handler runs again from its start, as the same attempt, also after an exception. So a handler may
 * trust what it reads. What it does elsewhere (a request, a mail) happens again in each run: give
 * such a call an id that is the same in each run, the event's for example.
 *
 * <p>A call that goes over a limit throws {@link InvalidException}, and the Tx stays as it was. The
 * methods may be called from several threads, until the handler returns.
 */
public final class Tx {
  private static final Comparator<Item> BY_BYTES =
      (a, b) -> Arrays.compareUnsigned(utf8(a.key()), utf8(b.key()));

  private final Calls calls;
  private final boolean timed; // the plugin has a timer handler
  private final Handling by; // null outside of a handler
  private final String event; // its id
  private final String session; // of the event

  // Guarded by this.
  private final List<balhost.plugin.v1.Downstream> sends = new ArrayList<>(2);
  private final Map<String, Write> writes = new LinkedHashMap<>();
  private final Map<String, Schedule> timers = new LinkedHashMap<>();
  private final List<String> canceled = new ArrayList<>(0);
  private final Map<String, Reply> reads = new HashMap<>();
  private final List<Range> ranges = new ArrayList<>(0);
  private int listed; // what the ranges count
  private int bytes;
  private boolean ended;

  Tx(Calls calls, boolean timed, Handling by) {
    this.calls = calls;
    this.timed = timed;
    this.by = by;
    this.event = by == null ? "" : Wire.id(by.delivery);
    this.session = by == null ? "" : Wire.session(by.delivery);
  }

  /**
   * Sends a downstream when the Tx is committed.
   *
   * @return the id that it will have, the same at every attempt of the event
   * @throws InvalidException if it can never be sent, or if the session's transport can't carry it
   */
  public synchronized String send(Downstream d) {
    if (d.messageId().isEmpty()) {
      d =
          d.messageId(
              event.isEmpty() ? UUID.randomUUID().toString() : event + "-" + (sends.size() + 1));
    }
    if (d.session().isEmpty()) {
      d = d.session(session);
    }
    var encoded = calls.encode(d);
    grow("send " + d.messageId(), 1, 64 + encoded.getSerializedSize());
    sends.add(encoded);
    return d.messageId();
  }

  /**
   * Cancels a downstream of this plugin that has not gone out by the commit. Its outcome is
   * CANCELED. One that has gone out goes on. An id that there is not is no error.
   */
  public synchronized void cancelSend(String messageId) {
    Check.id("cancel: message_id", messageId);
    grow("cancel " + messageId, 1, Check.bytes(messageId));
    canceled.add(messageId);
  }

  /**
   * The value of a key of the plugin's state; empty if there is none. It is what this Tx has put,
   * and else the same each time. It may wait for another handler that uses the key.
   */
  public synchronized Optional<Json> get(String key) {
    Check.key("get", key, calls.limits());
    var written = writes.get(key);
    if (written != null) {
      return written.getRemove() ? Optional.empty() : Optional.of(Json.ofBytes(written.getValue()));
    }
    var read = reads.get(key);
    if (read == null) {
      var verb = "get " + Check.quoted(key);
      grow(verb, 1, Check.bytes(key));
      read = ask(verb, Call.newBuilder().setGet(key));
      reads.put(key, read);
    }
    return read.getVersion() == 0 ? Optional.empty() : Optional.of(Json.ofBytes(read.getValue()));
  }

  /** As {@link #get(String)}, read as a value of the type; the JSON null is empty too. */
  public <T> Optional<T> get(String key, Class<T> type) {
    return get(key).map(json -> json.as(type));
  }

  /** As {@link #get(String)}, read as a value of a generic type; the JSON null is empty too. */
  public <T> Optional<T> get(String key, TypeToken<T> type) {
    return get(key).map(json -> json.as(type));
  }

  private Reply ask(String verb, Call.Builder question) {
    if (by != null) {
      question.setDelivery(by.delivery.getDelivery());
    }
    return Calls.checked(verb, "", calls.ask(question, by));
  }

  /**
   * Sets a key of the plugin's state to a value, which becomes JSON. {@code null} stores null: use
   * {@link #delete} to remove a key. If the key was not read before, the last commit wins.
   */
  public void put(String key, Object value) {
    var json = Json.of(value);
    Check.value("the value of " + Check.quoted(key), json, calls.limits());
    write("put", Write.newBuilder().setKey(key).setValue(json.bytes()).build());
  }

  /** Removes a key of the plugin's state. One that does not exist is no error. */
  public void delete(String key) {
    write("delete", Write.newBuilder().setKey(key).setRemove(true).build());
  }

  private synchronized void write(String verb, Write w) {
    Check.key(verb, w.getKey(), calls.limits());
    var old = writes.get(w.getKey());
    int size =
        w.getValue().size() + (old == null ? Check.bytes(w.getKey()) : -old.getValue().size());
    grow(verb + " " + Check.quoted(w.getKey()), old == null ? 1 : 0, size);
    writes.put(w.getKey(), w);
  }

  /**
   * The keys of the plugin's state that begin with {@code prefix} and are greater than {@code
   * after}, with their values, in the order of their bytes: at most {@code max}, or as many as fit
   * if that is 0. It sees what this Tx has put and deleted. There can be fewer: keys and values of
   * one list have at most 1 MiB. Each key counts towards the limit of 1,000 changes, and the list
   * one more.
   *
   * <p>If a key in it comes, goes or changes before the commit, the handler runs again. So list the
   * smallest part that will do.
   */
  public synchronized Page list(String prefix, String after, int max) {
    var verb = "list " + Check.quoted(prefix);
    Check.prefix("list: prefix", prefix, calls.limits());
    for (; ; ) {
      Check.prefix("list: after", after, calls.limits());
      grow(verb, 2, 0); // the list, and a key at the least
      int room = calls.limits().getChanges() - count() - 1;
      int most = max <= 0 || max > room ? room : max;
      var ask = balhost.plugin.v1.List.newBuilder().setPrefix(prefix).setAfter(after).setMax(most);
      var reply = ask(verb, Call.newBuilder().setList(ask)).getList();
      var last =
          reply.getMore() && reply.getItemCount() > 0
              ? reply.getItem(reply.getItemCount() - 1).getKey()
              : "";
      note(verb, prefix, after, last, reply);
      var items = merged(prefix, after, last, reply);
      if (max > 0 && items.size() > max) {
        return new Page(List.copyOf(items.subList(0, max)), true);
      }
      if (!items.isEmpty() || !reply.getMore()) {
        return new Page(List.copyOf(items), reply.getMore());
      }
      after = last; // this Tx has deleted all of the page
    }
  }

  /** Remembers what was seen of a list, so that it is checked at the commit. */
  private void note(String verb, String prefix, String after, String last, ListReply reply) {
    int count = 1 + reply.getItemCount();
    int size =
        Check.bytes(prefix) + Check.bytes(after) + Check.bytes(last) + reply.getDigest().size();
    grow(verb, count, size);
    listed += count;
    ranges.add(
        Range.newBuilder()
            .setPrefix(prefix)
            .setAfter(after)
            .setLast(last)
            .setDigest(reply.getDigest())
            .build());
  }

  /** What is stored in a part, with what this Tx has put and deleted there. */
  private List<Item> merged(String prefix, String after, String last, ListReply reply) {
    var items = new ArrayList<Item>();
    for (var it : reply.getItemList()) {
      if (!writes.containsKey(it.getKey())) {
        items.add(new Item(it.getKey(), Json.ofBytes(it.getValue())));
      }
    }
    for (var w : writes.values()) {
      var key = w.getKey();
      if (!w.getRemove()
          && key.startsWith(prefix)
          && Arrays.compareUnsigned(utf8(key), utf8(after)) > 0
          && (last.isEmpty() || Arrays.compareUnsigned(utf8(key), utf8(last)) <= 0)) {
        items.add(new Item(key, Json.ofBytes(w.getValue())));
      }
    }
    items.sort(BY_BYTES);
    return items;
  }

  private static byte[] utf8(String s) {
    return s.getBytes(java.nio.charset.StandardCharsets.UTF_8);
  }

  /** As {@link #schedule(String, Instant, Object, Lane)}, in the lane of the event. */
  public void schedule(String key, Instant at, Object data) {
    schedule(key, at, data, null);
  }

  /**
   * Sets a timer. When it is due, the plugin's timer handler gets it as any event. It survives
   * restarts of the plugin and of the host, and never comes before its time. A time that has passed
   * is due at once.
   *
   * @param key its name, 1 to 512 bytes. One of this plugin with the same key is replaced, even if
   *     its handler runs right now: what that handler does is not committed then
   * @param at when it is due
   * @param data what the handler gets, as JSON; null: none
   * @param lane which events come before and after it; null: the lane of the event that sets it, in
   *     an update a lane of the plugin's own, named as the key
   * @throws InvalidException if the plugin has no timer handler
   */
  public void schedule(String key, Instant at, Object data, Lane lane) {
    var verb = "schedule " + Check.quoted(key);
    if (!timed) {
      throw new InvalidException(
          verb + ": the plugin has no timer handler: give it one with Plugin.timer");
    }
    Check.due(key, at);
    var s = Schedule.newBuilder().setKey(key).setAtMs(Wire.millis(at));
    if (data != null) {
      var json = Json.of(data);
      Check.value("the data of timer " + Check.quoted(key), json, calls.limits());
      s.setData(json.bytes());
    }
    if (lane != null) {
      Check.lane(key, lane, calls.limits());
      lane.into(s);
    }
    timer(verb, s.build());
  }

  /**
   * Ends the timer of this plugin that has the key, even if its handler runs right now: what that
   * does is not committed then. It is no error if there is none.
   */
  public void cancel(String key) {
    timer("cancel " + Check.quoted(key), Schedule.newBuilder().setKey(key).setCancel(true).build());
  }

  private synchronized void timer(String verb, Schedule s) {
    Check.key(s.getCancel() ? "cancel" : "schedule", s.getKey(), calls.limits());
    var old = timers.get(s.getKey());
    grow(verb, old == null ? 1 : 0, size(s) - (old == null ? 0 : size(old)));
    timers.remove(s.getKey()); // the last call for a key counts, at its own place
    timers.put(s.getKey(), s);
  }

  private static int size(Schedule s) {
    return 64 + s.getSerializedSize();
  }

  /** Whether the handler must end: its time is up, or the plugin is stopping. Return soon then. */
  public boolean isCancelled() {
    return by != null && by.cause() != null;
  }

  /** How long the handler may go on; a very long time if it has no limit. */
  public Duration timeLeft() {
    if (isCancelled()) {
      return Duration.ZERO;
    }
    return by == null || !by.timed()
        ? Duration.ofDays(365_000)
        : Duration.ofNanos(Math.max(0, by.left()));
  }

  /**
   * The span of this attempt, as W3C's Trace Context writes it: the parent of the handler's spans. A
   * host without traces gives "", and outside of a handler there is none.
   */
  public String traceparent() {
    return by == null ? "" : by.delivery.getTraceparent();
  }

  private void grow(String verb, int count, int size) {
    if (ended) {
      throw new CancellationException(verb + ": this Tx has ended: its handler has returned");
    }
    var limits = calls.limits();
    if (count() + count > limits.getChanges()) {
      throw new InvalidException(
          "%s: %d downstreams, timers and keys at once, at most %d are possible: send fewer, or split the work over several events"
              .formatted(verb, count() + count, limits.getChanges()));
    }
    if (bytes + size > limits.getChangeBytes()) {
      throw new InvalidException(
          "%s: changes of %d bytes at once, at most %d are possible: split the work, or keep large values elsewhere"
              .formatted(verb, bytes + size, limits.getChangeBytes()));
    }
    bytes += size;
  }

  private int count() {
    return sends.size() + writes.size() + timers.size() + canceled.size() + reads.size() + listed;
  }

  /** Ends the Tx. What it has, or with {@code readsOnly} what was read; null: nothing. */
  synchronized Changes end(boolean readsOnly) {
    ended = true;
    var c = Changes.newBuilder();
    reads.forEach((key, r) -> c.addRead(Read.newBuilder().setKey(key).setVersion(r.getVersion())));
    c.addAllRange(ranges);
    if (!readsOnly) {
      c.addAllSend(sends).addAllWrite(writes.values());
      c.addAllSchedule(timers.values()).addAllCancel(canceled);
    }
    int n = readsOnly ? reads.size() + ranges.size() : count();
    return n == 0 ? null : c.build();
  }
}
