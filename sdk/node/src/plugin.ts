import type { Host } from "./host.js";
import { bytesOf, checkFields, describe, quote } from "./limits.js";
import type { Outcome, Receipt, Timer, Upstream } from "./message.js";
import type { Tx } from "./tx.js";

/** Which upstreams are handled one after the other: "device", "none" or "key:PATH". */
export type Order = "device" | "none" | `key:${string}`;

/** The upstreams of one device share a lane. This is the default. */
export const orderByDevice: Order = "device";

/** No order: each upstream has a lane of its own. */
export const orderNone: Order = "none";

/**
 * Upstreams with an equal value at path share a lane. The path is names in the payload, joined by dots: "data.room". An
 * upstream that has nothing there goes to its device's lane.
 */
export const orderByKey = (path: string): Order => `key:${path}`;

type Done = void | Promise<void>;

/**
 * A plugin: its name, what it takes, and its handlers. Set `name`, and at least one of `upstream`, `outcome`, `receipt`,
 * `timer` and `run`.
 *
 * What a handler does decides. It returns, or its promise is fulfilled: the event is handled, and what the Tx holds is
 * committed. It throws Reject: the event goes to the dead letters. It throws Retry or anything else: the event comes
 * again, and goes to the dead letters after max_attempts.
 */
export interface Plugin {
  /** The plugin's identity, and the name of its file or folder in the plugins folder. */
  name: string;
  /** Shown in the host's status. */
  version?: string;
  /** The apps whose upstreams the plugin takes: package names or bundle ids. "*" takes what no other plugin claims. */
  categories?: readonly string[];
  order?: Order;
  /** How many handlers may run at once: 1 to 65536. Left out: 256. */
  maxInFlight?: number;
  /**
   * The keys of the plugin's config with their defaults. Before `start` the SDK writes the values of config.hcl into it.
   * A key that it does not have, or a value of another type, is an error. For checks of your own, throw in `start`.
   */
  config?: object;

  /** Prepares the plugin. If it throws, the host stops this process and shows the text. An older one may still serve. */
  start?(host: Host): Done;
  /**
   * For what goes on between events, such as polling. It never runs in two processes at once. It must return when the
   * signal is aborted. If it throws, it is started again after 1 s to 60 s.
   */
  run?(host: Host, signal: AbortSignal): Done;
  /** Called once before the process ends, after `run` and all handlers, if `start` has succeeded. */
  stop?(signal: AbortSignal): Done;

  /**
   * Returns metrics of the plugin's own, as Prometheus's text: prom-client's `register.metrics()` makes it. The host asks
   * when it is scraped, and gives them on with the label `plugin`. It waits a second, and takes 1 MiB and 2,000 series at
   * most, no label named plugin, and no names that begin with balhost_, go_, process_ or scrape_, and none
   * called up, which Prometheus makes itself. Calls don't overlap.
   */
  metrics?(): string | Promise<string>;

  /** Handles one message of a device. */
  upstream?(tx: Tx, m: Upstream): Done;
  /** Is told how a downstream of this plugin ended. It can run at the same time as `upstream`. */
  outcome?(tx: Tx, o: Outcome): Done;
  /** Is told that a device has got a downstream of this plugin with `receiptRequested`. */
  receipt?(tx: Tx, r: Receipt): Done;
  /** Is told that a timer is due that this plugin has set with `tx.schedule`. */
  timer?(tx: Tx, t: Timer): Done;
}

const functions = ["start", "run", "stop", "metrics", "upstream", "outcome", "receipt", "timer"] as const;
const fields: ReadonlySet<string> = new Set<keyof Plugin>([
  "name",
  "version",
  "categories",
  "order",
  "maxInFlight",
  "config",
  ...functions,
]);

export const inFlight = (p: Plugin): number => p.maxInFlight ?? 256;

/** Says what is wrong with a plugin. */
export function checkPlugin(p: Plugin): void {
  if (typeof p !== "object" || p === null) {
    throw new Error(`the plugin is ${describe(p)}: give an object with a name and handlers`);
  }
  if (Object.getPrototypeOf(p) === Object.prototype) {
    // an object of a class may have fields of its own
    checkFields("the plugin", p, fields);
  }
  if (typeof p.name !== "string" || !/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(p.name)) {
    throw new Error(
      `the plugin's name is ${typeof p.name === "string" ? quote(p.name) : describe(p.name)}: it has only letters, digits, '_' and '-', 64 at most, and begins with a letter or digit`,
    );
  }
  const wrong = problemOf(p);
  if (wrong !== undefined) {
    throw new Error(`plugin ${p.name}: ${wrong}`);
  }
}

function problemOf(p: Plugin): string | undefined {
  for (const name of functions) {
    if (p[name] !== undefined && typeof p[name] !== "function") {
      return `${name} is ${describe(p[name])}: give a function`;
    }
  }
  if (!(p.upstream || p.outcome || p.receipt || p.timer || p.run)) {
    return "it does nothing: set at least one of upstream, outcome, receipt, timer and run";
  }
  if (p.version !== undefined && (typeof p.version !== "string" || bytesOf(p.version) > 128)) {
    return "version must be a text of at most 128 bytes";
  }
  if (!Number.isInteger(inFlight(p)) || inFlight(p) < 1 || inFlight(p) > 65536) {
    return `maxInFlight is ${describe(p.maxInFlight)}: use 1 to 65536, or leave it out for 256`;
  }
  if (p.config !== undefined && (typeof p.config !== "object" || p.config === null || Array.isArray(p.config))) {
    return `config is ${describe(p.config)}: give an object with the defaults`;
  }
  return orderProblem(p.order ?? orderByDevice) ?? categoriesProblem(p);
}

function orderProblem(order: string): string | undefined {
  const path = typeof order === "string" && order.startsWith("key:") ? order.slice(4).split(".") : undefined;
  if (order !== "none" && order !== "device" && path === undefined) {
    return `order is ${quote(String(order))}: use orderByDevice, orderNone or orderByKey("data.room")`;
  }
  return path?.includes("") || bytesOf(order) > 260
    ? `order is ${quote(order)}: write it like orderByKey("data.room")`
    : undefined;
}

function categoriesProblem(p: Plugin): string | undefined {
  const categories = p.categories ?? [];
  if (!Array.isArray(categories) || categories.length > 1000) {
    return "categories must be an array of at most 1000 texts";
  }
  if (categories.length > 0 && p.upstream === undefined) {
    return "it claims categories but has no upstream handler: add one, or claim none";
  }
  for (const c of categories as unknown[]) {
    if (typeof c !== "string" || c === "" || bytesOf(c) > 256 || c !== c.trim() || !c.isWellFormed()) {
      return `category ${typeof c === "string" ? quote(c) : describe(c)}: write an app's package name or bundle id, or "*"`;
    }
  }
  const twice = categories.find((c, i) => categories.indexOf(c) < i);
  return twice === undefined ? undefined : `it claims category ${quote(twice)} twice`;
}
