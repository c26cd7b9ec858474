package balhost;

import java.util.Locale;

/**
 * How a downstream of this plugin ended.
 *
 * @param id of the event, the same at every attempt
 * @param session the session by which it went
 * @param messageId of the downstream
 * @param group of the downstream, or ""
 * @param to where it went
 * @param status how it ended
 * @param code the transport's code, or ""; use {@code gone} instead where it says enough
 * @param description the transport's words, or ""
 * @param newToken the token to use from now on, or ""
 * @param gone the target does not exist any more, or is of the wrong kind: forget it
 * @param attempts how often it was tried
 * @param attempt at this event; 1 at the first
 * @param context of the downstream
 */
public record Outcome(
    String id,
    String session,
    String messageId,
    String group,
    Target to,
    Status status,
    String code,
    String description,
    String newToken,
    boolean gone,
    int attempts,
    int attempt,
    Json context) {

  /** The ends of a downstream. */
  public enum Status {
    /** One that this SDK does not know. */
    OTHER,
    /** The transport has taken it. */
    ACKED,
    /** It will not arrive; the code says why. */
    FAILED,
    /** Its TTL ran out before it could go out. */
    EXPIRED,
    /** It was canceled or replaced before it went out. */
    CANCELED;

    /** The word of the host: "acked", "failed", "expired" or "canceled". */
    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /** An outcome for a test. What stays empty gets a value from the fake host. */
  public static Outcome of(Target to, Status status) {
    return new Outcome("", "", "", "", to, status, "", "", "", false, 1, 1, Json.NONE);
  }

  /** For a test: of the downstream with this id. */
  public Outcome withMessageId(String m) {
    return new Outcome(
        id,
        session,
        m,
        group,
        to,
        status,
        code,
        description,
        newToken,
        gone,
        attempts,
        attempt,
        context);
  }

  /** For a test: with this code. */
  public Outcome withCode(String c) {
    return new Outcome(
        id,
        session,
        messageId,
        group,
        to,
        status,
        c,
        description,
        newToken,
        gone,
        attempts,
        attempt,
        context);
  }

  /** For a test: with this new token. */
  public Outcome withNewToken(String t) {
    return new Outcome(
        id,
        session,
        messageId,
        group,
        to,
        status,
        code,
        description,
        t,
        gone,
        attempts,
        attempt,
        context);
  }

  /** For a test: of a target that is gone. */
  public Outcome asGone() {
    return new Outcome(
        id,
        session,
        messageId,
        group,
        to,
        status,
        code,
        description,
        newToken,
        true,
        attempts,
        attempt,
        context);
  }

  /** For a test: with this context. */
  public Outcome withContext(Object about) {
    return new Outcome(
        id,
        session,
        messageId,
        group,
        to,
        status,
        code,
        description,
        newToken,
        gone,
        attempts,
        attempt,
        Json.of(about));
  }
}
