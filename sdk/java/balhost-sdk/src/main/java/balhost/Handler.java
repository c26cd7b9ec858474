package balhost;

/**
 * Handles one event. What it did through its {@link Tx} is committed when it returns, all or
 * nothing. When it throws, nothing is committed: {@link Reject} sends the event to the dead
 * letters, after {@link Retry} or anything else it comes again.
 *
 * @param <E> {@link Upstream}, {@link Outcome}, {@link Receipt} or {@link Timer}
 */
@FunctionalInterface
public interface Handler<E> {
  /** Handles the event. When the handler must end, its thread is interrupted. */
  void handle(Tx tx, E event) throws Exception;
}
