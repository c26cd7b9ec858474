package balhost;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import balhost.plugin.v1.ConfigureRequest;
import balhost.plugin.v1.Delivery;
import balhost.plugin.v1.DescribeRequest;
import balhost.plugin.v1.Drain;
import balhost.plugin.v1.HostFrame;
import balhost.plugin.v1.Limits;
import balhost.plugin.v1.PluginFrame;
import balhost.plugin.v1.Reply;
import balhost.plugin.v1.Result;
import com.google.protobuf.ByteString;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Predicate;
import org.junit.jupiter.api.Test;

/** What PROTOCOL.md says, frame by frame. */
class InstanceTest {
  /** A host that reads and writes frames itself. */
  private static final class Wired implements Instance.Stream {
    final List<String> logged = new ArrayList<>();
    final Instance instance;
    final BlockingQueue<PluginFrame> frames = new LinkedBlockingQueue<>();
    final CountDownLatch ended = new CountDownLatch(1);
    final Semaphore reads = new Semaphore(Integer.MAX_VALUE); // frames that the host still reads

    Wired(Plugin p, Limits limits) {
      instance = new Instance(p, Log.to(logged::add));
      instance.open(this);
      var c =
          ConfigureRequest.newBuilder().addSessions("main").setLogLevel("info").setLimits(limits);
      assertEquals("", instance.configure(c.build()).getError());
    }

    Wired(Plugin p) {
      this(p, Limits.getDefaultInstance());
    }

    @Override
    public void send(PluginFrame frame) throws InterruptedException {
      reads.acquire();
      frames.add(frame);
    }

    @Override
    public void end() {
      ended.countDown();
    }

    void tell(HostFrame.Builder f) {
      instance.hear(f.build());
    }

    void deliver(long... numbers) {
      var f = HostFrame.newBuilder();
      for (long n : numbers) {
        f.addDeliver(upstream(n));
      }
      tell(f);
    }

    /** The next frame that has what is asked for. */
    PluginFrame await(Predicate<PluginFrame> has) throws InterruptedException {
      for (; ; ) {
        var f = frames.poll(30, TimeUnit.SECONDS);
        if (f == null) {
          throw new AssertionError("the frame did not come within 30 s");
        }
        if (has.test(f)) {
          return f;
        }
      }
    }

    Result result() throws InterruptedException {
      return await(f -> f.getResultCount() > 0).getResult(0);
    }
  }

  private static Delivery upstream(long n) {
    var u =
        balhost.plugin.v1.Upstream.newBuilder().setId("e" + n).setSession("main").setDevice("d");
    return Delivery.newBuilder().setDelivery(n).setAttempt(1).setUpstream(u).build();
  }

  private static Plugin plugin(Handler<Upstream> upstream) {
    return Plugin.named("p").categories("app").upstream(upstream);
  }

  @Test
  void capabilitiesAreThoseThatBothHave() {
    var instance = new Instance(plugin((tx, m) -> {}).orderByKey("data.room"), Log.to(s -> {}));
    var request = DescribeRequest.newBuilder().addCapabilities("offsets").addCapabilities("other");
    var m = instance.describe(request.build());
    assertEquals(List.of("offsets"), m.getCapabilitiesList());
    assertEquals("key:data.room", m.getOrder());
    assertTrue(m.getUpstream());
    assertEquals(0, instance.describe(DescribeRequest.getDefaultInstance()).getCapabilitiesCount());
  }

  @Test
  void callsOutOfOrderAreErrors() {
    var instance = new Instance(plugin((tx, m) -> {}), Log.to(s -> {}));
    var config = ConfigureRequest.getDefaultInstance();
    assertThrows(IllegalStateException.class, () -> instance.configure(config));
    var host = new Wired(plugin((tx, m) -> {}));
    assertThrows(IllegalStateException.class, () -> host.instance.open(host));
    assertThrows(IllegalStateException.class, () -> host.instance.configure(config));
  }

  @Test
  void creditComesFirst() throws Exception {
    var host = new Wired(plugin((tx, m) -> {}).maxInFlight(7));
    assertEquals(7, host.frames.poll(30, TimeUnit.SECONDS).getCredit());
  }

