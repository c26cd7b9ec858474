package balhost;

import static balhost.Target.condition;
import static balhost.Target.fid;
import static balhost.Target.token;
import static balhost.Target.topic;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import balhost.testing.FakeHost;
import java.time.Duration;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** What can never be committed is refused at the call, and the Tx stays as it was. */
class RefusedTest {
  private static final String HALF = "x\uD83D"; // half of a surrogate pair

  private static Downstream data(Object fields) {
    return Downstream.to(token("t")).data(fields);
  }

  private static Downstream options(Options o) {
    return Downstream.to(token("t")).options(o);
  }

  /** Runs one handler with this call, and returns why the call was refused. */
  private static String refused(Transport transport, Handler<Upstream> call) {
    var p =
        Plugin.named("p")
            .categories("app")
            .timer((tx, t) -> {})
            .upstream(
                (tx, m) -> {
                  var e = assertThrows(InvalidException.class, () -> call.handle(tx, m));
                  tx.put("why", e.getMessage());
                });
    try (var host = FakeHost.setup().transport("main", transport).start(p)) {
      var r = host.upstream("d", Map.of()).orFail();
      assertEquals(List.of(), r.sent());
      assertEquals(List.of("why"), host.keys());
      return host.state("why", String.class).orElseThrow();
    }
  }

  @Test
  void downstreams() {
    var wrong = new LinkedHashMap<String, Downstream>();
    wrong.put("to has no target", Downstream.to(token("")));
    wrong.put("to.token has a space", Downstream.to(token("a b")));
    wrong.put("to.token begins with /topics/", Downstream.to(token("/topics/a")));
    wrong.put("is not a topic's name", Downstream.to(topic("a b")));
    wrong.put("to.token has half a surrogate pair", Downstream.to(token(HALF)));
    wrong.put("to.token has 4097 bytes", Downstream.to(token("t".repeat(4097))));
    wrong.put("data.k is number: FCM takes strings only", data(Map.of("k", 1)));
    wrong.put("data.o is begin_object: FCM takes strings only", data(Map.of("o", Map.of())));
    wrong.put("data.from is a key that FCM reserves", data(Map.of("from", "x")));
    wrong.put("data.gcm.x is a key that FCM reserves", data(Map.of("gcm.x", "x")));
    wrong.put("data is not an object", data(List.of()));
    wrong.put("data.k is there twice", data(Json.parse("{\"k\":\"1\",\"k\":\"2\"}")));
    wrong.put("data is not JSON", data(Json.parse("{\"k\":")));
    wrong.put("data.k has half a surrogate pair", data(Json.parse("{\"k\":\"\\ud83d\"}")));
    wrong.put("have 4097 bytes of keys and values", data(Map.of("k", "x".repeat(4096))));
    wrong.put(
        "have 2049 bytes of keys and values: FCM takes at most 2048 to a topic",
        Downstream.to(topic("t")).data(Map.of("k", "x".repeat(2048))));
    wrong.put(
        "body_loc_args is not a JSON array",
        data(Map.of()).notification(Map.of("body_loc_args", "x")));
    wrong.put("options.ttl is -1s", options(Options.NONE.ttl(Duration.ofSeconds(-1))));
    wrong.put("options.ttl is 1.5s", options(Options.NONE.ttl(Duration.ofMillis(1500))));
    wrong.put("options.priority is \"urgent\"", options(Options.NONE.priority("urgent")));
    wrong.put(
        "options.collapse_key has 256 bytes", options(Options.NONE.collapseKey("x".repeat(256))));
    wrong.put("options.android is not a JSON object", options(Options.NONE.android(List.of())));
    wrong.put("group has 256 bytes", data(Map.of()).group("x".repeat(256)));
    wrong.put("message_id has U+000A", data(Map.of()).messageId("a\nb"));
    wrong.put("replace has half a surrogate pair", data(Map.of()).replace(HALF));
    wrong.put("context has 65538 bytes", data(Map.of()).context("x".repeat(65536)));
    wrong.put("not_before is 1970", data(Map.of()).notBefore(Instant.ofEpochSecond(1)));
    wrong.forEach(
        (text, d) -> {
          var why = refused(Transport.FCM_V1, (tx, m) -> tx.send(d));
          assertTrue(why.contains(text), why);
        });
  }

