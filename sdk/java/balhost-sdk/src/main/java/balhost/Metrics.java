package balhost;

import com.google.protobuf.ByteString;
import java.util.concurrent.Callable;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * Asks a plugin for its own metrics. Calls don't overlap: one that hangs is there once, however
 * often a host is scraped.
 */
final class Metrics {
  static final int MAX_BYTES = 1 << 20; // that the host takes

  private final Callable<String> function;
  private final Log log;
  private final AtomicBoolean asking = new AtomicBoolean();
  private volatile String logged = ""; // the last failure: one that comes again is logged once

  Metrics(Callable<String> function, Log log) {
    this.function = function;
    this.log = log;
  }

  /**
   * What the function returns.
   *
   * @throws UnavailableException if the call before has not returned yet
   * @throws Exception what the function throws
   */
  ByteString text() throws Exception {
    if (function == null) {
      throw new InvalidException("the plugin has no metrics");
    }
    if (!asking.compareAndSet(false, true)) {
      throw new UnavailableException("the last call of metrics has not returned yet", "");
    }
    try {
      var text = checked(function.call());
      logged = "";
      return text;
    } catch (Throwable e) {
      if (!logged.equals(e.toString())) {
        logged = e.toString();
        log.error("metrics failed", "err", e);
      }
      throw e;
    } finally {
      asking.set(false);
    }
  }

  private static ByteString checked(String returned) {
    if (returned == null) {
      throw new InvalidException("metrics returned null: return Prometheus's text");
    }
    var text = ByteString.copyFromUtf8(returned);
    if (text.size() > MAX_BYTES) {
      throw new InvalidException(
          "metrics have %d bytes, at most %d are possible: use fewer labels"
              .formatted(text.size(), MAX_BYTES));
    }
    return text;
  }
}
