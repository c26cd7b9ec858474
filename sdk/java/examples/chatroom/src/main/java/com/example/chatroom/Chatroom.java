package com.example.chatroom;

import static balhost.Target.token;

import balhost.Downstream;
import balhost.Json;
import balhost.Outcome;
import balhost.Plugin;
import balhost.Reject;
import balhost.Tx;
import balhost.Upstream;
import com.google.gson.JsonParseException;
import com.google.gson.annotations.SerializedName;
import com.google.gson.reflect.TypeToken;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.atomic.LongAdder;

/**
 * A plugin with state. Devices join rooms. What one device says goes to all others in the room. It
 * shows
 *
 * <ul>
 *   <li>order by a key of the payload: the messages of one room are handled one after the other,
 *       and different rooms at the same time;
 *   <li>state that is committed together with the event (get, put);
 *   <li>groups: each member gets a room's messages in the order in which they were said;
 *   <li>outcomes: a device that does not exist any more leaves its rooms;
 *   <li>sessions: members of one room may come by different sessions;
 *   <li>metrics of the plugin's own, which the host gives on.
 * </ul>
 *
 * A device sends {"do":"join","room":"r","name":"Ann"}, {"do":"say","room":"r","text":"hi"} or
 * {"do":"leave","room":"r"}.
 */
public final class Chatroom {
  /** The config block of the plugin in config.hcl. */
  record Config(
      @SerializedName("max_members") int maxMembers, // of one room
      @SerializedName("max_text") int maxText) {} // bytes of one message

  /** What a device sends. CCS carries only strings. */
  record Request(@SerializedName("do") String action, String room, String name, String text) {}

  /** A device in a room. It is reached by the session by which it came. */
  record Member(String name, String session) {}

  /** The state of one room: its members by their tokens. A TreeMap is sorted: see tell. */
  private static final TypeToken<TreeMap<String, Member>> ROOM = new TypeToken<>() {};

  private Config config;

  /** Downstreams, by how they ended, for metrics. It is gone at the next start, as metrics are. */
  private final Map<Outcome.Status, LongAdder> ended = new TreeMap<>();

  private Chatroom() {
    for (var status : Outcome.Status.values()) {
      ended.put(status, new LongAdder());
    }
  }

  public static void main(String[] args) {
    chatroom().serve();
  }

  static Plugin chatroom() {
    var chat = new Chatroom();
    return Plugin.named("chatroom")
        .version("1.0.0")
        .categories("com.example.chatroom")
        .orderByKey("data.room")
        .config(new Config(100, 1000), c -> chat.config = c) // the defaults
        .upstream(chat::upstream)
        .outcome(chat::outcome)
        .metrics(chat::metrics);
  }

  /** Prometheus's text. With more than this, use Micrometer or a client of Prometheus. */
  private String metrics() {
    var text = new StringBuilder("# TYPE chatroom_outcomes_total counter\n");
    ended.forEach(
        (status, n) ->
            text.append("chatroom_outcomes_total{status=\"%s\"} %d\n".formatted(status, n.sum())));
    return text.toString();
  }

  private void upstream(Tx tx, Upstream m) {
    var q = request(m);
    var room = text(q.room);
    if (room.isEmpty() || bytes(room) > 100) {
      refuse(tx, m, "room: give a name of 1 to 100 bytes");
      return;
    }
    var members = tx.get(key(room), ROOM).orElseGet(TreeMap::new);
    var who = members.get(m.from());
    switch (text(q.action)) {
      case "join" -> join(tx, m, q, members);
      case "say" -> {
        if (who == null) {
          refuse(tx, m, "join the room first");
        } else if (text(q.text).isEmpty() || bytes(q.text) > config.maxText) {
          refuse(tx, m, "text: say something of 1 to " + config.maxText + " bytes");
        } else {
          tell(
              tx,
              room,
              members,
              m.from(),
              Map.of("event", "said", "name", who.name, "text", q.text));
        }
      }
      case "leave" -> {
        if (who == null) {
          refuse(tx, m, "join the room first");
        } else {
          leave(tx, room, members, m.from());
        }
      }
      default ->
          refuse(tx, m, who == null ? "join the room first" : "do: it must be join, say or leave");
    }
  }

