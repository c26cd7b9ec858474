package balhost.testing;

import balhost.Json;
import balhost.Transport;
import balhost.plugin.v1.Call;
import balhost.plugin.v1.Changes;
import balhost.plugin.v1.Delivery;
import balhost.plugin.v1.Downstream;
import balhost.plugin.v1.Item;
import balhost.plugin.v1.ListReply;
import balhost.plugin.v1.Range;
import balhost.plugin.v1.Reply;
import balhost.plugin.v1.Schedule;
import com.google.protobuf.ByteString;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;

/** What a plugin sees of a host's ledger: its state, its timers, and what it has sent. */
final class Store {
  /** How a commit ended. */
  enum Commit {
    DONE,
    CONFLICT, // what was read has changed
    REPLACED // the timer was cancelled or set anew
  }

  private record Value(ByteString json, long version) {}

  /** A timer that was set. */
  static final class Set {
    final balhost.plugin.v1.Timer timer;
    final Instant due; // by the host's clock
    private final int number;
    int attempt;

    private Set(balhost.plugin.v1.Timer timer, Instant due, int number) {
      this.timer = timer;
      this.due = due;
      this.number = number;
    }
  }

  private static final Comparator<String> BY_BYTES =
      (a, b) ->
          Arrays.compareUnsigned(
              a.getBytes(StandardCharsets.UTF_8), b.getBytes(StandardCharsets.UTF_8));
  private static final int MOST_LISTED = 999;
  private static final int MOST_LISTED_BYTES = 1 << 20;
  private static final String WENT_OUT = "went out";

  private final List<String> sessions;
  private final Map<String, Transport> transports;

  // Guarded by this, which is notified at each commit.
  private final TreeMap<String, Value> state = new TreeMap<>(BY_BYTES);
  private final List<Downstream> sent = new ArrayList<>();
  private final Map<String, Downstream> byId = new HashMap<>();
  private final Map<String, String> ends = new HashMap<>(); // why one waits no longer, by id
  private final Map<String, Set> timers = new HashMap<>();
  private long version; // of the last write
  private int lastTimer;
  private Duration past = Duration.ZERO; // that advance has let pass
  private String refusal = "";

  Store(List<String> sessions, Map<String, Transport> transports) {
    this.sessions = sessions;
    this.transports = transports;
  }

  /**
   * Commits changes, all or nothing.
   *
   * @param by the event that they belong to; null: none
   */
  synchronized Commit commit(Changes c, Delivery by) {
    if (stale(c)) {
      return Commit.CONFLICT;
    }
    if (by != null && replaced(by)) {
      return Commit.REPLACED;
    }
    for (var d : c.getSendList()) {
      send(d);
    }
    c.getCancelList().forEach(id -> cancel(id, "CANCELED"));
    if (by != null && by.hasTimer()) {
      timers.computeIfPresent(by.getTimer().getKey(), (k, t) -> same(t, by) ? null : t);
    }
    c.getScheduleList().forEach(s -> schedule(s, by));
    for (var w : c.getWriteList()) {
      version++;
      if (w.getRemove()) {
        state.remove(w.getKey());
      } else {
        state.put(w.getKey(), new Value(w.getValue(), version));
      }
    }
    notifyAll();
    return Commit.DONE;
  }

  /** Whether something has changed since it was read or listed. */
  synchronized boolean stale(Changes c) {
    for (var r : c.getReadList()) {
      var now = state.get(r.getKey());
      if ((now == null ? 0 : now.version) != r.getVersion()) {
        return true;
      }
    }
    for (var r : c.getRangeList()) {
      if (!digest(keys(r)).equals(r.getDigest())) {
        return true;
      }
    }
    return false;
  }

