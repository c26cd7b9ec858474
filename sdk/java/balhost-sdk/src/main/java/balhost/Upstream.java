package balhost;

import java.time.Instant;

/**
 * A message from a device.
 *
 * @param id of the event, the same at every attempt
 * @param session the host's session by which it came
 * @param from the device's token: answer to {@code Target.token(m.from())}
 * @param category the app's package name or bundle id
 * @param messageId what the device has called it
 * @param data what the app sent; empty if the message has no data
 * @param raw the whole message as it came
 * @param attempt 1 at the first attempt
 * @param received when the host got it
 */
public record Upstream(
    String id,
    String session,
    String from,
    String category,
    String messageId,
    Json data,
    Json raw,
    int attempt,
    Instant received) {

  /** A message for a test. What stays empty gets a value from the fake host. */
  public static Upstream of(String from, Object data) {
    return new Upstream("", "", from, "", "", Json.of(data), Json.NONE, 1, null);
  }

  /** For a test: with this event id. */
  public Upstream withId(String i) {
    return new Upstream(i, session, from, category, messageId, data, raw, attempt, received);
  }

  /** For a test: by this session. */
  public Upstream withSession(String s) {
    return new Upstream(id, s, from, category, messageId, data, raw, attempt, received);
  }

  /** For a test: of this app. */
  public Upstream withCategory(String c) {
    return new Upstream(id, session, from, c, messageId, data, raw, attempt, received);
  }

  /** For a test: as this attempt. */
  public Upstream withAttempt(int n) {
    return new Upstream(id, session, from, category, messageId, data, raw, n, received);
  }
}
