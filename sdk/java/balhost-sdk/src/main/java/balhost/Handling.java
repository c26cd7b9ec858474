package balhost;

import balhost.plugin.v1.Delivery;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;

/** One delivery that the plugin holds, and whether its handler must end. */
final class Handling {
  static final String TIMEOUT = "the handler timed out";
  static final String REVOKED = "the host has revoked the event";
  static final String STOPPING = "the plugin is stopping";

  final Delivery delivery;
  private final long deadline; // by System.nanoTime, if the delivery has a timeout

  // Guarded by this.
  private final List<CompletableFuture<?>> waiting = new ArrayList<>(1); // for the host's replies
  private Thread thread; // that runs the handler; null: before and after
  private String cause; // why the handler must end; null: it need not

  Handling(Delivery delivery, long now) {
    this.delivery = delivery;
    this.deadline = now + delivery.getTimeoutMs() * 1_000_000L;
  }

  boolean timed() {
    return delivery.getTimeoutMs() > 0;
  }

  /** Nanoseconds until the handler must end; only if it is timed. */
  long left() {
    return deadline - System.nanoTime();
  }

  /** The current thread runs the handler from now on. */
  synchronized void begin() {
    thread = Thread.currentThread();
    if (cause != null) {
      thread.interrupt();
    }
  }

  /** The handler has returned. What came for its thread does not reach the next one. */
  synchronized void end() {
    thread = null;
    Thread.interrupted();
  }

  /** The handler must end. The first cause counts. */
  void cancel(String why) {
    List<CompletableFuture<?>> all;
    synchronized (this) {
      if (cause != null) {
        return;
      }
      cause = why;
      if (thread != null) {
        thread.interrupt();
      }
      all = List.copyOf(waiting);
    }
    for (var w : all) {
      w.cancel(false);
    }
  }

  synchronized String cause() {
    if (cause == null && timed() && left() <= 0) {
      return TIMEOUT;
    }
    return cause;
  }

  /** The handler waits for a reply. If it must end, the wait ends too. */
  void waitFor(CompletableFuture<?> reply) {
    synchronized (this) {
      if (cause == null) {
        waiting.add(reply);
        return;
      }
    }
    throw new CancellationException(cause());
  }

  synchronized void waitNoMore(CompletableFuture<?> reply) {
    waiting.remove(reply);
  }
}
