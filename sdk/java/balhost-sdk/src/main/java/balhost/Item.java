package balhost;

import com.google.gson.reflect.TypeToken;

/**
 * One key of the plugin's state.
 *
 * @param key its name
 * @param value what is stored
 */
public record Item(String key, Json value) {
  /** Reads the value as a value of the type. */
  public <T> T as(Class<T> type) {
    return value.as(type);
  }

  /** Reads the value as a value of a generic type. */
  public <T> T as(TypeToken<T> type) {
    return value.as(type);
  }
}
