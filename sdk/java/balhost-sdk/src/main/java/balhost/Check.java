package balhost;

import balhost.plugin.v1.Limits;
import com.google.gson.JsonParseException;
import com.google.gson.Strictness;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonToken;
import java.io.IOException;
import java.io.StringReader;
import java.time.Duration;
import java.time.Instant;
import java.util.HashSet;
import java.util.Locale;
import java.util.function.BiConsumer;
import java.util.regex.Pattern;

/** What can never be committed is found here, before it is sent. */
final class Check {
  /** The limits of PROTOCOL.md, for a host that tells none. */
  static final Limits LIMITS =
      Limits.newBuilder()
          .setChanges(1000)
          .setChangeBytes(1 << 20)
          .setKeyBytes(512)
          .setValueBytes((1 << 20) - (16 << 10))
          .setCalls(256)
          .setFrameBytes(8 << 20)
          .setInFlight(256)
          .setExtendMs(10_000)
          .setPingMs(10_000)
          .setErrorBytes(4 << 10)
          .build();

  private static final int MAX_ID = 255;
  private static final int MAX_TARGET = 4096;
  private static final int MAX_CONTEXT = 64 << 10;
  private static final int MAX_TEXT = 32 << 10;
  private static final int MAX_PAYLOAD = 4096;
  private static final int MAX_TOPIC_PAYLOAD = 2048;
  private static final int MAX_DEVICE = 4096;
  private static final Duration MAX_TTL = Duration.ofDays(28);
  private static final Instant EARLIEST = Instant.parse("2000-01-01T00:00:00Z");
  private static final Instant LATEST = Instant.parse("2200-01-01T00:00:00Z");
  private static final Pattern TOPIC = Pattern.compile("[a-zA-Z0-9._~%-]+");
  private static final Pattern SPACE = Pattern.compile("[ \t\r\n]");

  private Check() {}

  /** The told limits, and those of PROTOCOL.md where the host tells nothing. */
  static Limits limits(Limits told) {
    var all = LIMITS.toBuilder();
    if (told.getChanges() > 0) {
      all.setChanges(told.getChanges());
    }
    if (told.getChangeBytes() > 0) {
      all.setChangeBytes(told.getChangeBytes());
    }
    if (told.getKeyBytes() > 0) {
      all.setKeyBytes(told.getKeyBytes());
    }
    if (told.getValueBytes() > 0) {
      all.setValueBytes(told.getValueBytes());
    }
    if (told.getCalls() > 0) {
      all.setCalls(told.getCalls());
    }
    if (told.getFrameBytes() > 0) {
      all.setFrameBytes(told.getFrameBytes());
    }
    if (told.getExtendMs() > 0) {
      all.setExtendMs(told.getExtendMs());
    }
    if (told.getErrorBytes() > 0) {
      all.setErrorBytes(told.getErrorBytes());
    }
    return all.build();
  }

  /** How many bytes a text has in UTF-8. Half of a surrogate pair counts one. */
  static int bytes(String s) {
    int n = s.length();
    for (int i = 0; i < s.length(); i++) {
      char c = s.charAt(i);
      if (c >= 0x800 && !Character.isSurrogate(c)) {
        n += 2;
      } else if (c >= 0x80 && !Character.isSurrogate(c)) {
        n++;
      } else if (Character.isHighSurrogate(c)
          && i + 1 < s.length()
          && Character.isLowSurrogate(s.charAt(i + 1))) {
        n += 2;
        i++;
      }
    }
    return n;
  }

  /** Where half of a surrogate pair is; -1: nowhere. */
  private static int halfSurrogate(String s) {
    for (int i = 0; i < s.length(); i++) {
      char c = s.charAt(i);
      if (!Character.isSurrogate(c)) {
        continue;
      }
      if (Character.isLowSurrogate(c)
          || i + 1 == s.length()
          || !Character.isLowSurrogate(s.charAt(i + 1))) {
        return i;
      }
      i++;
    }
    return -1;
  }