  /** Data is found by its offsets, and by itself if the host does not know them. */
  @Test
  void dataByOffsetsAndByItself() throws Exception {
    var seen = new LinkedBlockingQueue<String>();
    var host = new Wired(plugin((tx, m) -> seen.add(m.data() + " of " + m.raw())));
    var raw = ByteString.copyFromUtf8("{\"\u00e4\":0,\"data\":{\"k\":\"v\"}}");
    var u = balhost.plugin.v1.Upstream.newBuilder().setRaw(raw).setDataStart(15).setDataEnd(24);
    host.tell(
        HostFrame.newBuilder().addDeliver(Delivery.newBuilder().setDelivery(1).setUpstream(u)));
    assertEquals("{\"k\":\"v\"} of " + raw.toStringUtf8(), seen.poll(30, TimeUnit.SECONDS));
    u.clearDataStart().clearDataEnd().setData(ByteString.copyFromUtf8("{}"));
    host.tell(
        HostFrame.newBuilder().addDeliver(Delivery.newBuilder().setDelivery(2).setUpstream(u)));
    assertEquals("{} of " + raw.toStringUtf8(), seen.poll(30, TimeUnit.SECONDS));
  }

  /** The reader never waits: it answers pings while each handler is stuck. */
  @Test
  void pingsAreAnsweredWhileAllHandlersAreStuck() throws Exception {
    var go = new CountDownLatch(1);
    var host = new Wired(plugin((tx, m) -> go.await()).maxInFlight(4));
    host.deliver(1, 2, 3, 4, 5);
    host.tell(HostFrame.newBuilder().setPing(9));
    assertEquals(9, host.await(f -> f.getPong() != 0).getPong());
    go.countDown();
    var done = new HashSet<Long>();
    while (done.size() < 5) {
      done.addAll(host.await(f -> f.getDoneCount() > 0).getDoneList());
    }
  }

  /** Handlers that wait run all at the same time, up to the limit and no further. */
  @Test
  void asManyRunAsMay() throws Exception {
    var running = new AtomicInteger();
    var all = new CountDownLatch(100);
    var go = new CountDownLatch(1);
    var host =
        new Wired(
            plugin(
                    (tx, m) -> {
                      assertTrue(running.incrementAndGet() <= 100);
                      all.countDown();
                      go.await();
                      running.decrementAndGet();
                    })
                .maxInFlight(100));
    for (long n = 1; n <= 150; n++) {
      host.deliver(n);
    }
    assertTrue(all.await(30, TimeUnit.SECONDS));
    go.countDown();
    var done = new HashSet<Long>();
    while (done.size() < 150) {
      done.addAll(host.await(f -> f.getDoneCount() > 0).getDoneList());
    }
  }

  /** What is ready while a write is under way goes out as one frame. */
  @Test
  void framesAreMerged() throws Exception {
    var host = new Wired(plugin((tx, m) -> {}));
    host.await(f -> f.getCredit() > 0);
    host.reads.drainPermits();
    host.deliver(1);
    for (long n = 2; n <= 100; n++) {
      host.deliver(n);
    }
    while (!host.reads.hasQueuedThreads()) { // the writer waits for the host to read
      Thread.onSpinWait();
    }
    host.tell(HostFrame.newBuilder().setPing(1));
    host.reads.release(Integer.MAX_VALUE / 2);
    int frames = 0;
    for (int done = 0; done < 100; frames++) {
      done += host.await(f -> f.getDoneCount() > 0).getDoneCount();
    }
    assertTrue(frames < 100, frames + " frames for 100 results");
  }

  @Test
  void aLargeBatchIsCut() throws Exception {
    var host = new Wired(plugin((tx, m) -> tx.put("k", "x".repeat(10_000))));
    host.await(f -> f.getCredit() > 0);
    host.reads.drainPermits();
    for (long n = 1; n <= 200; n++) {
      host.deliver(n);
    }
    host.reads.release(1000);
    for (int results = 0; results < 200; ) {
      var f = host.await(g -> g.getResultCount() > 0);
      results += f.getResultCount();
      assertTrue(
          f.getResultCount() <= 64 && f.getSerializedSize() < 300_000,
          "a frame of " + f.getSerializedSize());
    }
  }

