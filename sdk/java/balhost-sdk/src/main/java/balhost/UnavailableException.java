package balhost;

/** The host can't do it now: its disk is filling up, or it is stopping. It may work later. */
public final class UnavailableException extends RuntimeException {
  private static final long serialVersionUID = 1;

  private final String messageId;

  UnavailableException(String text, String messageId) {
    super(text);
    this.messageId = messageId;
  }

  /**
   * After {@link Host#send}: the id of the downstream, of which nobody knows whether the host has
   * stored it. Send it again with this id, and it goes out once at most. Else empty.
   */
  public String messageId() {
    return messageId;
  }
}
