import { format } from "node:util";

const levels = ["trace", "debug", "info", "warn", "error", "off"] as const;
export type Level = (typeof levels)[number];

/** Facts of a log line. An Error is written as its text. */
export type Facts = Record<string, unknown>;

/** The plugin's log. */
export interface Log {
  trace(message: string, facts?: Facts): void;
  debug(message: string, facts?: Facts): void;
  info(message: string, facts?: Facts): void;
  warn(message: string, facts?: Facts): void;
  error(message: string, facts?: Facts): void;
}

/** Writes hclog's JSON, one line for each call, at the level that the host sets. */
export class JsonLog implements Log {
  #name: string;
  #write: (line: string) => void;
  #level = levels.indexOf("info");

  constructor(name: string, write: (line: string) => void) {
    this.#name = name;
    this.#write = write;
  }

  /** Sets the level; a word that is none changes nothing. */
  setLevel(word: string): void {
    const level = levels.indexOf(word.toLowerCase() as Level);
    this.#level = level < 0 ? this.#level : level;
  }

  trace(message: string, facts?: Facts): void {
    this.#line("trace", message, facts);
  }
  debug(message: string, facts?: Facts): void {
    this.#line("debug", message, facts);
  }
  info(message: string, facts?: Facts): void {
    this.#line("info", message, facts);
  }
  warn(message: string, facts?: Facts): void {
    this.#line("warn", message, facts);
  }
  error(message: string, facts?: Facts): void {
    this.#line("error", message, facts);
  }

  #line(level: Level, message: string, facts: Facts = {}): void {
    if (levels.indexOf(level) < this.#level) {
      return;
    }
    const head = { "@level": level, "@message": String(message), "@module": this.#name, "@timestamp": new Date() };
    let line: string;
    try {
      line = JSON.stringify({ ...head, ...facts }, plain);
    } catch {
      line = JSON.stringify({ ...head, facts: format("%o", facts) }); // they hold themselves
    }
    this.#write(line + "\n");
  }
}

function plain(_: string, value: unknown): unknown {
  return value instanceof Error ? value.message || value.name : typeof value === "bigint" ? String(value) : value;
}

/** Has console write into the log, so that each call is one line with its level. */
export function bridgeConsole(log: Log, to: Console = console): void {
  to.debug = (...args: unknown[]) => log.debug(format(...args));
  to.log = to.info = (...args: unknown[]) => log.info(format(...args));
  to.warn = to.trace = (...args: unknown[]) => log.warn(format(...args));
  to.error = (...args: unknown[]) => log.error(format(...args));
}