  @Test
  void aRevokedHandlerMustEnd() throws Exception {
    var host = new Wired(plugin((tx, m) -> Thread.sleep(3_600_000)));
    host.deliver(1);
    host.tell(HostFrame.newBuilder().addRevoke(1).addRevoke(77));
    var r = host.result();
    assertEquals(Result.Code.RETRY, r.getCode());
    assertTrue(r.getError().startsWith("the host has revoked the event: "), r.getError());
  }

  /** A call that its handler does not wait for any more is abandoned. */
  @Test
  void aCallOfARevokedHandlerIsAbandoned() throws Exception {
    var host = new Wired(plugin((tx, m) -> tx.get("k")));
    host.deliver(1);
    var call = host.await(f -> f.getCallCount() > 0).getCall(0);
    assertEquals(1, call.getDelivery());
    host.tell(HostFrame.newBuilder().addRevoke(1));
    var seen = new ArrayList<PluginFrame>();
    host.await(
        f ->
            seen.add(f)
                && seen.stream().anyMatch(g -> g.getAbandonList().contains(call.getId()))
                && seen.stream().anyMatch(g -> g.getResultCount() > 0));
    host.tell(
        HostFrame.newBuilder()
            .addReply(Reply.newBuilder().setId(call.getId()))); // it may still come
    host.tell(HostFrame.newBuilder().setPing(1));
    host.await(f -> f.getPong() == 1);
  }

  /** What was read stands in the result with its version, also with RETRY and REJECT. */
  @Test
  void readsAreListedWithEachCode() throws Exception {
    var host =
        new Wired(
            plugin(
                (tx, m) -> {
                  tx.get("k");
                  tx.get("k"); // the first reply's value, without a second call
                  tx.put("w", 1);
                  if (m.id().equals("e2")) {
                    throw new Reject("no");
                  }
                }));
    for (long n = 1; n <= 2; n++) {
      host.deliver(n);
      var call = host.await(f -> f.getCallCount() > 0).getCall(0);
      var value = ByteString.copyFromUtf8("1");
      host.tell(
          HostFrame.newBuilder()
              .addReply(Reply.newBuilder().setId(call.getId()).setValue(value).setVersion(5)));
      var r = host.result();
      assertEquals(n == 1 ? Result.Code.DONE : Result.Code.REJECT, r.getCode());
      assertEquals(1, r.getChanges().getReadCount());
      assertEquals(5, r.getChanges().getRead(0).getVersion());
      assertEquals(n == 1 ? 1 : 0, r.getChanges().getWriteCount());
    }
  }

  @Test
  void anUnknownEventIsRetried() throws Exception {
    var host = new Wired(plugin((tx, m) -> {}));
    host.tell(
        HostFrame.newBuilder().addDeliver(Delivery.newBuilder().setDelivery(1).setAttempt(1)));
    var r = host.result();
    assertEquals(Result.Code.RETRY, r.getCode());
    assertTrue(r.getError().contains("newer SDK"), r.getError());
  }

  /** A handler's own fault is RETRY, never DONE, and its trace is in the log. */
  @Test
  void aFaultIsRetriedAndLogged() throws Exception {
    var host =
        new Wired(
            plugin(
                (tx, m) -> {
                  throw new IllegalStateException("half: \uD83D" + "x".repeat(5000));
                }));
    host.deliver(1);
    var r = host.result();
    assertEquals(Result.Code.RETRY, r.getCode());
    assertTrue(
        r.getError().startsWith("java.lang.IllegalStateException: half: \uFFFDx"), r.getError());
    assertTrue(r.getError().length() <= 4096);
    assertTrue(host.logged.get(0).contains("\"id\":\"e1\""), host.logged.get(0));
    assertTrue(host.logged.get(0).contains("InstanceTest.java"), host.logged.get(0));
  }