  static void wellFormed(String what, String s) {
    int at = halfSurrogate(s);
    if (at >= 0) {
      throw new InvalidException(
          what
              + " has half a surrogate pair at character "
              + at
              + ": write both halves; do not cut text inside a character");
    }
  }

  /** The text with all halves of surrogate pairs replaced, so that it is UTF-8. */
  static String cleaned(String s) {
    int at = halfSurrogate(s);
    if (at < 0) {
      return s;
    }
    var out = new StringBuilder(s);
    for (; at >= 0; at = halfSurrogate(out.toString())) {
      out.setCharAt(at, '\uFFFD');
    }
    return out.toString();
  }

  /** A text for an error: short, and in quotes. */
  static String quoted(String s) {
    var end = Math.min(s.length(), 64);
    return '"' + cleaned(s.substring(0, end)) + (end < s.length() ? "…" : "") + '"';
  }

  static void key(String what, String key, Limits limits) {
    wellFormed(what, key);
    int n = bytes(key);
    if (n == 0 || n > limits.getKeyBytes()) {
      throw new InvalidException(
          "%s %s of %d bytes: it must be 1 to %d bytes of UTF-8"
              .formatted(what, quoted(key), n, limits.getKeyBytes()));
    }
  }

  static void prefix(String what, String text, Limits limits) {
    if (!text.isEmpty()) {
      key(what, text, limits);
    }
  }

  static void value(String what, Json value, Limits limits) {
    if (value.bytes().size() > limits.getValueBytes()) {
      throw new InvalidException(
          "%s has %d bytes as JSON, at most %d are possible: split it over several keys, or keep it elsewhere"
              .formatted(what, value.bytes().size(), limits.getValueBytes()));
    }
    json(what, value);
  }

  static void lane(String timer, Lane lane, Limits limits) {
    if (!lane.name().isEmpty()) {
      key("timer " + quoted(timer) + ": lane", lane.name(), limits);
      return;
    }
    wellFormed("the device of a lane", lane.device());
    wellFormed("the session of a lane", lane.session());
    int n = bytes(lane.device());
    if (n == 0 || n > MAX_DEVICE) {
      throw new InvalidException(
          "timer %s: the device of its lane has %d bytes: it must be 1 to %d, as Upstream.from"
              .formatted(quoted(timer), n, MAX_DEVICE));
    }
  }

  static void due(String timer, Instant at) {
    if (at == null || !at.isBefore(LATEST)) {
      throw new InvalidException(
          "timer %s is set for %s: use a time before the year 2200".formatted(quoted(timer), at));
    }
  }

  /** A message id, a group, a collapse key or a replace. */
  static void id(String field, String s) {
    int n = bytes(s);
    if (n == 0 || n > MAX_ID) {
      throw new InvalidException(
          "%s has %d bytes: use 1 to %d, for example a hash".formatted(field, n, MAX_ID));
    }
    readable(field, s);
  }

  private static void optionalId(String field, String s) {
    if (!s.isEmpty()) {
      id(field, s);
    }
  }

  private static void readable(String field, String s) {
    wellFormed(field, s);
    for (int i = 0; i < s.length(); i++) {
      char c = s.charAt(i);
      if (c < 0x20 || c == 0x7F || c >= 0xFFFE) {
        throw new InvalidException(
            "%s has U+%04X at character %d, which nobody can read: leave it out"
                .formatted(field, (int) c, i));
      }
    }
  }

