package balhost;

import balhost.plugin.v1.Delivery;
import com.google.protobuf.ByteString;
import java.time.Duration;
import java.time.Instant;
import java.util.regex.Pattern;

/** The records of this package as the wire has them, and back. It is for hosts in tests. */
public final class Wire {
  /** Spec: W3C Trace Context §3.2, version 00. */
  private static final Pattern TRACEPARENT =
      Pattern.compile("00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}");

  private Wire() {}

  static Upstream upstream(balhost.plugin.v1.Upstream u, int attempt) {
    var data = u.getData();
    int from = u.getDataStart();
    int to = u.getDataEnd();
    if (data.isEmpty() && from >= 0 && from < to && to <= u.getRaw().size()) {
      data = u.getRaw().substring(from, to);
    }
    return new Upstream(
        u.getId(),
        u.getSession(),
        u.getDevice(),
        u.getCategory(),
        u.getMessageId(),
        Json.ofBytes(data),
        Json.ofBytes(u.getRaw()),
        attempt,
        instant(u.getReceivedMs()));
  }

  static Outcome outcome(balhost.plugin.v1.Outcome o, int attempt) {
    return new Outcome(
        o.getId(),
        o.getSession(),
        o.getMessageId(),
        o.getGroup(),
        target(o.getTo()),
        status(o.getStatus()),
        o.getCode(),
        o.getDescription(),
        o.getNewToken(),
        o.getGone(),
        o.getAttempts(),
        attempt,
        Json.ofBytes(o.getContext()));
  }

  static Receipt receipt(balhost.plugin.v1.Receipt r, int attempt) {
    return new Receipt(
        r.getId(),
        r.getSession(),
        r.getOriginalMessageId(),
        r.getDevice(),
        r.getCategory(),
        r.getStatus(),
        instant(r.getSentMs()),
        attempt);
  }

  static Timer timer(balhost.plugin.v1.Timer t, int attempt) {
    return new Timer(
        t.getId(),
        t.getSession(),
        t.getDevice(),
        t.getKey(),
        Json.ofBytes(t.getData()),
        Instant.ofEpochMilli(t.getDueMs()),
        attempt);
  }

  /** The event's id; "" for an event of an unknown kind. */
  static String id(Delivery d) {
    return switch (d.getEventCase()) {
      case UPSTREAM -> d.getUpstream().getId();
      case OUTCOME -> d.getOutcome().getId();
      case RECEIPT -> d.getReceipt().getId();
      case TIMER -> d.getTimer().getId();
      case EVENT_NOT_SET -> "";
    };
  }

  /** The event's session. */
  static String session(Delivery d) {
    return switch (d.getEventCase()) {
      case UPSTREAM -> d.getUpstream().getSession();
      case OUTCOME -> d.getOutcome().getSession();
      case RECEIPT -> d.getReceipt().getSession();
      case TIMER -> d.getTimer().getSession();
      case EVENT_NOT_SET -> "";
    };
  }

  /** A downstream as the wire has it. It is not checked. */
  public static balhost.plugin.v1.Downstream downstream(Downstream d) {
    var out =
        balhost.plugin.v1.Downstream.newBuilder()
            .setMessageId(d.messageId())
            .setSession(d.session())
            .setTo(target(d.to()))
            .setData(object(d.data()))
            .setNotification(object(d.notification()))
            .setGroup(d.group())
            .setContext(d.context().bytes())
            .setReplace(d.replace());
    if (!d.options().equals(Options.NONE)) {
      out.setOptions(options(d.options()));
    }
    if (TRACEPARENT.matcher(String.valueOf(d.traceparent())).matches()) {
      out.setTraceparent(d.traceparent()); // a trace is never a reason not to send
    }
    if (d.notBefore() != null) {
      out.setNotBeforeMs(millis(d.notBefore()));
    }
    return out.build();
  }

  /** A downstream that came off the wire. It is not checked. */
  public static Downstream downstream(balhost.plugin.v1.Downstream d) {
    return new Downstream(
        target(d.getTo()),
        Json.ofBytes(d.getData()),
        Json.ofBytes(d.getNotification()),
        options(d.getOptions()),
        d.getGroup(),
        d.getMessageId(),
        d.getSession(),
        Json.ofBytes(d.getContext()),
        instant(d.getNotBeforeMs()),
        d.getReplace(),
        d.getTraceparent());
  }

  private static Options options(balhost.plugin.v1.Options o) {
    return new Options(
        o.hasTtlS() ? Duration.ofSeconds(o.getTtlS()) : null,
        o.getPriority(),
        o.getCollapseKey(),
        o.getDryRun(),
        o.getReceiptRequested(),
        o.getContentAvailable(),
        o.getMutableContent(),
        Json.ofBytes(o.getAndroid()),
        Json.ofBytes(o.getApns()),
        Json.ofBytes(o.getWebpush()));
  }

