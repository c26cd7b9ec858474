package balhost;

import java.time.Duration;

/**
 * What a handler throws to get its event again, not before a time has passed. The attempt counts.
 */
public final class Retry extends RuntimeException {
  private static final long serialVersionUID = 1;

  private final Duration after;

  /**
   * The reason stands in the host's log.
   *
   * @param after at least this long, up to 168 h; zero or less: the host decides, as after any
   *     other exception
   */
  public Retry(Duration after, String reason) {
    this(after, reason, null);
  }

  /** The reason, and what has led to it. */
  public Retry(Duration after, String reason, Throwable cause) {
    super(reason, cause);
    this.after = after;
  }

  /** At least how long the host waits. */
  public Duration after() {
    return after;
  }
}