  private static Request request(Upstream m) {
    try {
      var q = m.data().as(Request.class);
      return q == null ? new Request("", "", "", "") : q; // data is null
    } catch (JsonParseException e) { // a later attempt can't read it either
      throw new Reject("data of " + m.messageId() + ": " + e.getMessage());
    }
  }

  private void join(Tx tx, Upstream m, Request q, TreeMap<String, Member> members) {
    if (!members.containsKey(m.from()) && members.size() >= config.maxMembers) {
      refuse(tx, m, "room is full");
    } else if (text(q.name).isEmpty() || bytes(q.name) > 100) {
      refuse(tx, m, "name: give one of 1 to 100 bytes");
    } else {
      members.put(m.from(), new Member(q.name, m.session()));
      tx.put(key(q.room), members);
      tell(tx, q.room, members, m.from(), Map.of("event", "joined", "name", q.name));
    }
  }

  /**
   * Is told how each downstream ended. A token that is gone leaves the room. If CCS has replaced a
   * token, the member gets the new one.
   */
  private void outcome(Tx tx, Outcome o) {
    ended.get(o.status()).increment();
    if (!o.gone() && o.newToken().isEmpty() || o.context().isEmpty()) {
      return; // without a context refuse has sent it: it belongs to no room
    }
    var room = o.context().as(String.class); // tell has put it there
    var members = tx.get(key(room), ROOM).orElseGet(TreeMap::new);
    var old = o.to().value();
    if (!members.containsKey(old)) {
      return;
    }
    if (o.gone()) {
      leave(tx, room, members, old);
      return;
    }
    members.put(o.newToken(), members.remove(old));
    tx.put(key(room), members);
  }

  private static void leave(Tx tx, String room, TreeMap<String, Member> members, String token) {
    var who = members.remove(token);
    if (members.isEmpty()) {
      tx.delete(key(room));
    } else {
      tx.put(key(room), members);
    }
    tell(tx, room, members, token, Map.of("event", "left", "name", who.name));
  }

  /**
   * Sends data to all members but one. Each pair of room and device has a group of its own. So a
   * device gets the room's messages in order, and no device waits for another.
   */
  private static void tell(
      Tx tx, String room, TreeMap<String, Member> members, String but, Map<String, String> what) {
    var data = new TreeMap<>(what);
    data.put("room", room);
    var json = Json.of(data);
    // The tokens are sorted, because a downstream's id is made of its place in the Tx. If the
    // message comes again, this must send in the same order.
    members.forEach(
        (token, member) -> {
          if (!token.equals(but)) {
            tx.send(
                Downstream.to(token(token))
                    .data(json)
                    .session(member.session)
                    .group(group(room, token))
                    .context(room));
          }
        });
  }

  /** Tells the device why its message was refused. Then it is handled: trying again won't help. */
  private static void refuse(Tx tx, Upstream m, String why) {
    tx.send(Downstream.to(token(m.from())).data(Map.of("event", "refused", "why", why)));
  }

  private static String key(String room) {
    return "members/" + room;
  }

  /** What a device has left out is null. */
  private static String text(String s) {
    return s == null ? "" : s;
  }

  private static int bytes(String s) {
    return s.getBytes(StandardCharsets.UTF_8).length;
  }

  /**
   * The group of a room's messages to one device. Tokens are long and the length of a group's name
   * is limited, so it is a hash of both.
   */
  private static String group(String room, String token) {
    try {
      var sha256 = MessageDigest.getInstance("SHA-256");
      var sum = sha256.digest((room + "\0" + token).getBytes(StandardCharsets.UTF_8));
      return HexFormat.of().formatHex(Arrays.copyOf(sum, 16));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("each JDK has SHA-256", e);
    }
  }
}
