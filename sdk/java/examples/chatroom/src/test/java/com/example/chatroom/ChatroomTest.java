package com.example.chatroom;

import static balhost.Target.token;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import balhost.Outcome;
import balhost.Upstream;
import balhost.testing.FakeHost;
import balhost.testing.Result;
import com.google.gson.reflect.TypeToken;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import org.junit.jupiter.api.Test;

class ChatroomTest {
  /**
   * Gives the plugin one device's request, and returns what it has sent: "token: event name text".
   */
  private static List<String> say(FakeHost host, String from, String... pairs) {
    var data = new HashMap<>(Map.of("room", "r"));
    for (int i = 0; i < pairs.length; i += 2) {
      data.put(pairs[i], pairs[i + 1]);
    }
    var sent = new ArrayList<String>();
    for (var d : host.upstream(from, data).orFail().sent()) {
      var m = d.data().as(new TypeToken<Map<String, String>>() {});
      var text = m.getOrDefault("text", "") + m.getOrDefault("why", "");
      sent.add(
          (d.to().value() + ": " + m.get("event") + " " + m.getOrDefault("name", "") + " " + text)
              .strip());
    }
    return sent;
  }

  @Test
  void aRoom() {
    try (var host = FakeHost.start(Chatroom.chatroom())) {
      assertEquals(List.of(), say(host, "a", "do", "join", "name", "Ann"));
      assertEquals(List.of("a: joined Bob"), say(host, "b", "do", "join", "name", "Bob"));
      assertEquals(
          List.of("a: joined Cid", "b: joined Cid"), say(host, "c", "do", "join", "name", "Cid"));
      assertEquals(
          List.of("a: said Bob hi", "c: said Bob hi"), say(host, "b", "do", "say", "text", "hi"));
      assertEquals(List.of("a: left Cid", "b: left Cid"), say(host, "c", "do", "leave"));
      assertEquals(List.of("b: left Ann"), say(host, "a", "do", "leave"));
      assertEquals(List.of(), say(host, "b", "do", "leave"));
      assertEquals(List.of(), host.keys(), "an empty room is left behind");
    }
  }

  @Test
  void whatIsRefused() {
    try (var host =
        FakeHost.setup()
            .config(Map.of("max_members", 1, "max_text", 3))
            .start(Chatroom.chatroom())) {
      assertEquals(
          List.of("a: refused  join the room first"), say(host, "a", "do", "say", "text", "hi"));
      assertEquals(
          List.of("a: refused  name: give one of 1 to 100 bytes"), say(host, "a", "do", "join"));
      assertEquals(
          List.of("a: refused  room: give a name of 1 to 100 bytes"), say(host, "a", "room", ""));
      assertEquals(List.of(), say(host, "a", "do", "join", "name", "Ann"));
      assertEquals(
          List.of("b: refused  room is full"), say(host, "b", "do", "join", "name", "Bob"));
      assertEquals(
          List.of("a: refused  text: say something of 1 to 3 bytes"),
          say(host, "a", "do", "say", "text", "long"));
      assertEquals(
          List.of("a: refused  do: it must be join, say or leave"), say(host, "a", "do", "dance"));
      var unreadable = host.upstream("a", Map.of("do", List.of()));
      assertEquals(Result.Status.REJECTED, unreadable.status());
    }
  }

  @Test
  void aWrongConfigIsNamed() {
    var refusal = FakeHost.setup().config(Map.of("max_member", 1)).refusal(Chatroom.chatroom());
    assertEquals(
        "plugin chatroom: config: this plugin has no key \"max_member\": it has max_members,"
            + " max_text",
        refusal.orElseThrow());
  }

  /** One device gets a room's messages in order. Devices don't wait for each other. */
  @Test
  void groups() {
    try (var host = FakeHost.start(Chatroom.chatroom())) {
      for (var who : List.of("a", "b", "c")) {
        say(host, who, "do", "join", "name", who);
      }
      int before = host.sent().size();
      say(host, "a", "do", "say", "text", "1");
      say(host, "a", "do", "say", "text", "2");
      var sent = host.sent().subList(before, before + 4); // to b, c, b, c
      assertNotEquals("", sent.get(0).group());
      assertEquals(sent.get(0).group(), sent.get(2).group());
      assertNotEquals(sent.get(0).group(), sent.get(1).group());
    }
  }

  @Test
  void tokensThatChange() {
    try (var host = FakeHost.start(Chatroom.chatroom())) {
      for (var who : List.of("a", "b")) {
        say(host, who, "do", "join", "name", who);
      }
      host.outcome(Outcome.of(token("b"), Outcome.Status.ACKED).withNewToken("b2").withContext("r"))
          .orFail();
      assertEquals(List.of("b2: said a hi"), say(host, "a", "do", "say", "text", "hi"));
      var gone =
          Outcome.of(token("b2"), Outcome.Status.FAILED).withCode("DEVICE_UNREGISTERED").asGone();
      host.outcome(gone.withContext("r")).orFail();
      assertEquals(List.of(), say(host, "a", "do", "say", "text", "hi"));
      var metrics = host.metrics();
      assertTrue(metrics.contains("\nchatroom_outcomes_total{status=\"failed\"} 1\n"), metrics);
    }
  }

  /**
   * The host handles one room's messages one after the other. The state would be right without that
   * too: if a room has changed, the handler that read it runs again.
   */
  @Test
  void manyJoinAtOnce() throws Exception {
    var threads = Executors.newFixedThreadPool(20);
    try (var host = FakeHost.start(Chatroom.chatroom())) {
      var all = new ArrayList<Callable<Result>>();
      for (int i = 0; i < 20; i++) {
        var m = Upstream.of("t" + i, Map.of("do", "join", "room", "r", "name", "n" + i));
        all.add(() -> host.upstream(m).orFail());
      }
      for (var done : threads.invokeAll(all)) {
        done.get();
      }
      var members = host.state("members/r", new TypeToken<Map<String, Object>>() {});
      assertEquals(20, members.orElseThrow().size());
    } finally {
      threads.shutdown();
    }
  }
}
