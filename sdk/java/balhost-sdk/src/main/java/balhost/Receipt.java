package balhost;

import java.time.Instant;

/**
 * A device has got a downstream of this plugin.
 *
 * @param id of the event, the same at every attempt
 * @param session the session by which it came
 * @param originalMessageId of the downstream
 * @param device the device's token
 * @param category the app's package name or bundle id
 * @param status as the device or the transport says it
 * @param sent when the receipt was sent; null: not known
 * @param attempt 1 at the first attempt
 */
public record Receipt(
    String id,
    String session,
    String originalMessageId,
    String device,
    String category,
    String status,
    Instant sent,
    int attempt) {

  /** A receipt for a test. What stays empty gets a value from the fake host. */
  public static Receipt of(String originalMessageId, String device) {
    return new Receipt("", "", originalMessageId, device, "", "", null, 1);
  }
}
