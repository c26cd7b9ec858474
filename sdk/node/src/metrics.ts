import { textOf, UnavailableError } from "./errors.js";
import { bytesOf, describe } from "./limits.js";
import { stackOf } from "./link.js";
import type { Log } from "./log.js";
import type { Plugin } from "./plugin.js";

const maxBytes = 1 << 20; // that the host takes

/** A call that does not fit the plugin, or comes at the wrong time. */
export class PreconditionError extends Error {
  override readonly name = "PreconditionError";
}

/** Asks a plugin for its own metrics. Calls don't overlap: one that hangs is there once, however often a host is scraped. */
export class Metrics {
  readonly #plugin: Plugin;
  readonly #log: Log;
  #asking = false;
  #logged = ""; // the last failure: one that comes at each scrape is logged once

  constructor(plugin: Plugin, log: Log) {
    this.#plugin = plugin;
    this.#log = log;
  }

  /** What the plugin's metrics returns. */
  async text(): Promise<string> {
    if (this.#plugin.metrics === undefined) {
      throw new PreconditionError("the plugin has no metrics");
    }
    if (this.#asking) {
      throw new UnavailableError("the last call of metrics has not returned yet");
    }
    this.#asking = true;
    try {
      const text = checked(await this.#plugin.metrics());
      this.#logged = "";
      return text;
    } catch (err) {
      if (this.#logged !== textOf(err)) {
        this.#logged = textOf(err);
        this.#log.error("metrics failed", { err: textOf(err), stack: stackOf(err) });
      }
      throw err;
    } finally {
      this.#asking = false;
    }
  }
}

function checked(returned: unknown): string {
  if (typeof returned !== "string") {
    throw new TypeError(`metrics returned ${describe(returned)}: return Prometheus's text, or a promise of it`);
  }
  const bytes = bytesOf(returned);
  if (bytes > maxBytes) {
    throw new RangeError(`metrics have ${bytes} bytes, at most ${maxBytes} are possible: use fewer labels`);
  }
  return returned;
}
