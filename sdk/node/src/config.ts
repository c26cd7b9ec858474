import { describe, quote } from "./limits.js";
import { textOf } from "./errors.js";

/** The defaults of each config object, as they were before the first host has filled it. */
const defaults = new WeakMap<object, object>();

/**
 * Fills a plugin's config object from that of config.hcl. The values that it has are the defaults, and their types are
 * those that the config must have; null takes any value. A key that the object does not have is an error.
 */
export function fillConfig(into: object | undefined, json: string): void {
  const given = parse(json);
  const config = into ?? {};
  const start = defaults.get(config) ?? structuredClone(config);
  defaults.set(config, start);
  Object.assign(config, structuredClone(start));
  fill(config as Record<string, unknown>, given, "");
}

function parse(json: string): Record<string, unknown> {
  let given: unknown;
  try {
    given = JSON.parse(json.trim() || "{}");
  } catch (err) {
    throw new Error(`config: ${textOf(err)}`);
  }
  if (kindOf(given) !== "an object") {
    throw new Error(`config: it is ${describe(given)}, but must be an object`);
  }
  return given as Record<string, unknown>;
}

function fill(into: Record<string, unknown>, given: Record<string, unknown>, path: string): void {
  const known = Object.keys(into);
  for (const [key, value] of Object.entries(given)) {
    if (!Object.hasOwn(into, key)) {
      const keys = known.length === 0 ? "it has none" : `it has ${known.map((k) => path + k).join(", ")}`;
      throw new Error(`config: this plugin has no key ${quote(path + key)}: ${keys}`);
    }
    into[key] = fitted(into[key], value, path + key);
  }
}

function fitted(was: unknown, value: unknown, path: string): unknown {
  if (was === null || was === undefined) {
    return value;
  }
  if (kindOf(was) !== kindOf(value)) {
    throw new Error(`config: key ${quote(path)} is ${kindOf(value)}, but must be ${kindOf(was)}`);
  }
  if (Array.isArray(was) && was.length > 0) {
    return (value as unknown[]).map((item, i) => fitted(structuredClone(was[0]), item, `${path}[${i}]`));
  }
  if (kindOf(was) === "an object" && Object.keys(was).length > 0) {
    fill(was as Record<string, unknown>, value as Record<string, unknown>, path + ".");
    return was;
  }
  return value;
}

const kindOf = (value: unknown): string =>
  value === null
    ? "null"
    : Array.isArray(value)
      ? "an array"
      : typeof value === "object"
        ? "an object"
        : `a ${typeof value}`;