  /** What no transport can carry. */
  static void downstream(Downstream d) {
    target(d.to());
    options(d.options());
    optionalId("message_id", d.messageId());
    optionalId("group", d.group());
    optionalId("replace", d.replace());
    wellFormed("session", d.session());
    if (d.context().bytes().size() > MAX_CONTEXT) {
      throw new InvalidException(
          "context has %d bytes: use at most %d, and keep the rest in the plugin's state"
              .formatted(d.context().bytes().size(), MAX_CONTEXT));
    }
    json("context", d.context());
    if (d.notBefore() != null
        && (d.notBefore().isBefore(EARLIEST) || d.notBefore().isAfter(LATEST))) {
      throw new InvalidException(
          "not_before is " + d.notBefore() + ": use a time from 2000 to 2200, or none");
    }
    int n =
        strings("data", d.data(), Check::dataKey)
            + strings("notification", d.notification(), Check::noteKey);
    boolean device = d.to().kind() == Target.Kind.TOKEN || d.to().kind() == Target.Kind.FID;
    int most = device ? MAX_PAYLOAD : MAX_TOPIC_PAYLOAD;
    if (n > most) {
      throw new InvalidException(
          "data and notification have %d bytes of keys and values: FCM takes at most %d %s; send less, or an address from which the app can fetch it"
              .formatted(n, most, device ? "to a device" : "to a topic or condition"));
    }
  }

  private static void target(Target t) {
    var field = "to." + t.kind().name().toLowerCase(Locale.ROOT);
    if (t.kind() == Target.Kind.NONE || t.value() == null || t.value().isEmpty()) {
      throw new InvalidException("to has no target: give a token, an fid, a topic or a condition");
    }
    if (bytes(t.value()) > MAX_TARGET) {
      throw new InvalidException(
          "%s has %d bytes: use at most %d".formatted(field, bytes(t.value()), MAX_TARGET));
    }
    readable(field, t.value());
    if (t.value().startsWith("/topics/")) {
      throw new InvalidException(
          field + " begins with /topics/: use Target.topic with the name after it");
    }
    boolean device = t.kind() == Target.Kind.TOKEN || t.kind() == Target.Kind.FID;
    if (device && SPACE.matcher(t.value()).find()) {
      throw new InvalidException(field + " has a space: use it exactly as the app got it");
    }
    if (t.kind() == Target.Kind.TOPIC && !TOPIC.matcher(t.value()).matches()) {
      throw new InvalidException(
          field
              + " "
              + quoted(t.value())
              + " is not a topic's name: use only letters, digits and - _ . ~ %");
    }
  }

  private static void options(Options o) {
    if (o.ttl() != null) {
      if (o.ttl().isNegative() || o.ttl().compareTo(MAX_TTL) > 0 || o.ttl().getNano() != 0) {
        throw new InvalidException(
            "options.ttl is "
                + Durations.format(o.ttl())
                + ": use whole seconds from 0 (now or never) to 28 days, or none for four weeks");
      }
    }
    if (!o.priority().isEmpty() && !o.priority().equals("normal") && !o.priority().equals("high")) {
      throw new InvalidException(
          "options.priority is " + quoted(o.priority()) + ": use \"normal\" or \"high\", or none");
    }
    optionalId("options.collapse_key", o.collapseKey());
    block("options.android", o.android());
    block("options.apns", o.apns());
    block("options.webpush", o.webpush());
  }

  private static void block(String field, Json block) {
    if (block.isEmpty()) {
      return;
    }
    size(field, block);
    if (json(field, block) != JsonToken.BEGIN_OBJECT) {
      throw new InvalidException(field + " is not a JSON object: give the block of one platform");
    }
  }

  private static void size(String field, Json text) {
    if (text.bytes().size() > MAX_TEXT) {
      throw new InvalidException(
          "%s is %d bytes of JSON text: use at most %d"
              .formatted(field, text.bytes().size(), MAX_TEXT));
    }
  }

  private static void dataKey(String key, String value) {
    if (key.equals("from")
        || key.equals("message_type")
        || key.startsWith("google")
        || key.startsWith("gcm")) {
      throw new InvalidException(
          "data."
              + key
              + " is a key that FCM reserves: choose another; from, message_type, google… and gcm…"
              + " are reserved");
    }
  }

  private static void noteKey(String key, String value) {
    if (!key.endsWith("_loc_args")) {
      return;
    }
    try (var in = strict(value)) {
      in.beginArray();
    } catch (IOException | IllegalStateException e) {
      throw new InvalidException(
          "notification."
              + key
              + " is not a JSON array in a string: write it like \"[\\\"Ann\\\",\\\"3\\\"]\"");
    }
  }

