package balhost;

import balhost.plugin.v1.ConfigureReply;
import balhost.plugin.v1.ConfigureRequest;
import balhost.plugin.v1.DescribeRequest;
import balhost.plugin.v1.Drain;
import balhost.plugin.v1.HostFrame;
import balhost.plugin.v1.Manifest;
import balhost.plugin.v1.PluginFrame;
import balhost.plugin.v1.Result;
import balhost.plugin.v1.RunFailure;
import com.google.protobuf.ByteString;
import java.time.Duration;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;

/**
 * One run of a plugin: its side of the connection to one host. It is for tests, and for hosts that
 * run a plugin in their own process. A plugin's main calls {@link Plugin#serve} instead.
 */
public final class Instance {
  /** Where the frames go that the plugin sends. One thread calls both methods. */
  public interface Stream {
    /** Writes a frame. It may wait while the host does not read. */
    void send(PluginFrame frame) throws InterruptedException;

    /** Ends the stream: there are no more frames. */
    void end();
  }

  private static final long LAST_GRACE_MS =
      2000; // for handlers, run and stop when the host is gone
  private static final String OFFSETS = "offsets";
  private static final String METRICS = "metrics";

  private final Plugin plugin;
  private final Log log;
  private final ScheduledExecutorService clock =
      Executors.newSingleThreadScheduledExecutor(r -> daemon(r, "balhost-clock"));
  private final Outbox out = new Outbox();
  private final Calls calls = new Calls(out);
  private final Host host;
  private final Work work;
  private final Metrics metrics;
  private final Thread runner;
  private final CountDownLatch mayRun = new CountDownLatch(1);
  private final CountDownLatch runEnded = new CountDownLatch(1);
  private final CountDownLatch ended = new CountDownLatch(1);
  private volatile boolean started;

  // Guarded by this.
  private Stream stream; // null: Session was not called
  private boolean configured;
  private boolean ending;

  /**
   * An instance that nobody has called yet.
   *
   * @throws InvalidException if something is wrong with the plugin
   */
  public Instance(Plugin plugin, Log log) {
    plugin.check();
    this.plugin = plugin;
    this.log = log;
    this.host = new Host(log, calls, plugin.timer != null);
    this.work = new Work(plugin.maxInFlight(), clock, this::handle, this::release);
    this.metrics = new Metrics(plugin.metrics, log);
    this.runner = daemon(this::keepRunning, "balhost-run");
  }

  private static Thread daemon(Runnable r, String name) {
    var t = new Thread(r, name);
    t.setDaemon(true);
    return t;
  }

  /** The answer to Describe. */
  public Manifest describe(DescribeRequest request) {
    var m = plugin.manifest().toBuilder();
    if (request.getCapabilitiesList().contains(OFFSETS)) {
      m.addCapabilities(OFFSETS);
    }
    if (plugin.metrics != null && request.getCapabilitiesList().contains(METRICS)) {
      m.addCapabilities(METRICS);
    }
    return m.build();
  }

  /**
   * The plugin's own metrics: Prometheus's text.
   *
   * @throws UnavailableException if the call before has not returned yet
   * @throws Exception what the plugin's function throws
   */
  public ByteString metrics() throws Exception {
    return metrics.text();
  }

  /**
   * Session is open.
   *
   * @throws IllegalStateException if it was before
   */
  public void open(Stream to) {
    synchronized (this) {
      if (stream != null) {
        throw new IllegalStateException("Session was called before in this process");
      }
      stream = to;
    }
    out.credit(plugin.maxInFlight());
    daemon(() -> write(to), "balhost-writer").start();
    runner.start();
    clock.scheduleWithFixedDelay(work::expire, 100, 100, TimeUnit.MILLISECONDS);
    extendEvery(Check.LIMITS.getExtendMs() / 2);
  }

  private void extendEvery(int ms) {
    if (ended.getCount() > 0) {
      clock.schedule(this::extend, ms, TimeUnit.MILLISECONDS);
    }
  }

  /** Tells the host which handlers still run. */
  private void extend() {
    var running = work.running();
    if (!running.isEmpty()) {
      out.extend(running.stream().map(h -> h.delivery.getDelivery()).toList());
    }
    extendEvery(Math.max(1, calls.limits().getExtendMs() / 2));
  }

