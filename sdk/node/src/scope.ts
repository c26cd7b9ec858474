import { EndedError } from "./errors.js";

/**
 * The end of a handler or of a call. Most handlers never ask for their signal, so it is made at its first use, as is the
 * timer for the deadline. The first reason counts.
 */
export class Scope {
  #reason: Error | undefined;
  #controller: AbortController | undefined;
  #timer: NodeJS.Timeout | undefined;
  #waiting = new Set<(reason: Error) => void>();

  /** @param deadline by performance.now(); Infinity: none */
  constructor(readonly deadline: number) {}

  get reason(): Error | undefined {
    return this.#reason;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#reason !== undefined) {
        this.#controller.abort(this.#reason);
      }
      this.#watch();
    }
    return this.#controller.signal;
  }

  /** Ends the scope in time, once somebody waits for that. */
  #watch(): void {
    if (this.#timer === undefined && this.#reason === undefined && this.deadline < Infinity) {
      const left = Math.max(0, Math.ceil(this.deadline - performance.now()));
      this.#timer = setTimeout(() => this.end(new EndedError("the handler timed out")), left);
    }
  }

  /** Calls f when the scope ends. The function that it returns takes f back. */
  onEnd(f: (reason: Error) => void): () => void {
    this.#waiting.add(f);
    this.#watch();
    return () => this.#waiting.delete(f);
  }

  end(reason: Error): void {
    if (this.#reason !== undefined) {
      return;
    }
    this.#reason = reason;
    this.close();
    const waiting = this.#waiting;
    this.#waiting = new Set();
    for (const f of waiting) {
      f(reason);
    }
    this.#controller?.abort(reason);
  }

  /** Drops the timer; the signal is not aborted by time any more. */
  close(): void {
    clearTimeout(this.#timer);
  }
}
