package balhost;

/**
 * A call that can never work. The text says why, and what to do.
 *
 * <p>If a handler throws it, the event is tried again, as after any other exception: the fault may
 * be in the handler's code, and a new version of the plugin then handles the event. If the event
 * itself is at fault, throw {@link Reject}.
 */
public final class InvalidException extends RuntimeException {
  private static final long serialVersionUID = 1;

  InvalidException(String text) {
    super(text);
  }
}
