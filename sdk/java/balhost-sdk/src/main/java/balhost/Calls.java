package balhost;

import balhost.plugin.v1.Call;
import balhost.plugin.v1.Limits;
import balhost.plugin.v1.Reply;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicLong;

/** The plugin's calls to its host that have no reply yet, and what the host has told it. */
final class Calls {
  /** The host's sessions: their names, and the transports of the first of them. */
  private record Sessions(List<String> names, List<String> transports) {}

  private final Outbox out;
  private final AtomicLong updates = new AtomicLong();
  private volatile Sessions sessions = new Sessions(List.of(), List.of());
  private volatile Limits limits = Check.LIMITS;

  // Guarded by this.
  private final Map<Long, CompletableFuture<Reply>> open = new HashMap<>();
  private long last;
  private boolean ended;

  Calls(Outbox out) {
    this.out = out;
  }

  Limits limits() {
    return limits;
  }

  void limits(Limits told) {
    limits = told;
  }

  /** The number of an update, the same in all of its runs. */
  long transaction() {
    return updates.incrementAndGet();
  }

  /**
   * Asks the host and waits for the reply, which may be a refusal.
   *
   * @param by the handler that asks; null: none
   * @throws CancellationException if the handler or the thread must end
   */
  Reply ask(Call.Builder question, Handling by) {
    var answer = new CompletableFuture<Reply>();
    long id = 0;
    try {
      if (by != null) {
        by.waitFor(answer);
      }
      id = open(answer);
      out.call(question.setId(id).build());
      return answer.get();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      abandon(id);
      throw new CancellationException(why(by, "the thread was interrupted"));
    } catch (CancellationException e) {
      abandon(id);
      throw new CancellationException(why(by, "the call was cancelled"));
    } catch (ExecutionException e) {
      throw (UnavailableException) e.getCause();
    } finally {
      if (by != null) {
        by.waitNoMore(answer);
      }
    }
  }

  private static String why(Handling by, String otherwise) {
    var cause = by == null ? null : by.cause();
    return cause == null ? otherwise : cause;
  }

  private synchronized long open(CompletableFuture<Reply> answer) {
    if (ended) {
      throw new UnavailableException("the connection to the host has ended", "");
    }
    open.put(++last, answer);
    return last;
  }

  private void abandon(long id) {
    synchronized (this) {
      if (open.remove(id) == null) {
        return;
      }
    }
    out.abandon(id);
  }

  /** Gives a reply to the call that waits for it, unless that has given up. */
  void answer(Reply r) {
    CompletableFuture<Reply> waiting;
    synchronized (this) {
      waiting = open.remove(r.getId());
    }
    if (waiting != null) {
      waiting.complete(r);
    }
  }

  /** All calls that wait have failed, and all later ones fail. */
  void end() {
    Map<Long, CompletableFuture<Reply>> all;
    synchronized (this) {
      ended = true;
      all = Map.copyOf(open);
      open.clear();
    }
    for (var waiting : all.values()) {
      waiting.completeExceptionally(
          new UnavailableException("the connection to the host has ended", ""));
    }
  }

  /** Throws what a reply says, unless that is OK. */
  static Reply checked(String verb, String messageId, Reply r) {
    return switch (r.getCode()) {
      case OK -> r;
      case INVALID -> throw new InvalidException(verb + ": " + r.getError());
      default -> throw new UnavailableException(verb + ": " + r.getError(), messageId);
    };
  }

  void sessions(List<String> names, List<String> transports) {
    sessions = new Sessions(List.copyOf(names), List.copyOf(transports));
  }

  List<String> sessions() {
    return sessions.names;
  }

  /** The transport of a session, or with "" of the only one; null if there is none. */
  Transport transport(String name) {
    var now = sessions;
    int at = name.isEmpty() && now.names.size() == 1 ? 0 : now.names.indexOf(name);
    if (at < 0) {
      return null;
    }
    return Transport.ofWire(at < now.transports.size() ? now.transports.get(at) : "");
  }

  /**
   * Checks a downstream, and returns it as the wire has it. A session that the host has not told of
   * is left to the host, which knows former names too.
   */
  balhost.plugin.v1.Downstream encode(Downstream d) {
    try {
      Check.downstream(d);
      var transport = transport(d.session());
      if (transport != null) {
        Check.fits(d, d.session(), transport);
      }
    } catch (InvalidException e) {
      throw new InvalidException("send: " + e.getMessage());
    }
    return Wire.downstream(d);
  }
}
