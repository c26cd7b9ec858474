package balhost;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.logging.Level;
import java.util.logging.LogManager;
import java.util.logging.Logger;
import org.junit.jupiter.api.Test;

class LogTest {
  @Test
  void linesAreHclogs() {
    var lines = new ArrayList<String>();
    var log = Log.to(lines::add);
    log.info("connected \"\uD83D", "took", Duration.ofMillis(12), "n", 3, "ok", true, "odd");
    log.debug("not at this level");
    log.level("debug");
    log.level("nonsense");
    log.debug("now");
    assertEquals(
        List.of(
            "{\"@level\":\"info\",\"@message\":\"connected"
                + " \\\"\uFFFD\",\"took\":\"12ms\",\"n\":3,\"ok\":true,\"extra\":\"odd\"}\n",
            "{\"@level\":\"debug\",\"@message\":\"now\"}\n"),
        lines);
  }

  /** java.util.logging comes out with its level, its logger and its trace, in one line. */
  @Test
  void javaUtilLoggingIsBridged() throws IOException {
    var lines = new ArrayList<String>();
    var log = Log.to(lines::add);
    try {
      log.level("debug");
      log.bridge();
      var logger = Logger.getLogger("com.example");
      logger.log(Level.SEVERE, "broken {0}", "here");
      logger.log(Level.FINE, "a detail", new IOException("gone"));
      logger.log(Level.FINEST, "not at this level");
      Logger.getLogger("io.grpc.x").fine("a frame");
      assertEquals(2, lines.size(), lines.toString());
      assertEquals(
          "{\"@level\":\"error\",\"@message\":\"broken here\",\"logger\":\"com.example\"}\n",
          lines.get(0));
      assertTrue(
          lines.get(1).contains("\"err\":\"java.io.IOException: gone\",\"stack\":\"java.io"),
          lines.get(1));
      assertEquals(lines.get(1).length() - 1, lines.get(1).indexOf('\n'));
    } finally {
      LogManager.getLogManager().readConfiguration();
    }
  }

  /** Who logs does not wait for who reads. What finds no room is counted in its place. */
  @Test
  void nobodyReads() throws Exception {
    var go = new CountDownLatch(1);
    var written = new ByteArrayOutputStream();
    var blocked =
        new OutputStream() {
          @Override
          public void write(int b) {
            throw new UnsupportedOperationException();
          }

          @Override
          public void write(byte[] b) throws IOException {
            try {
              go.await();
            } catch (InterruptedException e) {
              throw new IOException(e);
            }
            written.write(b);
          }
        };
    var file = new LogFile(blocked);
    for (int i = 0; i < 3000; i++) {
      file.write("x".repeat(1023) + "\n");
    }
    file.flush(10); // it gives up
    go.countDown();
    file.flush(30_000);
    var text = written.toString(StandardCharsets.UTF_8);
    assertTrue(
        text.endsWith("lines dropped: the host did not read them\"}\n"),
        text.substring(text.length() - 99));
    assertTrue(text.length() < 2 << 20);
  }

  @Test
  void durations() {
    for (var text : List.of("0us", "12ms", "1.5s", "1m30s", "3h0m7s", "-2s")) {
      assertEquals(text, Durations.format(Durations.parse(text)));
    }
  }
}
