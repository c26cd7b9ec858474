package balhost;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import balhost.plugin.v1.DescribeRequest;
import balhost.testing.FakeHost;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/** A plugin's own metrics: PROTOCOL.md §6, the capability metrics. */
class MetricsTest {
  private static final String TEXT = "# TYPE rooms gauge\nrooms{kind=\"ö\"} 3\n";

  private static Plugin measuring(Callable<String> metrics) {
    return Plugin.named("meter").categories("app").upstream((tx, m) -> {}).metrics(metrics);
  }

  private static List<String> capabilities(Plugin p, String... ofHost) {
    var request = DescribeRequest.newBuilder().addAllCapabilities(List.of(ofHost)).build();
    return new Instance(p, Log.to(s -> {})).describe(request).getCapabilitiesList();
  }

  @Test
  void theCapabilityIsThatOfPluginsWithMetrics() {
    assertEquals(List.of("offsets"), capabilities(measuring(null), "offsets", "metrics"));
    assertEquals(List.of("metrics"), capabilities(measuring(() -> TEXT), "metrics", "later"));
    assertEquals(List.of(), capabilities(measuring(() -> TEXT)));
  }

  @Test
  void textArrivesWhole() {
    try (var host = FakeHost.start(measuring(() -> TEXT))) {
      assertEquals(TEXT, host.metrics());
      assertEquals(TEXT, host.metrics());
    }
    try (var host = FakeHost.start(measuring(() -> "\n".repeat(Metrics.MAX_BYTES)))) {
      assertEquals(Metrics.MAX_BYTES, host.metrics().length());
    }
  }

  private static void fails(Callable<String> metrics, String says) {
    try (var host = FakeHost.start(measuring(metrics))) {
      var error = assertThrows(AssertionError.class, host::metrics);
      assertTrue(error.getMessage().contains(says), error.getMessage());
    }
  }

  @Test
  void whatCannotBeHadIsTold() {
    fails(null, "has no metrics");
    fails(() -> null, "returned null");
    fails(() -> "\n".repeat(Metrics.MAX_BYTES + 1), "1048577 bytes, at most 1048576");
    fails(
        () -> {
          throw new IOException("no database");
        },
        "no database");
  }

  @Test
  void aFailureThatComesAgainIsLoggedOnce() throws Exception {
    var lines = new ArrayList<String>();
    Callable<String> fail =
        () -> {
          throw new IOException("no database");
        };
    var ways = new ArrayList<>(List.of(fail, fail, () -> TEXT, fail));
    var metrics = new Metrics(() -> ways.remove(0).call(), Log.to(lines::add));
    for (int n = 0; n < 4; n++) {
      if (n == 2) {
        assertEquals(TEXT, metrics.text().toStringUtf8());
      } else {
        assertThrows(IOException.class, metrics::text);
      }
    }
    assertEquals(2, lines.size(), lines.toString());
    assertTrue(lines.get(0).contains("\"@message\":\"metrics failed\""), lines.get(0));
  }

  @Test
  void callsDoNotOverlap() throws Exception {
    var begun = new CountDownLatch(1);
    var end = new CountDownLatch(1);
    Callable<String> hang =
        () -> {
          begun.countDown();
          assertTrue(end.await(30, TimeUnit.SECONDS));
          return TEXT;
        };
    try (var host = FakeHost.start(measuring(hang))) {
      var first = CompletableFuture.supplyAsync(host::metrics);
      assertTrue(begun.await(30, TimeUnit.SECONDS));
      var error = assertThrows(AssertionError.class, host::metrics);
      assertInstanceOf(UnavailableException.class, error.getCause());
      end.countDown();
      assertEquals(TEXT, first.get(30, TimeUnit.SECONDS));
    }
  }
}
