package balhost;

import static balhost.Target.token;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import balhost.testing.FakeHost;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/** Traces: PROTOCOL.md §4. */
class TracesTest {
  private static final String SPAN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  private static final String OTHER = "00-4bf92f3577b34da6a3ce929d0e0e4736-1111111111111111-00";

  private static Downstream hello(String span) {
    return Downstream.to(token("t")).data(Map.of("k", "v")).traceparent(span);
  }

  @Test
  void eachHandlerHasTheSpanOfItsDelivery() {
    var seen = Collections.synchronizedList(new ArrayList<String>());
    var p =
        Plugin.named("p")
            .categories("app")
            .upstream((tx, m) -> seen.add(tx.traceparent()))
            .outcome((tx, o) -> seen.add(tx.traceparent()))
            .receipt((tx, r) -> seen.add(tx.traceparent()))
            .timer((tx, t) -> seen.add(tx.traceparent()));
    try (var host = FakeHost.start(p)) {
      host.traceparent(SPAN);
      host.upstream("d", Map.of()).orFail();
      host.outcome(Outcome.of(token("t"), Outcome.Status.ACKED)).orFail();
      host.receipt(Receipt.of("m", "d")).orFail();
      host.timer(Timer.of("k", null)).orFail();
      host.traceparent(""); // a host without traces
      host.upstream("d", Map.of()).orFail();
    }
    assertEquals(List.of(SPAN, SPAN, SPAN, SPAN, ""), seen);
  }

  @Test
  void aDownstreamHasTheSpanThatItWasGiven() {
    var wrong =
        new ArrayList<>(
            List.of("", "00-xyz", SPAN.toUpperCase(), SPAN + "-01", SPAN + "\n", "\ud800".repeat(55)));
    wrong.add(null);
    var p =
        Plugin.named("p")
            .categories("app")
            .upstream(
                (tx, m) -> {
                  tx.send(hello(SPAN));
                  wrong.forEach(span -> tx.send(hello(span)));
                });
    try (var host = FakeHost.start(p)) {
      host.traceparent(OTHER);
      var sent = host.upstream("d", Map.of()).orFail().sent();
      assertEquals(1 + wrong.size(), sent.size());
      for (int i = 0; i < sent.size(); i++) {
        assertEquals(i == 0 ? SPAN : "", sent.get(i).traceparent());
      }
    }
  }

  @Test
  void outsideOfAHandler() throws Exception {
    var done = new CompletableFuture<String>();
    var p =
        Plugin.named("p")
            .run(
                host -> {
                  host.send(hello(SPAN).messageId("m"));
                  host.send(hello(OTHER).messageId("m")); // the same message
                  var another = hello(SPAN).messageId("m").data(Map.of("k", "w"));
                  var error = assertThrows(InvalidException.class, () -> host.send(another));
                  assertTrue(error.getMessage().contains("another message"), error.getMessage());
                  host.update(tx -> done.complete(tx.traceparent()));
                });
    try (var host = FakeHost.start(p)) {
      assertEquals("", done.get(30, TimeUnit.SECONDS));
      assertEquals(List.of(SPAN), host.sent().stream().map(Downstream::traceparent).toList());
    }
  }
}
