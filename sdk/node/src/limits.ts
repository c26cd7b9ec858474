import type * as wire from "./wire/balhost/plugin/v1/plugin_pb.js";
import { InvalidError } from "./errors.js";

/** What the host takes at most. Configure tells it; until then, and for what an older host does not tell, these count. */
export interface Limits {
  changes: number;
  changeBytes: number;
  keyBytes: number;
  valueBytes: number;
  calls: number;
  frameBytes: number;
  inFlight: number;
  extendMs: number;
  pingMs: number;
  errorBytes: number;
}

export const defaults: Readonly<Limits> = {
  changes: 1000,
  changeBytes: 1 << 20,
  keyBytes: 512,
  valueBytes: (1 << 20) - (16 << 10),
  calls: 256,
  frameBytes: 8 << 20,
  inFlight: 256,
  extendMs: 10_000,
  pingMs: 10_000,
  errorBytes: 4 << 10,
};

/** The limits that the host has told. Fields of 0 were not told. */
export function told(by: wire.Limits | undefined): Limits {
  const limits = { ...defaults };
  for (const name of Object.keys(defaults) as (keyof Limits)[]) {
    limits[name] = by?.[name] || defaults[name];
  }
  return limits;
}

export const bytesOf = (text: string): number => Buffer.byteLength(text);

/** Begins a long text for an error message. */
export const quote = (text: string): string => JSON.stringify(text.length > 64 ? text.slice(0, 64) + "…" : text);

/** Refuses a key of the state, or another name, that can never be stored. */
export function checkKey(what: string, key: unknown, limits: Limits): asserts key is string {
  if (typeof key !== "string") {
    throw new InvalidError(`${what}: it is ${describe(key)}: give a string`);
  }
  if (key === "" || bytesOf(key) > limits.keyBytes) {
    throw new InvalidError(`${what} ${quote(key)} has ${bytesOf(key)} bytes: it must be 1 to ${limits.keyBytes}`);
  }
  checkWellFormed(what, key);
}

/** Refuses half of a surrogate pair, which UTF-8 has no bytes for. */
export function checkWellFormed(what: string, text: string): void {
  if (!text.isWellFormed()) {
    throw new InvalidError(
      `${what} ${quote(text)} has half of a surrogate pair: don't cut text inside a character, or make it whole with toWellFormed()`,
    );
  }
}

/** The JSON of a value that is to be stored. */
export function jsonOf(what: string, value: unknown, limit: number): string {
  let json: string | undefined;
  try {
    json = JSON.stringify(value);
  } catch (err) {
    throw new InvalidError(`${what}: it can't be written as JSON: ${(err as Error).message}`);
  }
  if (json === undefined) {
    throw new InvalidError(`${what}: ${describe(value)} can't be written as JSON: give null, or leave it out`);
  }
  if (bytesOf(json) > limit) {
    throw new InvalidError(
      `${what}: it has ${bytesOf(json)} bytes as JSON, at most ${limit} are possible: split it, or keep it elsewhere`,
    );
  }
  return json;
}

/** Unix time in milliseconds, rounded up: never before what was asked for. */
export function millis(what: string, at: unknown): bigint {
  const ms = Math.ceil(at instanceof Date ? at.getTime() : typeof at === "number" ? at : NaN);
  if (!Number.isFinite(ms) || ms < earliest || ms >= latest) {
    throw new InvalidError(
      `${what} is ${at instanceof Date ? "the date " + String(at) : describe(at)}: give a Date or Unix time in milliseconds, from 2000 to 2199`,
    );
  }
  return BigInt(ms);
}

const earliest = Date.UTC(2000, 0);
const latest = Date.UTC(2200, 0);

/** A value's type in words, and the value if it is short. */
export function describe(value: unknown): string {
  if (value === null || value === undefined || typeof value === "boolean" || typeof value === "number") {
    return String(value);
  }
  return Array.isArray(value) ? "an array" : typeof value === "object" ? "an object" : `a ${typeof value}`;
}

/** Refuses fields that there are not: mistyped, they would be lost in silence. */
export function checkFields(what: string, given: object, known: ReadonlySet<string>): void {
  for (const name in given) {
    if (!known.has(name)) {
      throw new InvalidError(`${what} has no field ${quote(name)}: there are ${[...known].join(", ")}`);
    }
  }
}
