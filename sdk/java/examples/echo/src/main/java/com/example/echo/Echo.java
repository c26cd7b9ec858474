package com.example.echo;

import static balhost.Target.token;

import balhost.Downstream;
import balhost.Plugin;

/** The smallest plugin. It sends each message of its app back to the device that sent it. */
public final class Echo {
  private Echo() {}

  public static void main(String[] args) {
    echo().serve();
  }

  /** A method of its own, so that the test can use the plugin too. */
  static Plugin echo() {
    return Plugin.named("echo") // also the name of the folder in the plugins folder
        .version("1.0.0")
        .categories("com.example.echo") // the app's package name or bundle id
        // send sends nothing yet. When this handler returns, the host stores the answer and
        // the end of m in one commit. If the plugin dies before that, m comes again. The
        // device gets one answer.
        .upstream((tx, m) -> tx.send(Downstream.to(token(m.from())).data(m.data())));
  }
}
