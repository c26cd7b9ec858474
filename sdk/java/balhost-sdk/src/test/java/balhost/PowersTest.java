package balhost;

import static balhost.Target.token;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import balhost.testing.FakeHost;
import balhost.testing.Result.Status;
import com.google.gson.annotations.SerializedName;
import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;

/** What a plugin can do, seen by its author: with the fake host. */
class PowersTest {
  private static Plugin plugin(Handler<Upstream> upstream) {
    return Plugin.named("p").categories("app").upstream(upstream);
  }

  private static Downstream hello() {
    return Downstream.to(token("t")).data(Map.of("k", "v"));
  }

  @Test
  void whatAHandlerThrowsDecides() {
    var failures =
        List.of(
            new Reject("never"),
            new Retry(Duration.ofMillis(1500), "later"),
            new IOException("gone"));
    var n = new AtomicInteger();
    var p =
        plugin(
            (tx, m) -> {
              tx.send(hello());
              throw failures.get(n.getAndIncrement());
            });
    try (var host = FakeHost.start(p)) {
      var rejected = host.upstream("d", Map.of());
      assertEquals(Status.REJECTED, rejected.status());
      assertEquals("never", rejected.reason());
      var retried = host.upstream("d", Map.of());
      assertEquals(Status.RETRIED, retried.status());
      assertEquals(Duration.ofMillis(1500), retried.delay());
      var failed = host.upstream("d", Map.of());
      assertEquals(Status.RETRIED, failed.status());
      assertEquals("java.io.IOException: gone", failed.reason());
      assertEquals(List.of(), host.sent());
    }
  }

  @Test
  void stateIsReadBackAndKeptWithTheFirstValue() {
    var p =
        plugin(
            (tx, m) -> {
              int n = tx.get("n", Integer.class).orElse(0);
              assertEquals(n, tx.get("n", Integer.class).orElse(0));
              tx.put("n", n + 1);
              assertEquals(n + 1, tx.get("n", Integer.class).orElseThrow());
              tx.put("nothing", null);
              assertEquals("null", tx.get("nothing").orElseThrow().toString());
              tx.delete("nothing");
              assertTrue(tx.get("nothing").isEmpty());
            });
    try (var host = FakeHost.start(p)) {
      host.upstream("d", Map.of()).orFail();
      host.beforeCommit(() -> host.setState("n", 40));
      assertEquals(2, host.upstream("d", Map.of()).orFail().runs());
      assertEquals(Optional.of(41), host.state("n", Integer.class));
      assertEquals(List.of("n"), host.keys());
    }
  }

  /** A failure counts only if what the handler has read is unchanged. */
  @Test
  void aFailureOfAStaleReadRunsAgain() {
    var p =
        plugin(
            (tx, m) -> {
              if (tx.get("full", Boolean.class).orElse(true)) {
                throw new Reject("full");
              }
            });
    try (var host = FakeHost.start(p)) {
      host.beforeCommit(() -> host.setState("full", false));
      assertEquals(2, host.upstream("d", Map.of()).orFail().runs());
    }
  }

  @Test
  void listsAreMergedWithWhatTheHandlerHasDone() {
    var pages = new ArrayList<String>();
    var p =
        plugin(
            (tx, m) -> {
              tx.delete("o/1");
              tx.put("o/2a", 9);
              var after = "";
              for (boolean more = true; more; ) {
                var page = tx.list("o/", after, 2);
                var keys = page.items().stream().map(Item::key).toList();
                pages.add(String.join(",", keys));
                after = keys.get(keys.size() - 1);
                more = page.more();
              }
            });
    try (var host = FakeHost.start(p)) {
      for (int i = 1; i <= 4; i++) {
        host.setState("o/" + i, i);
      }
      host.setState("other", 1);
      host.upstream("d", Map.of()).orFail();
      assertEquals(List.of("o/2", "o/2a,o/3", "o/4"), pages.subList(0, 3));
      host.beforeCommit(() -> host.setState("o/5", 5)); // it comes into what was listed
      assertEquals(2, host.upstream("d", Map.of()).orFail().runs());
    }
  }

