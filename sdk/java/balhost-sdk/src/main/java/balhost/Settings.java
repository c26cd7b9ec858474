package balhost;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import com.google.gson.annotations.SerializedName;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.RecordComponent;
import java.lang.reflect.Type;
import java.time.Duration;
import java.time.Instant;
import java.util.Collection;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/** The plugin's config object, as a record. A key that is unknown, or of another type, is named. */
final class Settings {
  private static final Map<Type, Integer> BITS = // of whole numbers
      Map.of(
          byte.class,
          8,
          Byte.class,
          8,
          short.class,
          16,
          Short.class,
          16,
          int.class,
          32,
          Integer.class,
          32,
          long.class,
          64,
          Long.class,
          64);
  private static final Set<Type> NUMBERS =
      Set.of(double.class, float.class, Double.class, Float.class);
  private static final Set<Type> TEXTS = Set.of(String.class, Duration.class, Instant.class);

  private Settings() {}

  /**
   * The defaults with what the object says in place of them.
   *
   * @throws InvalidException if the object has a wrong key
   */
  static <C extends Record> C read(String object, C defaults) {
    var given = object.isBlank() ? new JsonObject() : parse(object);
    if (defaults == null) {
      for (var key : given.keySet()) {
        throw new InvalidException(
            "config: this plugin has no key \"" + key + "\": it has no config");
      }
      return null;
    }
    check("", defaults.getClass(), given);
    var all = (JsonObject) Json.GSON.toJsonTree(defaults);
    merge(all, given);
    try {
      @SuppressWarnings("unchecked") // it is the class of the defaults
      var read = (C) Json.GSON.fromJson(all, defaults.getClass());
      return read;
    } catch (JsonParseException | IllegalArgumentException | java.time.DateTimeException e) {
      throw new InvalidException("config: " + e.getMessage());
    } catch (RuntimeException e) { // the record's constructor has refused its values
      var cause = e.getCause() == null ? e : e.getCause();
      throw new InvalidException("config: " + cause.getMessage());
    }
  }

  private static JsonObject parse(String object) {
    try {
      var tree = JsonParser.parseString(object);
      if (tree instanceof JsonObject o) {
        return o;
      }
      throw new InvalidException("config: it is " + typeOf(tree) + ", but must be an object");
    } catch (JsonParseException e) {
      throw new InvalidException("config: it is not JSON: " + e.getMessage());
    }
  }

  /** Records in records keep the defaults of what is not given. */
  private static void merge(JsonObject into, JsonObject given) {
    for (var e : given.entrySet()) {
      if (into.get(e.getKey()) instanceof JsonObject old && e.getValue() instanceof JsonObject o) {
        merge(old, o);
      } else {
        into.add(e.getKey(), e.getValue());
      }
    }
  }

  private static void check(String path, Type type, JsonElement v) {
    if (type instanceof Class<?> c && c.isRecord()) {
      want(path, v, v.isJsonObject(), "an object");
      for (var e : v.getAsJsonObject().entrySet()) {
        var inside = path + e.getKey();
        check(inside + ".", component(c, e.getKey(), inside), e.getValue());
      }
    } else if (TEXTS.contains(type)) {
      want(path, v, v instanceof JsonPrimitive p && p.isString(), "a string");
    } else if (BITS.containsKey(type)) {
      want(
          path,
          v,
          v instanceof JsonPrimitive p && p.isNumber() && whole(p, type),
          "a whole number of at most " + BITS.get(type) + " bits");
    } else if (NUMBERS.contains(type)) {
      want(path, v, v instanceof JsonPrimitive p && p.isNumber(), "a number");
    } else if (type == boolean.class || type == Boolean.class) {
      want(path, v, v instanceof JsonPrimitive p && p.isBoolean(), "true or false");
    } else if (type instanceof ParameterizedType p && p.getRawType() instanceof Class<?> c) {
      checkAll(path, c, p.getActualTypeArguments(), v);
    }
  }

  private static void checkAll(String path, Class<?> type, Type[] of, JsonElement v) {
    if (Collection.class.isAssignableFrom(type)) {
      want(path, v, v.isJsonArray(), "a list");
      for (int i = 0; i < v.getAsJsonArray().size(); i++) {
        check(path + i + ".", of[0], v.getAsJsonArray().get(i));
      }
    } else if (Map.class.isAssignableFrom(type)) {
      want(path, v, v.isJsonObject(), "an object");
      for (var e : v.getAsJsonObject().entrySet()) {
        check(path + e.getKey() + ".", of[1], e.getValue());
      }
    }
  }

  /** Whether the number is whole and not too large for the type. */
  private static boolean whole(JsonPrimitive p, Type type) {
    try {
      long n = p.getAsBigDecimal().longValueExact();
      int bits = 64 - Long.numberOfLeadingZeros(n < 0 ? ~n : n);
      return bits < BITS.get(type);
    } catch (ArithmeticException e) {
      return false;
    }
  }

  private static Type component(Class<?> record, String key, String path) {
    var known = new TreeSet<String>();
    for (RecordComponent c : record.getRecordComponents()) {
      var name = name(record, c);
      if (name.equals(key)) {
        return c.getGenericType();
      }
      known.add(name);
    }
    throw new InvalidException(
        "config: this plugin has no key \"" + path + "\": it has " + String.join(", ", known));
  }

  private static String name(Class<?> record, RecordComponent c) {
    try {
      var given = record.getDeclaredField(c.getName()).getAnnotation(SerializedName.class);
      return given == null ? c.getName() : given.value();
    } catch (NoSuchFieldException e) {
      throw new IllegalStateException("each component of a record has a field", e);
    }
  }

  private static void want(String path, JsonElement v, boolean fits, String type) {
    if (!fits) {
      var key = path.endsWith(".") ? path.substring(0, path.length() - 1) : path;
      throw new InvalidException(
          "config: key \"" + key + "\" is " + typeOf(v) + ", but must be " + type);
    }
  }

  private static String typeOf(JsonElement v) {
    if (v.isJsonObject()) {
      return "an object";
    } else if (v.isJsonArray()) {
      return "a list";
    } else if (v.isJsonNull()) {
      return "null";
    }
    var p = v.getAsJsonPrimitive();
    return p.isString() ? "a string" : p.isNumber() ? "the number " + p : p.toString();
  }
}
