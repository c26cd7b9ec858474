package balhost.testing;

import balhost.Downstream;
import java.time.Duration;
import java.util.List;
import java.util.Locale;

/**
 * How an event ended.
 *
 * @param status how the handler's last run ended
 * @param reason what the handler has thrown; "" if it is done
 * @param delay of a {@link balhost.Retry}; zero: the host would decide
 * @param sent what was committed with this event, in order
 * @param runs how often the handler ran: more than once after conflicts
 */
public record Result(
    Status status, String reason, Duration delay, List<Downstream> sent, int runs) {
  /** The ends of a handler's run. */
  public enum Status {
    /** It returned, and its Tx was committed. */
    DONE,
    /** It threw: a real host would give the event again. */
    RETRIED,
    /** It threw Reject: a real host would put the event into the dead letters. */
    REJECTED,
    /** The event came back, because the plugin stopped. */
    RELEASED,
    /** A timer was cancelled or set anew while its handler ran, and nothing was committed. */
    CANCELED
  }

  /** Fails the test unless the event is done. */
  public Result orFail() {
    if (status != Status.DONE) {
      throw new AssertionError(
          "the event was " + status.name().toLowerCase(Locale.ROOT) + ": " + reason);
    }
    return this;
  }
}