  private void send(Downstream d) {
    var session = d.getSession();
    if (session.isEmpty() && sessions.size() > 1) {
      throw new IllegalArgumentException(
          "the downstream names no session, and there are several: " + sessions);
    }
    if (!session.isEmpty() && !sessions.contains(session)) {
      throw new IllegalArgumentException(
          "the host has no session \"" + session + "\": it has " + sessions);
    }
    var whole = session.isEmpty() ? d.toBuilder().setSession(sessions.get(0)).build() : d;
    var old = byId.putIfAbsent(whole.getMessageId(), whole);
    if (old != null && !untraced(old).equals(untraced(whole))) {
      throw new IllegalArgumentException(
          "message id " + d.getMessageId() + " was used before for another message");
    }
    if (old == null) {
      for (var s : sent) {
        if (!whole.getReplace().isEmpty()
            && s.getReplace().equals(whole.getReplace())
            && s.getSession().equals(whole.getSession())
            && s.getTo().equals(whole.getTo())) {
          cancel(s.getMessageId(), "REPLACED");
        }
      }
      sent.add(whole);
    }
  }

  /** Ends a downstream that waits, and returns whether it did. */
  synchronized boolean cancel(String id, String code) {
    return byId.containsKey(id) && ends.putIfAbsent(id, code) == null;
  }

  /** The message itself: its trace is no part of it. */
  private static Downstream untraced(Downstream d) {
    return d.toBuilder().clearTraceparent().build();
  }

  boolean goOut(String id) {
    return cancel(id, WENT_OUT);
  }

  synchronized String canceled(String id) {
    var code = ends.getOrDefault(id, "");
    return code.equals(WENT_OUT) ? "" : code;
  }

  synchronized List<Downstream> sent() {
    return List.copyOf(sent);
  }

  synchronized List<Downstream> waiting() {
    return sent.stream().filter(d -> !ends.containsKey(d.getMessageId())).toList();
  }

  /** Waits until so many are sent, or until the time is over. */
  synchronized List<Downstream> awaitSent(int n, long millis) throws InterruptedException {
    long end = System.nanoTime() + millis * 1_000_000;
    for (long left = millis;
        sent.size() < n && left > 0;
        left = (end - System.nanoTime()) / 1_000_000) {
      wait(left);
    }
    return List.copyOf(sent);
  }

  synchronized void refuse(String reason) {
    refusal = reason;
  }

  synchronized List<String> keys() {
    return List.copyOf(state.keySet());
  }

  synchronized Json get(String key) {
    var v = state.get(key);
    return v == null ? Json.NONE : Json.ofBytes(v.json);
  }

  /** The host's answer to a call. */
  synchronized Reply answer(Call c) {
    var r = Reply.newBuilder().setId(c.getId());
    switch (c.getOpCase()) {
      case GET -> {
        var v = state.get(c.getGet());
        if (v != null) {
          r.setValue(v.json).setVersion(v.version);
        }
      }
      case LIST -> r.setList(list(c.getList()));
      case SEND -> outside(r, Changes.newBuilder().addSend(c.getSend()).build());
      case UPDATE -> outside(r, c.getUpdate());
      case CANCEL -> r.setCanceled(cancel(c.getCancel(), "CANCELED"));
      case OP_NOT_SET -> r.setCode(Reply.Code.INVALID).setError("unknown kind of call");
    }
    return r.build();
  }

  private void outside(Reply.Builder r, Changes c) {
    if (!refusal.isEmpty() && c.getSendCount() > 0) {
      r.setCode(Reply.Code.UNAVAILABLE).setError(refusal);
      return;
    }
    try {
      if (commit(c, null) == Commit.CONFLICT) {
        r.setCode(Reply.Code.CONFLICT).setError("a key that was read has changed");
      }
    } catch (IllegalArgumentException e) {
      r.setCode(Reply.Code.INVALID).setError(e.getMessage());
    }
  }

