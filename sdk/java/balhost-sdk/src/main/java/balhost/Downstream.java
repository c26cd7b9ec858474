package balhost;

import java.time.Instant;

/**
 * A message to a device, a topic or a condition. Begin with {@link #to}: {@code
 * Downstream.to(token(m.from())).data(Map.of("sky", "clear"))}.
 *
 * @param to where it goes
 * @param data an object whose values are all strings; may be empty
 * @param notification as data
 * @param options FCM's delivery options
 * @param group downstreams of one group and session go out one after the other; "": none
 * @param messageId the id; "": the SDK makes one. In a handler that is the best: the same at every
 *     attempt
 * @param session the host's session; "": the event's, outside of a handler the only one
 * @param context what the outcome brings back
 * @param notBefore it goes out at this time or later; null: at once
 * @param replace it takes the place of an older one with the same text and target that has not gone
 *     out; "": none
 * @param traceparent the span that makes it, as W3C's Trace Context writes it; "": in a handler the
 *     span of the attempt, outside of one the host decides. What is no traceparent is left out
 */
public record Downstream(
    Target to,
    Json data,
    Json notification,
    Options options,
    String group,
    String messageId,
    String session,
    Json context,
    Instant notBefore,
    String replace,
    String traceparent) {

  /** A downstream without anything but its target. */
  public static Downstream to(Target target) {
    return new Downstream(
        target, Json.NONE, Json.NONE, Options.NONE, "", "", "", Json.NONE, null, "", "");
  }

  /** With this data: a map or record with string values, or a {@link Json}. */
  public Downstream data(Object fields) {
    return new Downstream(
        to,
        Json.of(fields),
        notification,
        options,
        group,
        messageId,
        session,
        context,
        notBefore,
        replace,
        traceparent);
  }

  /** With this notification: a map or record with string values, or a {@link Json}. */
  public Downstream notification(Object fields) {
    return new Downstream(
        to,
        data,
        Json.of(fields),
        options,
        group,
        messageId,
        session,
        context,
        notBefore,
        replace,
        traceparent);
  }

  /** With these options. */
  public Downstream options(Options o) {
    return new Downstream(
        to,
        data,
        notification,
        o,
        group,
        messageId,
        session,
        context,
        notBefore,
        replace,
        traceparent);
  }

  /** In this group. */
  public Downstream group(String name) {
    return new Downstream(
        to,
        data,
        notification,
        options,
        name,
        messageId,
        session,
        context,
        notBefore,
        replace,
        traceparent);
  }

  /** With this id. */
  public Downstream messageId(String id) {
    return new Downstream(
        to,
        data,
        notification,
        options,
        group,
        id,
        session,
        context,
        notBefore,
        replace,
        traceparent);
  }

  /** By this session. */
  public Downstream session(String name) {
    return new Downstream(
        to,
        data,
        notification,
        options,
        group,
        messageId,
        name,
        context,
        notBefore,
        replace,
        traceparent);
  }

  /** With this context, which becomes JSON. */
  public Downstream context(Object about) {
    return new Downstream(
        to,
        data,
        notification,
        options,
        group,
        messageId,
        session,
        Json.of(about),
        notBefore,
        replace,
        traceparent);
  }

  /** Not before this time. */
  public Downstream notBefore(Instant at) {
    return new Downstream(
        to,
        data,
        notification,
        options,
        group,
        messageId,
        session,
        context,
        at,
        replace,
        traceparent);
  }

  /** In the place of the older one with the same text. */
  public Downstream replace(String text) {
    return new Downstream(
        to,
        data,
        notification,
        options,
        group,
        messageId,
        session,
        context,
        notBefore,
        text,
        traceparent);
  }

  /** In the trace of this span: what a propagator of OpenTelemetry injects as traceparent. */
  public Downstream traceparent(String span) {
    return new Downstream(
        to,
        data,
        notification,
        options,
        group,
        messageId,
        session,
        context,
        notBefore,
        replace,
        span);
  }
}
