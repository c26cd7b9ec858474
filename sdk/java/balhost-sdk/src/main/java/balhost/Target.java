package balhost;

/**
 * Where a downstream goes.
 *
 * @param kind what the value is
 * @param value a registration token, an installation id, a topic's name or a condition
 */
public record Target(Kind kind, String value) {
  /** The kinds of targets. NONE is only in an outcome whose target is of a kind not known here. */
  public enum Kind {
    NONE,
    TOKEN,
    FID,
    TOPIC,
    CONDITION
  }

  static final Target NONE = new Target(Kind.NONE, "");

  /** One device by its registration token, or a device group by its notification key. */
  public static Target token(String token) {
    return new Target(Kind.TOKEN, token);
  }

  /**
   * One installation of an app by its Firebase installation id. An installation answers to a token
   * or to its id, never to both: use the kind that the app gave. A session with CCS takes no ids.
   */
  public static Target fid(String id) {
    return new Target(Kind.FID, id);
  }

  /** The subscribers of a topic. The name has no "/topics/" before it. */
  public static Target topic(String name) {
    return new Target(Kind.TOPIC, name);
  }

  /** Devices by an expression over topics, as in "'a' in topics &amp;&amp; 'b' in topics". */
  public static Target condition(String expression) {
    return new Target(Kind.CONDITION, expression);
  }
}
