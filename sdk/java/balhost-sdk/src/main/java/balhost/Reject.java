package balhost;

/**
 * What a handler throws to send its event to the dead letters at once. There it stays, with the
 * reason, until a person replays or deletes it. Use it when no later attempt can succeed.
 */
public final class Reject extends RuntimeException {
  private static final long serialVersionUID = 1;

  /** The reason is for the person who looks at the dead letters. */
  public Reject(String reason) {
    super(reason);
  }

  /** The reason, and what has led to it. */
  public Reject(String reason, Throwable cause) {
    super(reason, cause);
  }
}
