package balhost;

import java.time.Instant;

/**
 * A timer of this plugin is due.
 *
 * @param id of the event, the same at every attempt
 * @param session of the event that set it, or as named then; "": none
 * @param device of the event that set it, or as named then; "": none
 * @param key its name
 * @param data what {@link Tx#schedule} was given; empty: none
 * @param due when it was to come
 * @param attempt 1 at the first attempt
 */
public record Timer(
    String id, String session, String device, String key, Json data, Instant due, int attempt) {

  /** A timer for a test. What stays empty gets a value from the fake host. */
  public static Timer of(String key, Object data) {
    return new Timer("", "", "", key, data == null ? Json.NONE : Json.of(data), null, 1);
  }
}
