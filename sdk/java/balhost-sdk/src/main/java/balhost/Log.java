package balhost;

import com.google.gson.stream.JsonWriter;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.function.Consumer;
import java.util.logging.Handler;
import java.util.logging.LogManager;
import java.util.logging.LogRecord;
import java.util.logging.Logger;

/**
 * A log whose lines the host shows among its own: {@code log.info("connected", "took", took)}. The
 * message is followed by pairs of names and values. A {@link Throwable} as a value brings its
 * trace. {@code java.util.logging} comes out here too.
 */
public final class Log {
  private enum Level {
    TRACE,
    DEBUG,
    INFO,
    WARN,
    ERROR,
    OFF
  }

  /**
   * Netty warns here of what does not matter: that a unix socket has no options of TCP, and so on.
   */
  private static final List<Logger> NOISE =
      List.of(Logger.getLogger("io.netty.bootstrap"), Logger.getLogger("io.netty.util.internal"));

  private static final int MAX_TRACE = 8 << 10;

  private final Consumer<String> out;
  private volatile Level level = Level.INFO;

  Log(Consumer<String> out) {
    this.out = out;
  }

  /** A log whose lines of JSON go there, for a test. */
  public static Log to(Consumer<String> out) {
    return new Log(out);
  }

  /** A line for one who looks at every byte. */
  public void trace(String message, Object... pairs) {
    write(Level.TRACE, message, pairs);
  }

  /** A line a message, for one who looks for a fault. */
  public void debug(String message, Object... pairs) {
    write(Level.DEBUG, message, pairs);
  }

  /** A line about the plugin's life: connected, reloaded. */
  public void info(String message, Object... pairs) {
    write(Level.INFO, message, pairs);
  }

  /** Something was retried, or may need a person. */
  public void warn(String message, Object... pairs) {
    write(Level.WARN, message, pairs);
  }

  /** Something is lost, or needs a person. */
  public void error(String message, Object... pairs) {
    write(Level.ERROR, message, pairs);
  }

  private void write(Level at, String message, Object... pairs) {
    if (at.compareTo(level) >= 0) {
      out.accept(line(at.name().toLowerCase(Locale.ROOT), message, pairs));
    }
  }

  static String line(String level, String message, Object... pairs) {
    var text = new StringWriter();
    try (var json = new JsonWriter(text)) {
      json.setHtmlSafe(false);
      json.beginObject();
      json.name("@level").value(level);
      json.name("@message").value(Check.cleaned(String.valueOf(message)));
      for (int i = 0; i + 1 < pairs.length; i += 2) {
        json.name(Check.cleaned(String.valueOf(pairs[i])));
        value(json, pairs[i + 1]);
      }
      if (pairs.length % 2 == 1) {
        json.name("extra");
        value(json, pairs[pairs.length - 1]);
      }
      json.endObject();
    } catch (IOException e) {
      throw new IllegalStateException("a StringWriter does not fail", e);
    }
    return text.append('\n').toString();
  }

  private static void value(JsonWriter json, Object v) throws IOException {
    if (v instanceof Boolean b) {
      json.value(b);
    } else if (v instanceof Integer || v instanceof Long) {
      json.value((Number) v);
    } else if (v instanceof Duration d) {
      json.value(Durations.format(d));
    } else if (v instanceof Throwable t) {
      json.value(Check.cleaned(t.toString()));
      json.name("stack").value(stack(t));
    } else {
      json.value(Check.cleaned(String.valueOf(v)));
    }
  }

  static String stack(Throwable t) {
    var text = new StringWriter();
    t.printStackTrace(new PrintWriter(text));
    var s = Check.cleaned(text.toString());
    return s.length() > MAX_TRACE ? s.substring(0, MAX_TRACE) + " …" : s;
  }

  /** Takes the level that the host has set; a word that is none changes nothing. */
  void level(String word) {
    for (var l : Level.values()) {
      if (l.name().equalsIgnoreCase(word)) {
        level = l;
        Logger.getLogger("").setLevel(jul(l));
      }
    }
  }

  private static java.util.logging.Level jul(Level l) {
    return switch (l) {
      case TRACE -> java.util.logging.Level.ALL;
      case DEBUG -> java.util.logging.Level.FINE;
      case INFO -> java.util.logging.Level.INFO;
      case WARN -> java.util.logging.Level.WARNING;
      case ERROR -> java.util.logging.Level.SEVERE;
      case OFF -> java.util.logging.Level.OFF;
    };
  }

  /** What java.util.logging gets comes out here from now on. */
  void bridge() {
    LogManager.getLogManager().reset();
    var root = Logger.getLogger("");
    root.setLevel(jul(level));
    root.addHandler(new Bridge());
    NOISE.forEach(l -> l.setLevel(java.util.logging.Level.SEVERE));
  }

  private final class Bridge extends Handler {
    @Override
    public void publish(LogRecord r) {
      if (r.getLevel().intValue() < java.util.logging.Level.INFO.intValue() && foreign(r)) {
        return; // gRPC and Netty tell of each frame
      }
      var text = new java.util.logging.SimpleFormatter().formatMessage(r);
      if (r.getThrown() == null) {
        write(level(r.getLevel()), text, "logger", r.getLoggerName());
      } else {
        write(level(r.getLevel()), text, "logger", r.getLoggerName(), "err", r.getThrown());
      }
    }

    private static boolean foreign(LogRecord r) {
      var name = String.valueOf(r.getLoggerName());
      return name.startsWith("io.grpc") || name.startsWith("io.netty");
    }

    private static Level level(java.util.logging.Level l) {
      int n = l.intValue();
      if (n >= java.util.logging.Level.SEVERE.intValue()) {
        return Level.ERROR;
      } else if (n >= java.util.logging.Level.WARNING.intValue()) {
        return Level.WARN;
      } else if (n >= java.util.logging.Level.INFO.intValue()) {
        return Level.INFO;
      }
      return n >= java.util.logging.Level.FINE.intValue() ? Level.DEBUG : Level.TRACE;
    }

    @Override
    public void flush() {}

    @Override
    public void close() {}
  }
}
