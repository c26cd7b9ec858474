package com.example.echo;

import static balhost.Target.token;
import static org.junit.jupiter.api.Assertions.assertEquals;

import balhost.Json;
import balhost.Upstream;
import balhost.testing.FakeHost;
import java.util.Map;
import org.junit.jupiter.api.Test;

class EchoTest {
  @Test
  void answersTheDevice() {
    try (var host = FakeHost.start(Echo.echo())) {
      var result = host.upstream("ann", Map.of("say", "hi")).orFail();
      assertEquals(1, result.sent().size());
      assertEquals(token("ann"), result.sent().get(0).to());
      assertEquals(Json.parse("{\"say\":\"hi\"}"), result.sent().get(0).data());
    }
  }

  /**
   * The same event a second time, as after a crash, makes the same downstream. Its id is made of
   * the event's id, so the host stores it once.
   */
  @Test
  void twiceIsOnce() {
    try (var host = FakeHost.start(Echo.echo())) {
      var m = Upstream.of("ann", Map.of("say", "hi")).withId("e1");
      host.upstream(m).orFail();
      host.upstream(m).orFail();
      assertEquals(1, host.sent().size());
      assertEquals("e1-1", host.sent().get(0).messageId());
    }
  }
}
