/** What the author of a plugin needs. Start at {@link balhost.Plugin} and {@link balhost.Tx}. */
package balhost;
