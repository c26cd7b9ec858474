import type { Log } from "./log.js";

const tolerated = 1000; // milliseconds
const every = 250;

/**
 * Tells when the event loop stood still. Then nothing of this process goes on: no ping is answered, no handler begins,
 * and no timer runs.
 */
export class StallWatch {
  #log: Log;
  #pingMs: () => number;
  #last = performance.now();
  #timer: NodeJS.Timeout;

  constructor(log: Log, pingMs: () => number) {
    this.#log = log;
    this.#pingMs = pingMs;
    this.#timer = setInterval(() => this.#look(), every).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const now = performance.now();
    const stood = now - this.#last - every;
    this.#last = now;
    if (stood > tolerated) {
      this.#tell("the event loop stood still", stood, {});
    }
  }

  /** Names the handler that has kept the loop since it began, if it was for too long. Returns the time. */
  handlerKept(began: number, about: () => Record<string, unknown>): number {
    const now = performance.now();
    if (now - began > tolerated) {
      this.#last = now; // it is explained
      this.#tell("a handler blocked the event loop", now - began, about());
    }
    return now;
  }

  #tell(message: string, took: number, about: Record<string, unknown>): void {
    this.#log.warn(message, {
      ...about,
      took: `${(took / 1000).toFixed(1)}s`,
      hint:
        `meanwhile no ping is answered and nothing else runs; after ${this.#pingMs() / 1000} s the host kills the plugin as hung. ` +
        "Compute in a Worker of node:worker_threads, use asynchronous calls instead of ...Sync ones, or await setImmediate() of node:timers/promises between parts",
    });
  }
}