  private static JsonReader strict(String text) {
    var in = new JsonReader(new StringReader(text));
    in.setStrictness(Strictness.STRICT);
    return in;
  }

  /** Checks an object of strings, and counts the bytes of its keys and values. */
  private static int strings(String field, Json object, BiConsumer<String, String> check) {
    if (object.isEmpty()) {
      return 0;
    }
    size(field, object);
    int n = 0;
    try (var in = strict(object.toString())) {
      if (in.peek() == JsonToken.NULL) {
        return 0;
      }
      if (in.peek() != JsonToken.BEGIN_OBJECT) {
        throw new InvalidException(
            field + " is not an object: use a map or record with string values");
      }
      in.beginObject();
      var seen = new HashSet<String>();
      while (in.hasNext()) {
        var key = in.nextName();
        if (!seen.add(key)) {
          throw new InvalidException(field + "." + key + " is there twice: leave one out");
        }
        if (in.peek() != JsonToken.STRING) {
          throw new InvalidException(
              "%s.%s is %s: FCM takes strings only; make it one"
                  .formatted(field, cleaned(key), in.peek().name().toLowerCase(Locale.ROOT)));
        }
        var value = in.nextString();
        wellFormed(field, key);
        wellFormed(field + "." + key, value);
        check.accept(key, value);
        n += bytes(key) + bytes(value);
      }
      in.endObject();
      if (in.peek() != JsonToken.END_DOCUMENT) {
        throw new InvalidException(field + " has something behind its object");
      }
    } catch (IOException | JsonParseException e) {
      throw new InvalidException(field + " is not JSON: " + e.getMessage());
    }
    return n;
  }

  /** Checks that a text is JSON, and returns what it begins with. Empty is fine. */
  static JsonToken json(String field, Json text) {
    if (text.isEmpty()) {
      return JsonToken.END_DOCUMENT;
    }
    try (var in = strict(text.toString())) {
      var first = in.peek();
      in.skipValue();
      if (in.peek() != JsonToken.END_DOCUMENT) {
        throw new InvalidException(field + " has something behind its JSON");
      }
      return first;
    } catch (IOException | IllegalStateException e) {
      throw new InvalidException(field + " is not JSON: " + e.getMessage());
    }
  }

  /** What the session's transport can't carry. */
  static void fits(Downstream d, String session, Transport t) {
    var kind = d.to().kind();
    var o = d.options();
    boolean blocks = !o.android().isEmpty() || !o.apns().isEmpty() || !o.webpush().isEmpty();
    String wrong = null;
    if (t == Transport.HUAWEI) {
      wrong = "it has Huawei's uplink alone, by which nothing can be sent";
    } else if (t == Transport.CCS && kind == Target.Kind.FID) {
      wrong = "CCS knows no installation ids: use the registration token, or a session with fcm_v1";
    } else if (t == Transport.GATEWAY
        && (kind == Target.Kind.TOPIC || kind == Target.Kind.CONDITION)) {
      wrong =
          "a gateway reaches single devices only: send to each device, or give the session an"
              + " fcm_v1 block";
    } else if (t == Transport.GATEWAY && o.dryRun()) {
      wrong = "a gateway has no dry run: leave it out, or give the session an fcm_v1 block";
    } else if (blocks && (t == Transport.CCS || t == Transport.GATEWAY)) {
      wrong = "the raw blocks android, apns and webpush need a session with fcm_v1: leave them out";
    } else if (t == Transport.FCM_V1 || t == Transport.GATEWAY) {
      strings("data", d.data(), Check::ownKey);
    }
    if (wrong != null) {
      throw new InvalidException(
          "session %s (%s) cannot carry it: %s".formatted(quoted(session), t.wire, wrong));
    }
  }

  private static void ownKey(String key, String value) {
    if (key.equals("bal_id") || key.equals("bal_seq") || key.equals("bal_receipt")) {
      throw new InvalidException("data." + key + " is the host's own key: choose another");
    }
  }
}