  @Test
  void keysAreInTheOrderOfTheirBytes() {
    var keys = new AtomicReference<List<String>>();
    var emoji = "k/\uD83D\uDE00"; // 4 bytes, behind U+FFFD in UTF-8, before it in UTF-16
    var p =
        plugin(
            (tx, m) -> {
              tx.put(emoji, 1);
              tx.put("k/\uFFFD", 1);
              keys.set(tx.list("k/", "", 0).items().stream().map(Item::key).toList());
            });
    try (var host = FakeHost.start(p)) {
      host.upstream("d", Map.of()).orFail();
      assertEquals(List.of("k/\uFFFD", emoji), keys.get());
    }
  }

  @Test
  void timersCommitAndFire() {
    var due = new ArrayList<String>();
    var p =
        plugin(
                (tx, m) -> {
                  var now = Instant.now();
                  tx.schedule("late", now.plusSeconds(600), Map.of("order", 7));
                  tx.schedule("early", now.plusSeconds(60), null, Lane.ofDevice("", "other"));
                  tx.schedule("never", now.plusSeconds(60), null, Lane.named("lane"));
                  tx.cancel("never");
                })
            .timer((tx, t) -> due.add(t.key() + " " + t.device() + " " + t.data()));
    try (var host = FakeHost.start(p)) {
      host.upstream("d", Map.of()).orFail();
      assertEquals(List.of("early", "late"), host.timers().stream().map(Timer::key).toList());
      assertEquals(1, host.advance(Duration.ofMinutes(2)).size());
      assertEquals(List.of("early other "), due);
      host.advance(Duration.ofMinutes(9));
      assertEquals("late d {\"order\":7}", due.get(1));
      assertEquals(List.of(), host.timers());
    }
  }

  /** What a timer's handler does is not committed when the timer was cancelled meanwhile. */
  @Test
  void aCancelledTimerCommitsNothing() throws Exception {
    var hosts = new AtomicReference<Host>();
    var p =
        plugin((tx, m) -> tx.schedule("t", Instant.now(), null))
            .timer((tx, t) -> tx.put("done", true))
            .start(hosts::set);
    try (var host = FakeHost.start(p)) {
      host.upstream("d", Map.of()).orFail();
      host.beforeCommit(() -> assertUpdates(hosts.get(), tx -> tx.cancel("t")));
      assertEquals(Status.CANCELED, host.advance(Duration.ofSeconds(1)).get(0).status());
      assertEquals(List.of(), host.keys());
    }
  }