  private void write(Stream to) {
    try {
      for (var frame = out.take(); frame != null; frame = out.take()) {
        to.send(frame);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } finally {
      ended.countDown();
      to.end();
    }
  }

  /**
   * The answer to Configure. It reads the config and runs the plugin's start, so it can take long.
   *
   * @throws IllegalStateException if Session is not open, or if it was called before
   */
  public ConfigureReply configure(ConfigureRequest r) {
    synchronized (this) {
      if (stream == null) {
        throw new IllegalStateException("Configure was called before Session");
      }
      if (configured) {
        throw new IllegalStateException("Configure was called before in this process");
      }
      configured = true;
    }
    log.level(r.getLogLevel());
    calls.limits(Check.limits(r.getLimits()));
    calls.sessions(r.getSessionsList(), r.getTransportsList());
    try {
      plugin.configure(r.getConfig().toStringUtf8());
      if (plugin.start != null) {
        plugin.start.run(host);
      }
      started = true;
      return ConfigureReply.getDefaultInstance();
    } catch (InvalidException e) {
      return refusal(e.getMessage());
    } catch (Throwable e) {
      log.error("start failed", "err", e);
      return refusal("start: " + e);
    }
  }

  private ConfigureReply refusal(String why) {
    return ConfigureReply.newBuilder()
        .setError(Check.cleaned("plugin " + plugin.name() + ": " + why))
        .build();
  }

  /** Takes a frame of the host, and never waits. One thread calls it. */
  public void hear(HostFrame f) {
    long now = System.nanoTime();
    for (var d : f.getDeliverList()) {
      work.add(new Handling(d, now));
    }
    for (long delivery : f.getRevokeList()) {
      work.revoke(delivery);
    }
    for (var reply : f.getReplyList()) {
      calls.answer(reply);
    }
    if (!f.getLogLevel().isEmpty()) {
      log.level(f.getLogLevel());
    }
    if (f.getSessionsCount() > 0) {
      calls.sessions(f.getSessionsList(), f.getTransportsList());
    }
    if (f.getPing() != 0) {
      out.pong(f.getPing());
    }
    if (f.getRun()) {
      mayRun.countDown();
    }
    if (f.hasDrain()) {
      end(f.getDrain());
    }
  }

  /** The host has closed its half of the stream, or the stream has broken. */
  public void hostGone() {
    end(null);
  }

  /** Opens when the stream has ended. */
  public CountDownLatch ended() {
    return ended;
  }

  private void end(Drain drain) {
    synchronized (this) {
      if (ending) {
        return;
      }
      ending = true;
    }
    daemon(() -> windDown(drain), "balhost-end").start();
  }

  /** Ends run and the handlers and then calls stop, within the drain's time. */
  private void windDown(Drain drain) {
    long limit =
        drain == null ? LAST_GRACE_MS : Math.max(1, Integer.toUnsignedLong(drain.getTimeoutMs()));
    long begun = System.nanoTime();
    long hard = begun + limit * 1_000_000;
    long soft = drain == null ? begun : begun + limit * 800_000; // then handlers must end
    try {
      work.close();
      mayRun.countDown();
      runner.interrupt();
      if (within(runEnded, "run", soft, hard) && within(work.idle(), "a handler", soft, hard)) {
        stop();
      }
      if (drain != null) {
        out.drained();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } finally {
      calls.end();
      out.close();
      clock.shutdownNow();
    }
  }

  /** Waits for a part of the plugin, and cancels all handlers when the soft limit has come. */
  private boolean within(CountDownLatch part, String name, long soft, long hard)
      throws InterruptedException {
    if (part.await(soft - System.nanoTime(), TimeUnit.NANOSECONDS)) {
      return true;
    }
    work.cancel();
    if (part.await(hard - System.nanoTime(), TimeUnit.NANOSECONDS)) {
      return true;
    }
    log.warn(
        "it still runs although it was interrupted; the plugin ends without it", "state", name);
    return false;
  }

  private void stop() {
    if (!started || plugin.stop == null) {
      return;
    }
    try {
      plugin.stop.run();
    } catch (Throwable e) {
      log.error("stop failed", "err", e);
    }
  }

  /** Runs the plugin's run when the host allows it, and again after a failure. */
  private void keepRunning() {
    try {
      mayRun.await();
      for (int failures = 0; plugin.run != null && !ending(); ) {
        long begun = System.nanoTime();
        var failure = runOnce();
        if (failure == null || ending()) {
          return;
        }
        failures = System.nanoTime() - begun > Duration.ofMinutes(5).toNanos() ? 1 : failures + 1;
        long most = Math.min(1000L << Math.min(failures - 1, 6), 60_000);
        long wait = most / 2 + ThreadLocalRandom.current().nextLong(most / 2);
        out.failure(
            RunFailure.newBuilder()
                .setFailures(failures)
                .setError(text(failure))
                .setWaitMs(wait)
                .build());
        log.error(
            "run failed, it is started again", "after", Duration.ofMillis(wait), "err", failure);
        Thread.sleep(wait);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } finally {
      runEnded.countDown();
    }
  }

  private synchronized boolean ending() {
    return ending;
  }

  private Throwable runOnce() {
    try {
      plugin.run.run(host);
      return null;
    } catch (Throwable e) {
      return e;
    }
  }

  private void handle(Handling h) {
    var tx = new Tx(calls, plugin.timer != null, h);
    Throwable failure = null;
    h.begin();
    try {
      call(tx, h);
    } catch (Throwable e) {
      failure = e;
    }
    h.end();
    report(h, tx, failure);
  }

  /** Runs the handler for the event. An event without a handler is done. */
  private void call(Tx tx, Handling h) throws Exception {
    var d = h.delivery;
    switch (d.getEventCase()) {
      case UPSTREAM -> handle(plugin.upstream, tx, Wire.upstream(d.getUpstream(), d.getAttempt()));
      case OUTCOME -> handle(plugin.outcome, tx, Wire.outcome(d.getOutcome(), d.getAttempt()));
      case RECEIPT -> handle(plugin.receipt, tx, Wire.receipt(d.getReceipt(), d.getAttempt()));
      case TIMER -> handle(plugin.timer, tx, Wire.timer(d.getTimer(), d.getAttempt()));
      case EVENT_NOT_SET ->
          throw new Retry(
              Duration.ZERO,
              "this SDK does not know this kind of event: build the plugin with a newer SDK");
    }
  }

  private static <E> void handle(Handler<E> handler, Tx tx, E event) throws Exception {
    if (handler != null) {
      handler.handle(tx, event);
    }
  }

  private void report(Handling h, Tx tx, Throwable failure) {
    long delivery = h.delivery.getDelivery();
    var changes = tx.end(failure != null);
    if (failure == null && changes == null) {
      out.done(delivery);
      return;
    }
    var r = Result.newBuilder().setDelivery(delivery);
    if (changes != null) {
      r.setChanges(
          changes); // after a failure what was read: the failure counts if that is unchanged
    }
    if (failure == null) {
      out.result(r.setCode(Result.Code.DONE).build());
      return;
    }
    r.setError(reason(h, failure)).setCode(Result.Code.RETRY);
    if (failure instanceof Reject) {
      r.setCode(Result.Code.REJECT);
    } else if (failure instanceof Retry retry) {
      r.setDelayMs(Math.max(0, retry.after().plusNanos(999_999).toMillis()));
    } else if (Handling.STOPPING.equals(h.cause())) {
      r.setCode(Result.Code.RELEASE); // it ended because the plugin stops: no attempt
    } else if (failure instanceof Error || failure instanceof RuntimeException) {
      complain(h, failure);
    }
    out.result(r.build());
  }

  /** A fault of the handler's code is in the log with its trace. */
  private void complain(Handling h, Throwable failure) {
    if (failure instanceof CancellationException || failure instanceof UnavailableException) {
      return;
    }
    log.error(
        "handler failed",
        "id",
        Wire.id(h.delivery),
        "attempt",
        h.delivery.getAttempt(),
        "err",
        failure);
  }

  /** The text of the failure. If the handler had to end, it says why. */
  private String reason(Handling h, Throwable failure) {
    var text = text(failure);
    var cause = h.cause();
    boolean told = failure instanceof Reject || failure instanceof Retry;
    if (cause != null && !told && !text.contains(cause)) {
      text = cause + ": " + text;
    }
    int most = calls.limits().getErrorBytes();
    return text.length() > most ? Check.cleaned(text.substring(0, most)) : text;
  }

  /** A failure in a line. */
  static String text(Throwable t) {
    boolean ours =
        t instanceof Reject
            || t instanceof Retry
            || t instanceof InvalidException
            || t instanceof UnavailableException
            || t instanceof CancellationException;
    return Check.cleaned(ours ? String.valueOf(t.getMessage()) : t.toString());
  }

  private void release(Handling h) {
    out.result(
        Result.newBuilder()
            .setDelivery(h.delivery.getDelivery())
            .setCode(Result.Code.RELEASE)
            .build());
  }
}