  /** Whatever a handler throws, its delivery ends, and the thread goes on. */
  @Test
  void anErrorIsRetried() throws Exception {
    var host =
        new Wired(
            plugin(
                (tx, m) -> {
                  throw new Error("of the worst kind");
                }));
    for (long n = 1; n <= 3; n++) {
      host.deliver(n);
      var r = host.result();
      assertEquals(n, r.getDelivery());
      assertEquals(Result.Code.RETRY, r.getCode());
      assertEquals("java.lang.Error: of the worst kind", r.getError());
    }
  }

  @Test
  void aRunningHandlerIsExtended() throws Exception {
    var host =
        new Wired(
            plugin((tx, m) -> Thread.sleep(3_600_000)),
            Limits.newBuilder().setExtendMs(20).build());
    host.deliver(8);
    assertEquals(List.of(8L), host.await(f -> f.getExtendCount() > 0).getExtendList());
  }

  @Test
  void theToldLimitsCount() throws Exception {
    var host =
        new Wired(plugin((tx, m) -> tx.put("four", 1)), Limits.newBuilder().setKeyBytes(3).build());
    host.deliver(1);
    var text = host.result().getError();
    assertTrue(text.contains("1 to 3 bytes"), text);
  }

  /** A drain: what was not begun is released, what runs may finish, and drained comes last. */
  @Test
  void aDrainReleasesWhatWasNotBegun() throws Exception {
    var begun = new CountDownLatch(1);
    var go = new CountDownLatch(1);
    var host =
        new Wired(
            plugin(
                    (tx, m) -> {
                      begun.countDown();
                      go.await();
                    })
                .maxInFlight(1));
    host.deliver(1, 2);
    begun.await();
    host.tell(HostFrame.newBuilder().setDrain(Drain.newBuilder().setTimeoutMs(60_000)));
    var released = host.result();
    assertEquals(2, released.getDelivery());
    assertEquals(Result.Code.RELEASE, released.getCode());
    host.deliver(3); // the host may have sent it before it knew
    assertEquals(3, host.result().getDelivery());
    go.countDown();
    var f = host.await(g -> g.getDoneCount() > 0);
    assertEquals(List.of(1L), f.getDoneList());
    if (!f.getDrained()) {
      host.await(PluginFrame::getDrained);
    }
    assertTrue(host.ended.await(30, TimeUnit.SECONDS));
    assertNull(host.frames.poll());
  }

  /** At four fifths of the drain's time handlers are cancelled, and what they leave is released. */
  @Test
  void aDrainCancelsAtFourFifths() throws Exception {
    var host = new Wired(plugin((tx, m) -> Thread.sleep(3_600_000)));
    host.deliver(1);
    host.tell(HostFrame.newBuilder().setDrain(Drain.newBuilder().setTimeoutMs(2000)));
    assertEquals(Result.Code.RELEASE, host.result().getCode());
    assertTrue(host.ended.await(30, TimeUnit.SECONDS));
  }

  /** A handler that does not end is given up. */
  @Test
  void aStuckHandlerDoesNotHoldADrain() throws Exception {
    var go = new CountDownLatch(1);
    var host =
        new Wired(
            plugin(
                (tx, m) -> {
                  while (go.getCount() > 0) {
                    try {
                      go.await();
                    } catch (InterruptedException e) {
                      continue; // it does not care
                    }
                  }
                }));
    host.deliver(1);
    host.tell(HostFrame.newBuilder().setDrain(Drain.newBuilder().setTimeoutMs(50)));
    host.await(PluginFrame::getDrained);
    go.countDown();
  }

  /** The host is gone: handlers end, calls fail, and the stream ends. */
  @Test
  void theHostIsGone() throws Exception {
    var failed = new LinkedBlockingQueue<Exception>();
    var kept = new LinkedBlockingQueue<Host>();
    var host = new Wired(plugin((tx, m) -> Thread.sleep(3_600_000)).start(kept::add));
    host.deliver(1);
    var caller =
        new Thread(
            () -> {
              try {
                kept.take().get("k");
              } catch (Exception e) {
                failed.add(e);
              }
            });
    caller.start();
    host.await(f -> f.getCallCount() > 0);
    host.instance.hostGone();
    assertTrue(host.ended.await(30, TimeUnit.SECONDS));
    assertEquals(UnavailableException.class, failed.poll(30, TimeUnit.SECONDS).getClass());
  }
}
