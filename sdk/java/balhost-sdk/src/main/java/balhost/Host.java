package balhost;

import balhost.plugin.v1.Call;
import balhost.plugin.v1.Changes;
import balhost.plugin.v1.Reply;
import com.google.gson.reflect.TypeToken;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ThreadLocalRandom;

/**
 * What a plugin can ask its host outside of an event. {@code start} and {@code run} get it; keep it
 * if handlers or {@code stop} need it. Its methods may be called from any thread. A wait ends with
 * {@link CancellationException} when the thread is interrupted.
 */
public final class Host {
  private final Log log;
  private final Calls calls;
  private final boolean timed;

  Host(Log log, Calls calls, boolean timed) {
    this.log = log;
    this.calls = calls;
    this.timed = timed;
  }

  /** The plugin's log. The host shows its lines among its own. */
  public Log log() {
    return log;
  }

  /** The names of the host's sessions, in the order of config.hcl. A reload can change them. */
  public List<String> sessions() {
    return calls.sessions();
  }

  /** How a session's downstreams travel; "" means the only one. Empty: there is no such session. */
  public Optional<Transport> transport(String session) {
    return Optional.ofNullable(calls.transport(session));
  }

  /**
   * Sends one downstream outside of any event. It returns when that is on disk. Without a session
   * it goes by the host's only one.
   *
   * @return its id
   * @throws InvalidException if it can never be sent: nothing is stored
   * @throws UnavailableException if nobody knows whether it is stored: send it again with the id
   *     that {@link UnavailableException#messageId} has
   */
  public String send(Downstream d) {
    if (d.messageId().isEmpty()) {
      d = d.messageId(UUID.randomUUID().toString());
    }
    var id = d.messageId();
    Reply r;
    try {
      r = calls.ask(Call.newBuilder().setSend(calls.encode(d)), null);
    } catch (UnavailableException e) {
      throw new UnavailableException(e.getMessage(), id);
    }
    Calls.checked("send " + id, id, r);
    return id;
  }

  /**
   * Cancels a downstream of this plugin that has not gone out. It returns when that is on disk.
   *
   * @return whether it was in time; if not, it has gone out, has ended, or there is none
   */
  public boolean cancel(String messageId) {
    Check.id("cancel: message_id", messageId);
    var r = calls.ask(Call.newBuilder().setCancel(messageId), null);
    return Calls.checked("cancel " + messageId, "", r).getCanceled();
  }

  /** As {@link Tx#get(String)}. The value may have changed by the time it returns. */
  public Optional<Json> get(String key) {
    return new Tx(calls, timed, null).get(key);
  }

  /** As {@link Tx#get(String, Class)}. */
  public <T> Optional<T> get(String key, Class<T> type) {
    return get(key).map(json -> json.as(type));
  }

  /** As {@link Tx#get(String, TypeToken)}. */
  public <T> Optional<T> get(String key, TypeToken<T> type) {
    return get(key).map(json -> json.as(type));
  }

  /** As {@link Tx#list}. The keys may have changed by the time it returns. */
  public Page list(String prefix, String after, int max) {
    return new Tx(calls, timed, null).list(prefix, after, max);
  }

  /**
   * Runs a function with a Tx outside of any event, and returns when what it did is on disk. If a
   * key that it read has changed meanwhile, it runs again, also after an exception. From the second
   * run on the host keeps the keys for it. Don't call this in a handler: use the handler's Tx.
   *
   * @throws UnavailableException if nobody knows whether the changes are stored
   * @throws Exception what the function has thrown: nothing is stored
   */
  public void update(Update function) throws Exception {
    long transaction = calls.transaction();
    for (int run = 1; ; run++) {
      var tx = new Tx(calls, timed, null);
      Exception failed = null;
      try {
        function.run(tx);
      } catch (Exception e) {
        failed = e;
      }
      var changes = tx.end(failed != null);
      Reply r = null;
      // In later runs an empty update must go out: it frees the keys that the host keeps.
      if (changes != null || run > 1) {
        var all = changes == null ? Changes.getDefaultInstance() : changes;
        r = calls.ask(Call.newBuilder().setUpdate(all).setTransaction(transaction), null);
      }
      if (r == null || r.getCode() != Reply.Code.CONFLICT) {
        if (failed != null) {
          throw failed;
        }
        if (r != null) {
          Calls.checked("update", "", r);
        }
        return;
      }
      if (run > 3) { // others write the keys although they are kept
        pause(run);
      }
    }
  }

  private static void pause(int run) {
    try {
      Thread.sleep(ThreadLocalRandom.current().nextLong(1L << Math.min(run, 8)));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new CancellationException("update: gave up after " + run + " conflicts");
    }
  }
}
