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
  #cpu = process.cpuUsage(); // at #last
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
    if (stood > tolerated) {
      this.#tell("the event loop stood still", stood, {});
    }
    this.#last = now;
    this.#cpu = process.cpuUsage();
  }

  /** Names the handler that has kept the loop since it began, if it was for too long. Returns the time. */
  handlerKept(began: number, about: () => Record<string, unknown>): number {
    const now = performance.now();
    if (now - began > tolerated) {
      this.#tell("a handler blocked the event loop", now - began, about());
      this.#last = now; // it is explained
      this.#cpu = process.cpuUsage();
    }
    return now;
  }

  #tell(message: string, took: number, about: Record<string, unknown>): void {
    if (process.env.BALHOST_DEBUG) {
      return; // it stood at a breakpoint, and the host sends no pings
    }
    const { user, system } = process.cpuUsage(this.#cpu);
    const cpu = (user + system) / 1000;
    const hint =
      cpu > took / 3
        ? "Compute in a Worker of node:worker_threads, or await setImmediate() of node:timers/promises between parts"
        : "It hardly used the CPU: it waited in a synchronous call (await an asynchronous one instead of ...Sync), or the machine had no time for it";
    this.#log.warn(message, {
      ...about,
      took: `${(took / 1000).toFixed(1)}s`,
      cpu: `${(cpu / 1000).toFixed(1)}s`,
      hint: `meanwhile no ping is answered and nothing else runs; after ${this.#pingMs() / 1000} s the host kills the plugin as hung. ${hint}`,
    });
  }
}
