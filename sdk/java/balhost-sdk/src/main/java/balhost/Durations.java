package balhost;

import com.google.gson.JsonParseException;
import java.math.BigDecimal;
import java.time.Duration;
import java.util.Map;
import java.util.regex.Pattern;

/** Times as config.hcl has them: "1m30s", "250ms". */
final class Durations {
  private static final Pattern WHOLE = Pattern.compile("-?(0|([0-9.]+(h|ms|m|s|us|µs|ns))+)");
  private static final Pattern PART = Pattern.compile("([0-9]+(?:\\.[0-9]*)?)(h|ms|m|s|us|µs|ns)");
  private static final Map<String, Long> NANOS =
      Map.of(
          "h",
          3_600_000_000_000L,
          "m",
          60_000_000_000L,
          "s",
          1_000_000_000L,
          "ms",
          1_000_000L,
          "us",
          1_000L,
          "µs",
          1_000L,
          "ns",
          1L);

  private Durations() {}

  static Duration parse(String text) {
    if (!WHOLE.matcher(text).matches()) {
      throw new JsonParseException("\"" + text + "\" is not a duration: write it like \"1m30s\"");
    }
    try {
      var nanos = BigDecimal.ZERO;
      for (var part = PART.matcher(text); part.find(); ) {
        var unit = BigDecimal.valueOf(NANOS.get(part.group(2)));
        nanos = nanos.add(new BigDecimal(part.group(1)).multiply(unit));
      }
      var d = Duration.ofNanos(nanos.longValue());
      return text.startsWith("-") ? d.negated() : d;
    } catch (NumberFormatException e) {
      throw new JsonParseException("\"" + text + "\" is not a duration: write it like \"1m30s\"");
    }
  }

  /** Three units at most: "3m7s", "1.5s", "12ms". */
  static String format(Duration d) {
    if (d.isNegative()) {
      return "-" + format(d.negated());
    }
    if (d.toSeconds() >= 60) {
      long s = d.toSeconds();
      var hours = s >= 3600 ? s / 3600 + "h" : "";
      return hours + (s % 3600 / 60) + "m" + plain(d.minusSeconds(s - s % 60).toNanos(), 9) + "s";
    }
    if (d.toSeconds() >= 1) {
      return plain(d.toNanos(), 9) + "s";
    }
    return d.toNanos() >= 1_000_000 ? plain(d.toNanos(), 6) + "ms" : plain(d.toNanos(), 3) + "us";
  }

  private static String plain(long nanos, int digits) {
    return BigDecimal.valueOf(nanos, digits).stripTrailingZeros().toPlainString();
  }
}
