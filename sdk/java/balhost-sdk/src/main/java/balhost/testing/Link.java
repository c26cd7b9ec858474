package balhost.testing;

import balhost.Instance;
import balhost.Log;
import balhost.Plugin;
import balhost.plugin.v1.Call;
import balhost.plugin.v1.ConfigureRequest;
import balhost.plugin.v1.Delivery;
import balhost.plugin.v1.DescribeRequest;
import balhost.plugin.v1.Drain;
import balhost.plugin.v1.HostFrame;
import balhost.plugin.v1.PluginFrame;
import balhost.plugin.v1.Reply;
import balhost.plugin.v1.Result;
import com.google.protobuf.InvalidProtocolBufferException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Function;

/** The connection to one instance of a plugin. It stands for one process. */
final class Link implements Instance.Stream {
  /** How long a wait for the plugin may last before the test fails. */
  static final long PATIENCE_S = 30;

  private final Instance instance;
  private final Function<Call, Reply> answer;
  private final CountDownLatch drained = new CountDownLatch(1);
  private final Object telling = new Object(); // one frame after the other

  // Guarded by this.
  private final Map<Long, CompletableFuture<Result>> out = new HashMap<>(); // without a result
  private long last;
  private boolean over;

  private Link(Plugin plugin, Log log, Function<Call, Reply> answer) {
    this.instance = new Instance(plugin, log);
    this.answer = answer;
  }

  /** Starts an instance as a host does. */
  static Link open(Plugin plugin, Log log, Function<Call, Reply> answer, ConfigureRequest config) {
    var link = new Link(plugin, log, answer);
    var capabilities =
        DescribeRequest.newBuilder().setHostVersion("test").addAllCapabilities(List.of("offsets", "metrics"));
    link.instance.describe(capabilities.build());
    link.instance.open(link);
    var error = link.instance.configure(config).getError();
    if (!error.isEmpty()) {
      link.cut();
      throw new Refused(error);
    }
    return link;
  }

  /** A plugin that does not start. */
  static final class Refused extends RuntimeException {
    private static final long serialVersionUID = 1;

    Refused(String why) {
      super(why);
    }
  }

  void tell(HostFrame.Builder frame) {
    synchronized (telling) {
      try {
        instance.hear(HostFrame.parseFrom(frame.build().toByteArray()));
      } catch (InvalidProtocolBufferException e) {
        throw new AssertionError("the frame can't be read", e);
      }
    }
  }

  /** Gives an event to the plugin; the result is null if the instance has ended before. */
  CompletableFuture<Result> deliver(Delivery.Builder event) {
    var result = new CompletableFuture<Result>();
    synchronized (this) {
      if (over) {
        result.complete(null);
        return result;
      }
      out.put(++last, result);
      event.setDelivery(last);
    }
    tell(HostFrame.newBuilder().addDeliver(event));
    return result;
  }

  /** What the plugin sends. */
  @Override
  public void send(PluginFrame sent) {
    synchronized (this) {
      if (over) {
        return;
      }
    }
    try {
      var frame = PluginFrame.parseFrom(sent.toByteArray());
      frame
          .getDoneList()
          .forEach(
              n -> finish(Result.newBuilder().setDelivery(n).setCode(Result.Code.DONE).build()));
      frame.getResultList().forEach(this::finish);
      frame.getCallList().forEach(c -> tell(HostFrame.newBuilder().addReply(answer.apply(c))));
      if (frame.getDrained()) {
        drained.countDown();
      }
    } catch (InvalidProtocolBufferException e) {
      throw new AssertionError("the plugin's frame can't be read", e);
    }
  }

  private void finish(Result r) {
    CompletableFuture<Result> waiting;
    synchronized (this) {
      waiting = out.remove(r.getDelivery());
    }
    if (waiting != null) {
      waiting.complete(r);
    }
  }

  @Override
  public void end() {
    Map<Long, CompletableFuture<Result>> all;
    synchronized (this) {
      over = true;
      all = Map.copyOf(out);
      out.clear();
    }
    all.values().forEach(w -> w.complete(null));
  }

  /** What a scrape of the host gets of the plugin's own metrics. */
  String metrics() {
    var text = new CompletableFuture<String>();
    var asking =
        new Thread(
            () -> {
              try {
                text.complete(instance.metrics().toStringUtf8());
              } catch (Throwable e) {
                text.completeExceptionally(e);
              }
            });
    asking.setDaemon(true);
    asking.start();
    return await(
        text, PATIENCE_S * 1000, "metrics has not returned within 30 s, and a host waits 1 s");
  }

  /** Stops the plugin and waits for its handlers. */
  void drain() {
    var d =
        Drain.newBuilder()
            .setReason("test")
            .setTimeoutMs((int) TimeUnit.SECONDS.toMillis(PATIENCE_S));
    tell(HostFrame.newBuilder().setDrain(d));
    await(drained, "the plugin has not drained");
    await(instance.ended(), "the plugin has not ended its stream");
  }

  /** Cuts the connection, as a kill does. */
  void cut() {
    end();
    instance.hostGone();
    await(instance.ended(), "the plugin has not ended");
  }

  private static void await(CountDownLatch what, String otherwise) {
    try {
      if (!what.await(PATIENCE_S, TimeUnit.SECONDS)) {
        throw new AssertionError(otherwise + " within " + PATIENCE_S + " s");
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new AssertionError(otherwise + ": interrupted");
    }
  }

  /** The value of a future, or an error that says what did not come in time. */
  static <T> T await(CompletableFuture<T> what, long millis, String otherwise) {
    try {
      return what.get(millis, TimeUnit.MILLISECONDS);
    } catch (TimeoutException e) {
      throw new AssertionError(otherwise);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new AssertionError(otherwise + ": interrupted");
    } catch (java.util.concurrent.ExecutionException e) {
      throw new AssertionError(e.getCause());
    }
  }
}