  /** An upstream as the wire has it, with its data once. */
  public static balhost.plugin.v1.Upstream upstream(Upstream u) {
    var out =
        balhost.plugin.v1.Upstream.newBuilder()
            .setId(u.id())
            .setSession(u.session())
            .setDevice(u.from())
            .setCategory(u.category())
            .setMessageId(u.messageId())
            .setRaw(u.raw().bytes())
            .setReceivedMs(millisOrNone(u.received()));
    int at = u.raw().toString().indexOf(u.data().toString());
    if (at < 0 || u.data().isEmpty()) {
      return out.setData(u.data().bytes()).build();
    }
    int start = Check.bytes(u.raw().toString().substring(0, at));
    return out.setDataStart(start).setDataEnd(start + u.data().bytes().size()).build();
  }

  /** An outcome as the wire has it. */
  public static balhost.plugin.v1.Outcome outcome(Outcome o) {
    return balhost.plugin.v1.Outcome.newBuilder()
        .setId(o.id())
        .setSession(o.session())
        .setMessageId(o.messageId())
        .setGroup(o.group())
        .setTo(target(o.to()))
        .setStatus(o.status().toString())
        .setCode(o.code())
        .setDescription(o.description())
        .setNewToken(o.newToken())
        .setGone(o.gone())
        .setAttempts(o.attempts())
        .setContext(o.context().bytes())
        .build();
  }

  /** A receipt as the wire has it. */
  public static balhost.plugin.v1.Receipt receipt(Receipt r) {
    return balhost.plugin.v1.Receipt.newBuilder()
        .setId(r.id())
        .setSession(r.session())
        .setOriginalMessageId(r.originalMessageId())
        .setDevice(r.device())
        .setCategory(r.category())
        .setStatus(r.status())
        .setSentMs(millisOrNone(r.sent()))
        .build();
  }

  /** A timer as the wire has it. */
  public static balhost.plugin.v1.Timer timer(Timer t) {
    return balhost.plugin.v1.Timer.newBuilder()
        .setId(t.id())
        .setSession(t.session())
        .setDevice(t.device())
        .setKey(t.key())
        .setData(t.data().bytes())
        .setDueMs(t.due().toEpochMilli())
        .build();
  }

  private static long millisOrNone(Instant at) {
    return at == null ? 0 : at.toEpochMilli();
  }

  /** The JSON null is no object: none. */
  private static ByteString object(Json json) {
    return json.toString().equals("null") ? ByteString.EMPTY : json.bytes();
  }

  /** Not before the moment: rounded up to whole milliseconds. */
  static long millis(Instant at) {
    return at.plusNanos(999_999).toEpochMilli();
  }

  private static Instant instant(long ms) {
    return ms == 0 ? null : Instant.ofEpochMilli(ms);
  }

  private static balhost.plugin.v1.Target target(Target t) {
    var out = balhost.plugin.v1.Target.newBuilder();
    switch (t.kind()) {
      case TOKEN -> out.setToken(t.value());
      case FID -> out.setFid(t.value());
      case TOPIC -> out.setTopic(t.value());
      case CONDITION -> out.setCondition(t.value());
      case NONE -> {}
    }
    return out.build();
  }

  private static Target target(balhost.plugin.v1.Target t) {
    return switch (t.getToCase()) {
      case TOKEN -> Target.token(t.getToken());
      case FID -> Target.fid(t.getFid());
      case TOPIC -> Target.topic(t.getTopic());
      case CONDITION -> Target.condition(t.getCondition());
      case TO_NOT_SET -> Target.NONE;
    };
  }

  private static Outcome.Status status(String s) {
    return switch (s) {
      case "acked" -> Outcome.Status.ACKED;
      case "failed" -> Outcome.Status.FAILED;
      case "expired" -> Outcome.Status.EXPIRED;
      case "canceled" -> Outcome.Status.CANCELED;
      default -> Outcome.Status.OTHER;
    };
  }

  private static balhost.plugin.v1.Options options(Options o) {
    var out =
        balhost.plugin.v1.Options.newBuilder()
            .setPriority(o.priority())
            .setCollapseKey(o.collapseKey())
            .setDryRun(o.dryRun())
            .setReceiptRequested(o.receiptRequested())
            .setContentAvailable(o.contentAvailable())
            .setMutableContent(o.mutableContent())
            .setAndroid(o.android().bytes())
            .setApns(o.apns().bytes())
            .setWebpush(o.webpush().bytes());
    if (o.ttl() != null) {
      out.setTtlS(o.ttl().toSeconds());
    }
    return out.build();
  }
}
