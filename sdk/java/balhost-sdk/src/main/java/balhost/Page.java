package balhost;

import java.util.List;

/**
 * A part of the plugin's state.
 *
 * @param items in the order of their keys' bytes
 * @param more there are others behind the last: pass its key as {@code after} to go on
 */
public record Page(List<Item> items, boolean more) {}
