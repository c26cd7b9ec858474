package balhost;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;

/**
 * All deliveries that the plugin holds, and the threads that run their handlers.
 *
 * <p>As many handlers as the machine has cores begin at once. More begin when those don't get on:
 * every millisecond it looks whether what waits would take long, and then starts as many threads
 * again. So quick handlers are not slowed down by hundreds of threads, and those that wait for
 * something else run all at the same time, up to the limit.
 */
final class Work {
  private static final int CORES = Math.max(2, Runtime.getRuntime().availableProcessors());
  private static final int SPARE = 16; // threads that are kept for later
  private static final AtomicInteger NUMBER = new AtomicInteger();

  private final int limit;
  private final Consumer<Handling> handler;
  private final Consumer<Handling> release; // gives back what was not begun
  private final ScheduledExecutorService clock;
  private final CountDownLatch idle = new CountDownLatch(1); // closed, and nothing runs

  // Guarded by this.
  private final Deque<Handling> waiting = new ArrayDeque<>();
  private final Set<Handling> running = new HashSet<>();
  private int threads;
  private int asleep; // of the threads
  private int woken; // of those that sleep, how many may go on
  private int taken; // since the last look
  private boolean looking;
  private boolean closed;

  Work(
      int limit,
      ScheduledExecutorService clock,
      Consumer<Handling> handler,
      Consumer<Handling> release) {
    this.limit = limit;
    this.clock = clock;
    this.handler = handler;
    this.release = release;
  }

  void add(Handling h) {
    synchronized (this) {
      if (!closed) {
        waiting.add(h);
        if (threads - asleep < Math.min(CORES, limit)) {
          another();
        } else if (!looking) {
          looking = true;
          clock.schedule(this::look, 1, TimeUnit.MILLISECONDS);
        }
        return;
      }
    }
    release.accept(h);
  }

  /** One more thread takes what waits. */
  private void another() {
    if (asleep > 0) {
      asleep--;
      woken++;
      notify();
      return;
    }
    threads++;
    var t = new Thread(this::work, "balhost-handler-" + NUMBER.incrementAndGet());
    t.setDaemon(true);
    t.start();
  }

  /** Starts more threads if what waits would take longer than ten looks. */
  private synchronized void look() {
    int backlog = waiting.size();
    int busy = threads - asleep;
    if (taken * 10 < backlog) {
      for (int n = Math.min(Math.min(backlog, Math.max(1, busy)), limit - busy); n > 0; n--) {
        another();
      }
    }
    taken = 0;
    looking = backlog > 0 && busy < limit;
    if (looking) {
      clock.schedule(this::look, 1, TimeUnit.MILLISECONDS);
    }
  }

  private void work() {
    for (Handling h = next(null); h != null; h = next(h)) {
      handler.accept(h);
    }
  }

  /** Ends one handling, and waits for the next; null: the thread is not needed any more. */
  private synchronized Handling next(Handling ended) {
    if (ended != null) {
      running.remove(ended);
      tellIdle();
    }
    while (waiting.isEmpty()) {
      if (closed || asleep >= SPARE) {
        threads--;
        return null;
      }
      asleep++;
      try {
        while (woken == 0) {
          wait();
        }
        woken--;
      } catch (InterruptedException e) {
        asleep--; // nobody has a reason to interrupt it: it looks again
      }
    }
    var h = waiting.poll();
    running.add(h);
    taken++;
    if (!looking && !waiting.isEmpty()) {
      looking = true;
      clock.schedule(this::look, 1, TimeUnit.MILLISECONDS);
    }
    return h;
  }

  /** Starts no more handlers, and gives back what waits. */
  void close() {
    List<Handling> back;
    synchronized (this) {
      closed = true;
      back = List.copyOf(waiting);
      waiting.clear();
      woken += asleep;
      asleep = 0;
      notifyAll();
      tellIdle();
    }
    back.forEach(release);
  }

  private void tellIdle() {
    if (closed && running.isEmpty()) {
      idle.countDown();
    }
  }

  /** Opens when the work is closed and no handler runs. */
  CountDownLatch idle() {
    return idle;
  }

  /** The handler of this delivery must end. One that is not known has ended. */
  void revoke(long delivery) {
    for (var h : all()) {
      if (h.delivery.getDelivery() == delivery) {
        h.cancel(Handling.REVOKED);
      }
    }
  }

  /** Handlers whose time is up must end. */
  void expire() {
    for (var h : running()) {
      if (h.timed() && h.left() <= 0) {
        h.cancel(Handling.TIMEOUT);
      }
    }
  }

  /** All handlers must end. */
  void cancel() {
    running().forEach(h -> h.cancel(Handling.STOPPING));
  }

  /** What runs now. */
  synchronized List<Handling> running() {
    return List.copyOf(running);
  }

  private synchronized List<Handling> all() {
    var all = new ArrayList<Handling>(running);
    all.addAll(waiting);
    return all;
  }
}