  @Test
  void whatATransportCannotCarry() {
    assertFits(Transport.CCS, Downstream.to(fid("f")), "CCS knows no installation ids");
    assertFits(
        Transport.CCS, options(Options.NONE.android(Map.of())), "need a session with fcm_v1");
    assertFits(Transport.GATEWAY, Downstream.to(topic("t")), "reaches single devices only");
    assertFits(
        Transport.GATEWAY,
        Downstream.to(condition("'a' in topics")),
        "reaches single devices only");
    assertFits(Transport.GATEWAY, options(Options.NONE.asDryRun()), "has no dry run");
    assertFits(Transport.HUAWEI, data(Map.of()), "nothing can be sent");
    assertFits(Transport.FCM_V1, data(Map.of("bal_id", "x")), "data.bal_id is the host's own key");
  }

  private static void assertFits(Transport t, Downstream d, String text) {
    var why = refused(t, (tx, m) -> tx.send(d));
    assertTrue(why.contains(text), why);
  }

  @Test
  void keysAndValues() {
    assertRefused("put \"\" of 0 bytes", tx -> tx.put("", 1));
    assertRefused("of 513 bytes", tx -> tx.put("\u00e4".repeat(256) + "x", 1));
    assertRefused("put has half a surrogate pair", tx -> tx.put(HALF, 1));
    assertRefused("the JSON has half a surrogate pair", tx -> tx.put("k", HALF));
    assertRefused("has 1032193 bytes as JSON", tx -> tx.put("k", "x".repeat(1032191)));
    assertRefused("is not JSON", tx -> tx.put("k", Json.parse("{")));
    assertRefused("can't be written as JSON", tx -> tx.put("k", Double.NaN));
    assertRefused("get \"\"", tx -> tx.get(""));
    assertRefused("list: prefix", tx -> tx.list("x".repeat(513), "", 0));
    assertRefused("cancel: message_id has 0 bytes", tx -> tx.cancelSend(""));
  }

  @Test
  void timers() {
    var now = Instant.now();
    assertRefused(
        "before the year 2200",
        tx -> tx.schedule("t", Instant.ofEpochSecond(8_000_000_000L), null));
    assertRefused("schedule \"\" of 0 bytes", tx -> tx.schedule("", now, null));
    assertRefused(
        "the device of its lane has 0 bytes",
        tx -> tx.schedule("t", now, null, Lane.ofDevice("", "")));
    assertRefused("the data of timer \"t\" has", tx -> tx.schedule("t", now, "x".repeat(1 << 20)));
  }

  private static void assertRefused(String text, Update call) {
    var why = refused(Transport.CCS, (tx, m) -> call.run(tx));
    assertTrue(why.contains(text), why);
  }

  @Test
  void timersWithoutAHandler() {
    var p = Plugin.named("p").upstream((tx, m) -> tx.schedule("t", Instant.now(), null));
    try (var host = FakeHost.start(p)) {
      assertEquals(
          "schedule \"t\": the plugin has no timer handler: give it one with Plugin.timer",
          host.upstream("d", Map.of()).reason());
    }
  }

  /** The last call goes over the limit. What came before is committed. */
  @Test
  void tooMuchAtOnce() {
    var p =
        Plugin.named("p")
            .upstream(
                (tx, m) -> {
                  for (int i = 0; i < 1000; i++) {
                    tx.put("k" + i, i);
                  }
                  tx.put("k0", 1); // the same key counts once
                  var e = assertThrows(InvalidException.class, () -> tx.get("other"));
                  assertTrue(
                      e.getMessage().contains("1001 downstreams, timers and keys at once"),
                      e.getMessage());
                });
    try (var host = FakeHost.start(p)) {
      host.upstream("d", Map.of()).orFail();
      assertEquals(1000, host.keys().size());
    }
  }

  @Test
  void tooManyBytesAtOnce() {
    var p =
        Plugin.named("p")
            .upstream(
                (tx, m) -> {
                  tx.put("a", "x".repeat(1 << 19));
                  var e =
                      assertThrows(InvalidException.class, () -> tx.put("b", "x".repeat(1 << 19)));
                  assertTrue(
                      e.getMessage().contains("at most 1048576 are possible"), e.getMessage());
                  tx.put("a", "x".repeat(1 << 18)); // in its place there is room again
                  tx.put("b", "x".repeat(1 << 19));
                });
    try (var host = FakeHost.start(p)) {
      host.upstream("d", Map.of()).orFail();
    }
  }

  /** A value of the largest size passes, there and back. */
  @Test
  void theLargestValue() {
    var most = "x".repeat(1032192 - 2);
    var p =
        Plugin.named("p")
            .upstream(
                (tx, m) -> {
                  if (tx.get("k").isEmpty()) {
                    tx.put("k", most);
                  }
                });
    try (var host = FakeHost.start(p)) {
      host.upstream("d", Map.of()).orFail();
      host.upstream("d", Map.of()).orFail();
      assertEquals(most, host.state("k", String.class).orElseThrow());
    }
  }
}
