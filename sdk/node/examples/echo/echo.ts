// The smallest plugin. It sends each message of its app back to the device that sent it.
import { token, type Plugin } from "balhost";

/** A function of its own, so that the test can use the plugin too. */
export const echo = (): Plugin => ({
  name: "echo", // also the name of the folder in the plugins folder
  version: "1.0.0",
  categories: ["com.example.echo"], // the app's package name or bundle id
  upstream(tx, m) {
    // send sends nothing yet. When this handler returns, the host stores the answer and the end of m in one commit. If
    // the plugin dies before that, m comes again. The device gets one answer.
    tx.send({ to: token(m.from), data: m.data });
  },
});