  private static void assertUpdates(Host host, Update u) {
    try {
      host.update(u);
    } catch (Exception e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void downstreamsAreReplacedAndCancelledUntilTheyGoOut() {
    var p =
        plugin(
            (tx, m) -> {
              var score = hello().replace("score").notBefore(Instant.now().plusSeconds(60));
              var first = tx.send(score);
              var second = tx.send(score.data(Map.of("k", "2")));
              var third = tx.send(hello());
              assertEquals(List.of("e-1", "e-2", "e-3"), List.of(first, second, third));
              tx.cancelSend(third);
            });
    try (var host = FakeHost.start(p)) {
      host.upstream(Upstream.of("d", Map.of()).withId("e")).orFail();
      assertEquals("REPLACED", host.canceled("e-1"));
      assertEquals("CANCELED", host.canceled("e-3"));
      assertEquals(List.of("e-2"), host.waiting().stream().map(Downstream::messageId).toList());
      host.goOut("e-2");
      assertEquals(List.of(), host.waiting());
    }
  }

  @Test
  void outsideOfHandlers() throws Exception {
    var hosts = new AtomicReference<Host>();
    var p = plugin((tx, m) -> {}).start(hosts::set);
    try (var fake = FakeHost.setup().sessions("a", "b").transport("b", Transport.FCM_V1).start(p)) {
      var host = hosts.get();
      assertEquals(List.of("a", "b"), host.sessions());
      assertEquals(Optional.of(Transport.FCM_V1), host.transport("b"));
      assertEquals(Optional.empty(), host.transport("c"));
      assertThrows(InvalidException.class, () -> host.send(hello()), "the host has two sessions");
      var id = host.send(hello().session("a"));
      assertTrue(host.cancel(id));
      assertFalse(host.cancel(id));
      fake.refuse("the disk is filling up");
      var e =
          assertThrows(
              UnavailableException.class, () -> host.send(hello().session("a").messageId("m")));
      assertEquals("m", e.messageId());
      fake.refuse("");
      var runs = new AtomicInteger();
      host.update(
          tx -> {
            if (runs.incrementAndGet() == 1) {
              tx.get("n");
              fake.setState("n", 1);
              throw new IOException("it comes of an old value");
            }
            tx.put("n", tx.get("n", Integer.class).orElseThrow() + 1);
          });
      assertEquals(2, runs.get());
      assertEquals(Optional.of(2), host.get("n", Integer.class));
      assertEquals(1, host.list("", "", 0).items().size());
    }
  }

  @Test
  void runIsStartedAgainAfterAFailure() {
    var runs = new AtomicInteger();
    var p =
        Plugin.named("p")
            .run(
                host -> {
                  if (runs.incrementAndGet() < 2) {
                    throw new IOException("no connection");
                  }
                  host.send(hello());
                });
    try (var host = FakeHost.start(p)) {
      assertEquals(1, host.awaitSent(1).size());
      assertEquals(2, runs.get());
    }
  }

  @Test
  void stopComesLast() {
    var order = new ArrayList<String>();
    var running = new CountDownLatch(1);
    var p =
        Plugin.named("p")
            .run(
                host -> {
                  running.countDown();
                  try {
                    Thread.sleep(Duration.ofHours(1).toMillis());
                  } finally {
                    order.add("run");
                  }
                })
            .stop(() -> order.add("stop"));
    try (var host = FakeHost.start(p)) {
      running.await();
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
    assertEquals(List.of("run", "stop"), order);
  }

  @Test
  void aHandlerIsInterruptedAtItsTime() {
    var cancelled = new AtomicReference<Boolean>();
    var p =
        plugin(
            (tx, m) -> {
              try {
                Thread.sleep(Duration.ofHours(1).toMillis());
              } finally {
                cancelled.set(tx.isCancelled() && tx.timeLeft().isZero());
              }
            });
    try (var host = FakeHost.setup().handlerTimeout(Duration.ofMillis(50)).start(p)) {
      var r = host.upstream("d", Map.of());
      assertEquals(Status.RETRIED, r.status());
      assertTrue(r.reason().startsWith("the handler timed out: "), r.reason());
      assertTrue(cancelled.get());
    }
  }

  /** What an interrupt leaves behind does not reach the next handler of the thread. */
  @Test
  void anInterruptEndsWithItsHandler() {
    var first = new AtomicInteger();
    var p =
        plugin(
            (tx, m) -> {
              if (first.incrementAndGet() == 1) {
                while (!Thread.currentThread().isInterrupted()) {
                  Thread.onSpinWait();
                }
                return;
              }
              Thread.sleep(1);
            });
    try (var host = FakeHost.setup().handlerTimeout(Duration.ofMillis(50)).start(p)) {
      host.upstream("d", Map.of()).orFail();
      host.upstream("d", Map.of()).orFail();
    }
  }

  @Test
  void aTxEndsWithItsHandler() {
    var kept = new AtomicReference<Tx>();
    try (var host = FakeHost.start(plugin((tx, m) -> kept.set(tx)))) {
      host.upstream("d", Map.of()).orFail();
      assertThrows(CancellationException.class, () -> kept.get().put("k", 1));
    }
  }

  /** After a kill the next instance gets the event, and what the old one does is lost. */
  @Test
  void aCrashLosesNothing() throws Exception {
    var begun = new CountDownLatch(1);
    var attempts = new AtomicInteger();
    var p =
        plugin(
            (tx, m) -> {
              if (attempts.incrementAndGet() == 1) {
                begun.countDown();
                Thread.sleep(Duration.ofHours(1).toMillis());
              }
              tx.send(hello());
            });
    try (var host = FakeHost.start(p)) {
      var result = CompletableFuture.supplyAsync(() -> host.upstream("d", Map.of()));
      begun.await();
      host.crash();
      result.get().orFail();
      assertEquals(1, host.sent().size());
    }
  }

  /** A handler that runs finishes in the old instance. */
  @Test
  void aReloadWaitsForHandlers() throws Exception {
    var begun = new CountDownLatch(1);
    var go = new CountDownLatch(1);
    var old =
        plugin(
            (tx, m) -> {
              begun.countDown();
              go.await();
              tx.put("by", "old");
            });
    try (var host = FakeHost.start(old)) {
      var result = CompletableFuture.supplyAsync(() -> host.upstream("d", Map.of()));
      begun.await();
      var reload =
          CompletableFuture.runAsync(() -> host.reload(plugin((tx, m) -> tx.put("by", "new"))));
      go.countDown();
      reload.get();
      result.get().orFail();
      assertEquals(Optional.of("old"), host.state("by", String.class));
      host.upstream("d", Map.of()).orFail();
      assertEquals(Optional.of("new"), host.state("by", String.class));
    }
  }

  private record Inner(@SerializedName("max_wait") Duration maxWait, List<Integer> sizes) {}

  private record Config(String name, int max, Inner inner) {
    Config {
      if (max < 0) {
        throw new IllegalArgumentException("max is negative");
      }
    }
  }

  @Test
  void configIsARecordWithDefaults() {
    var got = new AtomicReference<Config>();
    var defaults = new Config("n", 1, new Inner(Duration.ofSeconds(1), List.of(1)));
    var given = Json.parse("{\"max\":3,\"inner\":{\"max_wait\":\"1m30s\"}}");
    try (var host =
        FakeHost.setup().config(given).start(plugin((tx, m) -> {}).config(defaults, got::set))) {
      assertEquals(new Config("n", 3, new Inner(Duration.ofSeconds(90), List.of(1))), got.get());
    }
  }

  @Test
  void aWrongConfigSaysWhat() {
    var defaults = new Config("n", 1, new Inner(Duration.ofSeconds(1), List.of(1)));
    var wrong =
        Map.of(
            "{\"nam\":\"x\"}", "this plugin has no key \"nam\": it has inner, max, name",
            "{\"max\":\"3\"}",
                "key \"max\" is a string, but must be a whole number of at most 32 bits",
            "{\"max\":3.5}",
                "key \"max\" is the number 3.5, but must be a whole number of at most 32 bits",
            "{\"max\":3000000000}",
                "key \"max\" is the number 3000000000, but must be a whole number of at most 32"
                    + " bits",
            "{\"max\":-1}", "max is negative",
            "{\"name\":null}", "key \"name\" is null, but must be a string",
            "{\"inner\":{\"sizes\":[1,\"2\"]}}",
                "key \"inner.sizes.1\" is a string, but must be a whole number of at most 32 bits",
            "{\"inner\":{\"max_wait\":\"soon\"}}",
                "\"soon\" is not a duration: write it like \"1m30s\"",
            "[]", "it is a list, but must be an object");
    wrong.forEach(
        (config, text) -> {
          var p = plugin((tx, m) -> {}).config(defaults, c -> {});
          var refusal = FakeHost.setup().config(Json.parse(config)).refusal(p);
          assertEquals(Optional.of("plugin p: config: " + text), refusal, config);
        });
  }

  @Test
  void aStartThatFailsIsARefusal() {
    var p = plugin((tx, m) -> {}).start(host -> Integer.parseInt("x"));
    var refusal = FakeHost.setup().refusal(p).orElseThrow();
    assertTrue(refusal.startsWith("plugin p: start: java.lang.NumberFormatException"), refusal);
  }

  @Test
  void aPluginThatIsWrongSaysWhat() {
    var wrong =
        Map.of(
            "it does nothing", Plugin.named("p"),
            "its name has only letters", Plugin.named("a b").run(h -> {}),
            "use 1 to 65536", plugin((tx, m) -> {}).maxInFlight(0),
            "add one, or claim none", Plugin.named("p").run(h -> {}).categories("a"),
            "twice", plugin((tx, m) -> {}).categories("a", "a"),
            "names joined by dots", plugin((tx, m) -> {}).orderByKey("data..room"));
    wrong.forEach(
        (text, p) -> {
          var e = assertThrows(InvalidException.class, () -> FakeHost.start(p));
          assertTrue(e.getMessage().contains(text), e.getMessage());
        });
  }
}
