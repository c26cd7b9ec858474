import { create } from "@bufbuild/protobuf";
import { textOf } from "./errors.js";
import type { Host } from "./host.js";
import type { Plugin } from "./plugin.js";
import type { Scope } from "./scope.js";
import * as wire from "./wire/balhost/plugin/v1/plugin_pb.js";

// The wait before run is started again, in milliseconds. After a run of `healthy` the count begins anew.
const least = 1000;
const most = 60_000;
const healthy = 300_000;

/** What runs a plugin's run. */
export interface Running {
  plugin: Plugin;
  host: Host;
  allowed: Promise<void>; // no other process of the plugin runs any more
  scope: Scope; // ends run
  failed(failure: wire.RunFailure): void;
}

/** Runs the plugin's run when the host allows it, and again after a failure, until the scope ends. */
export async function keepRunning({ plugin, host, allowed, scope, failed }: Running): Promise<void> {
  if (plugin.run === undefined) {
    return;
  }
  await Promise.race([allowed, ended(scope)]);
  for (let delay = least, failures = 0; scope.reason === undefined; delay = Math.min(2 * delay, most)) {
    const began = performance.now();
    try {
      await plugin.run(host, scope.signal);
      return;
    } catch (err) {
      if (scope.reason !== undefined) {
        return;
      }
      if (performance.now() - began > healthy) {
        delay = least;
        failures = 0;
      }
      failures++;
      const wait = Math.round(delay / 2 + (Math.random() * delay) / 2);
      const error = textOf(err).toWellFormed();
      failed(create(wire.RunFailureSchema, { failures, error, waitMs: BigInt(wait) }));
      host.log.error("run failed, it is started again", {
        err: error,
        after: `${wait}ms`,
        stack: err instanceof Error ? err.stack : undefined,
      });
      await pause(scope, wait);
    }
  }
}

const ended = (scope: Scope) => new Promise<void>((resolve) => void scope.onEnd(() => resolve()));

function pause(scope: Scope, ms: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    const undo = scope.onEnd(done);
    function done() {
      clearTimeout(timer);
      undo();
      resolve();
    }
  });
}