  private ListReply list(balhost.plugin.v1.List ask) {
    var out = ListReply.newBuilder();
    int most = ask.getMax() > 0 ? Math.min(ask.getMax(), MOST_LISTED) : MOST_LISTED;
    int size = 0;
    var listed = new ArrayList<String>();
    for (var key :
        keys(Range.newBuilder().setPrefix(ask.getPrefix()).setAfter(ask.getAfter()).build())) {
      var v = state.get(key);
      size += key.length() + v.json.size();
      if (listed.size() == most || !listed.isEmpty() && size > MOST_LISTED_BYTES) {
        out.setMore(true);
        break;
      }
      listed.add(key);
      out.addItem(Item.newBuilder().setKey(key).setValue(v.json).setVersion(v.version));
    }
    return out.setDigest(digest(listed)).build();
  }

  private List<String> keys(Range r) {
    return state.tailMap(r.getAfter(), false).keySet().stream()
        .filter(k -> k.startsWith(r.getPrefix()))
        .filter(k -> r.getLast().isEmpty() || BY_BYTES.compare(k, r.getLast()) <= 0)
        .toList();
  }

  private ByteString digest(List<String> keys) {
    long newest = keys.stream().mapToLong(k -> state.get(k).version).max().orElse(0);
    return ByteString.copyFrom(ByteBuffer.allocate(12).putInt(keys.size()).putLong(newest).flip());
  }

  private void schedule(Schedule s, Delivery by) {
    timers.remove(s.getKey());
    if (s.getCancel()) {
      return;
    }
    var session = by == null ? "" : session(by);
    var device = by == null ? "" : device(by);
    if (s.hasDevice()) {
      device = s.getDevice().getDevice();
      session =
          !s.getDevice().getSession().isEmpty()
              ? s.getDevice().getSession()
              : session.isEmpty() ? sessions.get(0) : session;
    }
    var t =
        balhost.plugin.v1.Timer.newBuilder()
            .setId(UUID.randomUUID().toString())
            .setKey(s.getKey())
            .setData(s.getData())
            .setDueMs(s.getAtMs())
            .setSession(session)
            .setDevice(device);
    timers.put(
        s.getKey(), new Set(t.build(), Instant.ofEpochMilli(s.getAtMs()).plus(past), ++lastTimer));
  }

  private static String session(Delivery d) {
    return d.hasUpstream()
        ? d.getUpstream().getSession()
        : d.hasOutcome()
            ? d.getOutcome().getSession()
            : d.hasReceipt() ? d.getReceipt().getSession() : d.getTimer().getSession();
  }

  private static String device(Delivery d) {
    return d.hasUpstream() ? d.getUpstream().getDevice() : d.getTimer().getDevice();
  }

  /** Whether the event is a timer of ours whose key is not its own any more. */
  private boolean replaced(Delivery by) {
    return by.hasTimer()
        && by.getTimer().getDueMs() != 0
        && fired.contains(by.getTimer().getId())
        && !same(timers.get(by.getTimer().getKey()), by);
  }

  private final java.util.Set<String> fired = new java.util.HashSet<>();

  private static boolean same(Set t, Delivery by) {
    return t != null && t.timer.getId().equals(by.getTimer().getId());
  }

  synchronized List<Set> timers() {
    return timers.values().stream()
        .sorted(Comparator.comparing((Set t) -> t.due).thenComparing(t -> t.number))
        .toList();
  }

  synchronized Instant until(Duration d) {
    return Instant.now().plus(past).plus(d).plusMillis(1); // timers are due at whole milliseconds
  }

  /** The next timer that is due by then and was not tried; null: none. The clock goes there. */
  synchronized Set next(Instant until, java.util.Set<String> tried) {
    for (var t : timers()) {
      if (!tried.contains(t.timer.getId()) && !t.due.isAfter(until)) {
        var ahead = Duration.between(Instant.now(), t.due);
        past = ahead.compareTo(past) > 0 ? ahead : past;
        t.attempt++;
        fired.add(t.timer.getId());
        return t;
      }
    }
    return null;
  }

  synchronized void past(Duration d) {
    past = past.compareTo(d) > 0 ? past : d;
  }

  synchronized Duration past() {
    return past;
  }

  /** A timer that was rejected is gone. */
  synchronized void reject(Set t) {
    timers.computeIfPresent(t.timer.getKey(), (k, now) -> now == t ? null : now);
  }
}
