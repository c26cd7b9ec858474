package balhost;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonParseException;
import com.google.gson.TypeAdapter;
import com.google.gson.reflect.TypeToken;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonWriter;
import com.google.protobuf.ByteString;
import java.io.IOException;
import java.lang.reflect.Type;
import java.time.Duration;
import java.time.Instant;

/**
 * A JSON text, byte by byte as it came or as it goes. It may be empty: then there is none.
 *
 * <p>Records, maps, lists, strings and numbers become JSON by {@link #of}, and come back by {@link
 * #as}. The names are those of the record's components, or what {@code @SerializedName} says. An
 * {@link Instant} is a text as in "2026-01-31T12:00:00Z", a {@link Duration} one as in "1m30s".
 */
public final class Json {
  /** No JSON at all. */
  public static final Json NONE = new Json(ByteString.EMPTY);

  static final Gson GSON =
      new GsonBuilder()
          .disableHtmlEscaping()
          .registerTypeAdapter(Duration.class, new DurationAdapter().nullSafe())
          .registerTypeAdapter(Instant.class, new InstantAdapter().nullSafe())
          .create();

  private final ByteString bytes;

  private Json(ByteString bytes) {
    this.bytes = bytes;
  }

  /** A JSON text in UTF-8, as the wire has it. It is checked when it is used. */
  public static Json ofBytes(ByteString bytes) {
    return bytes.isEmpty() ? NONE : new Json(bytes);
  }

  /**
   * The JSON of a value; {@code null} becomes the JSON null.
   *
   * @throws InvalidException if the value can't be JSON, or has half of a surrogate pair
   */
  public static Json of(Object value) {
    if (value instanceof Json json) {
      return json;
    }
    try {
      return parse(GSON.toJson(value));
    } catch (JsonParseException | IllegalArgumentException | UnsupportedOperationException e) {
      throw new InvalidException("this value can't be written as JSON: " + e.getMessage());
    }
  }

  /**
   * A text that is JSON already. It is checked when it is used.
   *
   * @throws InvalidException if it has half of a surrogate pair
   */
  public static Json parse(String text) {
    Check.wellFormed("the JSON", text);
    return ofBytes(ByteString.copyFromUtf8(text));
  }

  /** Whether there is no JSON at all, as for an upstream without data. */
  public boolean isEmpty() {
    return bytes.isEmpty();
  }

  /**
   * Reads the JSON as a value of the type; the JSON null is {@code null}.
   *
   * @throws JsonParseException if it does not fit the type, or if there is no JSON
   */
  public <T> T as(Class<T> type) {
    return read(type);
  }

  /** Reads the JSON as a value of a generic type: {@code new TypeToken<List<String>>() {}}. */
  public <T> T as(TypeToken<T> type) {
    return read(type.getType());
  }

  private <T> T read(Type type) {
    if (isEmpty()) {
      throw new JsonParseException("there is no JSON to read as " + type.getTypeName());
    }
    return GSON.fromJson(toString(), type);
  }

  /** The JSON text in UTF-8. */
  public ByteString bytes() {
    return bytes;
  }

  /** The JSON text. */
  @Override
  public String toString() {
    return bytes.toStringUtf8();
  }

  /** Whether the other is the same text. */
  @Override
  public boolean equals(Object other) {
    return other instanceof Json json && json.bytes.equals(bytes);
  }

  @Override
  public int hashCode() {
    return bytes.hashCode();
  }

  private static final class DurationAdapter extends TypeAdapter<Duration> {
    @Override
    public void write(JsonWriter out, Duration d) throws IOException {
      out.value(Durations.format(d));
    }

    @Override
    public Duration read(JsonReader in) throws IOException {
      return Durations.parse(in.nextString());
    }
  }

  private static final class InstantAdapter extends TypeAdapter<Instant> {
    @Override
    public void write(JsonWriter out, Instant at) throws IOException {
      out.value(at.toString());
    }

    @Override
    public Instant read(JsonReader in) throws IOException {
      return Instant.parse(in.nextString());
    }
  }
}
