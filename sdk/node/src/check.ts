import { create } from "@bufbuild/protobuf";
import { InvalidError } from "./errors.js";
import { bytesOf, checkFields, describe, jsonOf, millis, quote } from "./limits.js";
import type { Data, Downstream, Options, Target, Transport } from "./message.js";
import * as wire from "./wire/balhost/plugin/v1/plugin_pb.js";

// Limits of a downstream. They are FCM's, but for maxId, maxContext and maxText, which are the host's.
const maxPayload = 4096;
const maxTopicPayload = 2048;
const maxTarget = 4096;
const maxTtl = 2_419_200;
const maxId = 255;
const maxContext = 64 << 10;
const maxText = 32 << 10;

/** A downstream as the wire has it, and what it counts towards `Limits.changeBytes`. */
export interface Checked {
  downstream: wire.Downstream;
  bytes: number;
}

const traceparent00 = /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/; // W3C Trace Context §3.2

const utf8 = new TextEncoder();

/**
 * Checks a downstream and encodes it. The error names all reasons why no transport, or not that of its session, could
 * carry it. What only the host can know, such as a session of a former name, is left to the host.
 */
export function encode(d: Downstream, messageId: string, session: string, transport: Transport | undefined): Checked {
  if (typeof d !== "object" || d === null) {
    throw new InvalidError(`send: it is ${describe(d)}: give an object with to and data`);
  }
  checkFields("a downstream", d, fields);
  const check = new Checker();
  check.id("messageId", messageId);
  const to = check.target(d.to);
  for (const name of ["group", "replace", "session"] as const) {
    if (d[name]) {
      check.id(name, d[name]);
    }
  }
  const data = check.payload("data", d.data, checkDataKey);
  const notification = check.payload("notification", d.notification, checkArguments);
  const limit = to.case === "token" || to.case === "fid" ? maxPayload : maxTopicPayload;
  if (data.size + notification.size > limit) {
    check.add(
      "data and notification",
      `have ${data.size + notification.size} bytes of keys and values`,
      tooMuch(limit),
    );
  }
  const traceparent = check.traceparent(d.traceparent);
  const context = check.context(d.context);
  const options = d.options === undefined ? undefined : check.options(d.options);
  const notBefore = d.notBefore === undefined ? 0n : check.time("notBefore", d.notBefore);
  if (transport !== undefined) {
    check.fits(transport, to, options, d.data);
  }
  check.done(transport === undefined ? "" : `session ${quote(session)} (${transport}): `);
  const text = [messageId, session, to.value, d.group, d.replace, traceparent, options?.priority, options?.collapseKey];
  const bytes = [data.json, notification.json, context, options?.android, options?.apns, options?.webpush];
  return {
    downstream: create(wire.DownstreamSchema, {
      messageId,
      session,
      to: { to } as wire.Target,
      data: data.json,
      notification: notification.json,
      options,
      group: d.group,
      context,
      notBeforeMs: notBefore,
      replace: d.replace,
      traceparent,
    }),
    bytes:
      64 +
      text.reduce((sum, s) => sum + (s ? bytesOf(s) : 0), 0) +
      bytes.reduce((sum, b) => sum + (b ? b.length : 0), 0),
  };
}

/** Refuses a message id that no downstream can have. */
export function checkId(id: string): void {
  const check = new Checker();
  check.id("messageId", id);
  check.done("");
}

const fields: ReadonlySet<string> = new Set<keyof Downstream>([
  "to",
  "data",
  "notification",
  "options",
  "group",
  "messageId",
  "session",
  "context",
  "notBefore",
  "replace",
  "traceparent",
]);

const optionFields: ReadonlySet<string> = new Set<keyof Options>([
  "ttlSeconds",
  "priority",
  "collapseKey",
  "dryRun",
  "receiptRequested",
  "contentAvailable",
  "mutableContent",
  "android",
  "apns",
  "webpush",
]);

const switches = ["dryRun", "receiptRequested", "contentAvailable", "mutableContent"] as const;
const blocks = ["android", "apns", "webpush"] as const;
const targets = ["token", "fid", "topic", "condition"] as const;
const nothing = new Uint8Array();

type To = { case: (typeof targets)[number]; value: string };
type Rule = (check: Checker, key: string, value: string) => void;

const tooMuch = (limit: number) =>
  `FCM takes at most ${limit} bytes; send less, or an address from which the app can fetch it`;

/** Refuses keys that FCM reserves, or hides from the app. */
const checkDataKey: Rule = (check, key) => {
  if (key === "from" || key === "message_type" || key.startsWith("google") || key.startsWith("gcm")) {
    check.add(
      `data.${key}`,
      "is a key that FCM reserves",
      "choose another; from, message_type, google… and gcm… are reserved",
    );
  }
};

/** Arguments of a text are a JSON array in a string. */
const checkArguments: Rule = (check, key, value) => {
  if (key.endsWith("_loc_args") && !isArray(value)) {
    check.add(`notification.${key}`, `is ${quote(value)}, not a JSON array in a string`, 'write it like "[\\"Ann\\"]"');
  }
};

function isArray(json: string): boolean {
  try {
    return Array.isArray(JSON.parse(json));
  } catch {
    return false;
  }
}

/** Collects what is wrong with one downstream. */
class Checker {
  #problems: string[] = [];

  add(field: string, wrong: string, mend: string): void {
    this.#problems.push(`${field} ${wrong}: ${mend}`);
  }

  /** Throws all problems as one error. */
  done(prefix: string): void {
    const problems = this.#problems;
    if (problems.length > 0) {
      const more = problems.length > 20 ? `\nand ${problems.length - 20} more` : "";
      throw new InvalidError(`invalid downstream: ${prefix}${problems.slice(0, 20).join("\n")}${more}`);
    }
  }

  id(field: string, s: unknown): void {
    if (typeof s !== "string" || s === "") {
      this.add(field, `is ${s === "" ? "empty" : describe(s)}`, "give it a text");
    } else if (s.length > maxId || bytesOf(s) > maxId) {
      this.add(field, `has ${bytesOf(s)} bytes`, `use at most ${maxId}, for example a hash`);
    } else {
      this.text(field, s);
    }
  }

  /** Refuses what a log line, XML or UTF-8 cannot carry. */
  text(field: string, s: string): void {
    if (!s.isWellFormed()) {
      this.add(field, `${quote(s)} has half of a surrogate pair`, "don't cut text inside a character");
    } else if (/[\0-\x1f\x7f\ufffe\uffff]/.test(s)) {
      this.add(field, `${quote(s)} has a character that nobody can read`, "leave it out");
    }
  }

  target(t: Target): To {
    const given =
      typeof t === "object" && t !== null ? Object.entries(t).filter(([, value]) => value !== undefined) : [];
    const [kind, value] = given[0] ?? [];
    const known = targets.find((name) => name === kind);
    if (given.length !== 1 || known === undefined || typeof value !== "string" || value === "") {
      this.add(
        "to",
        `is ${given.length === 0 ? describe(t) : quote(JSON.stringify(t))}`,
        "use token(…), fid(…), topic(…) or condition(…)",
      );
      return { case: "token", value: "" };
    }
    if (bytesOf(value) > maxTarget) {
      this.add(`to.${known}`, `has ${bytesOf(value)} bytes`, `use at most ${maxTarget}`);
    } else {
      this.text(`to.${known}`, value);
    }
    if (known === "topic" && !/^[\w.~%-]+$/.test(value)) {
      this.add(
        "to.topic",
        `${quote(value)} is not a topic's name`,
        "use the name alone: letters, digits and - _ . ~ %",
      );
    } else if (known === "condition" && operators(value) === undefined) {
      this.add("to.condition", `is ${quote(value)}`, "write it like 'a' in topics && ('b' in topics || 'c' in topics)");
    } else if (known === "token" && value.startsWith("/topics/")) {
      this.add("to.token", "is a topic", "use topic(…) with the name after /topics/");
    } else if ((known === "token" || known === "fid") && value.includes(" ")) {
      this.add(`to.${known}`, "has a space", "use it exactly as the app got it");
    }
    return { case: known, value };
  }

  /** An object of strings as JSON, and the bytes of its keys and values. */
  payload(name: string, given: Data | undefined, rule: Rule): { json: Uint8Array; size: number } {
    if (given === undefined || given === null) {
      return { json: nothing, size: 0 };
    }
    if (typeof given !== "object" || Array.isArray(given)) {
      this.add(name, `is ${describe(given)}`, "give an object with string values");
      return { json: nothing, size: 0 };
    }
    let size = 0;
    let whole = true;
    for (const key of Object.keys(given)) {
      const value: unknown = given[key];
      if (typeof value !== "string") {
        this.add(`${name}.${key}`, `is ${describe(value)}`, "FCM takes strings only: use String() or JSON.stringify()");
        continue;
      }
      if (!key.isWellFormed() || !value.isWellFormed()) {
        this.add(
          `${name}.${key.toWellFormed()}`,
          "has half of a surrogate pair",
          "don't cut text inside a character, or make it whole with toWellFormed()",
        );
      }
      if (/[\ufffe\uffff]/.test(key) || /[\ufffe\uffff]/.test(value)) {
        whole = false;
      }
      size += bytesOf(key) + bytesOf(value);
      rule(this, key, value);
    }
    let json = JSON.stringify(given);
    if (!whole) {
      // XML has no place for these two, but JSON has escapes
      json = json.replaceAll("\ufffe", "\\ufffe").replaceAll("\uffff", "\\uffff");
    }
    return { json: this.#bounded(name, json), size };
  }

  #bounded(name: string, json: string): Uint8Array {
    const bytes = utf8.encode(json);
    if (bytes.length > maxText) {
      this.add(name, `is ${bytes.length} bytes of JSON text`, `use at most ${maxText}`);
    }
    return bytes;
  }

  context(given: unknown): Uint8Array {
    if (given === undefined) {
      return nothing;
    }
    try {
      return utf8.encode(jsonOf("context", given, maxContext));
    } catch (err) {
      this.#problems.push((err as Error).message);
      return nothing;
    }
  }

  /** A trace is never a reason not to send. A mistake of the author's is told all the same. */
  traceparent(given: unknown): string {
    if (given !== undefined && typeof given !== "string") {
      this.add("traceparent", `is ${describe(given)}`, "give the text, such as carrier.traceparent");
    }
    return traceparent00.test(String(given)) ? String(given) : "";
  }

  time(name: string, given: unknown): bigint {
    try {
      return millis(name, given);
    } catch (err) {
      this.#problems.push((err as Error).message);
      return 0n;
    }
  }

  options(o: Options): wire.Options {
    checkFields("options", o, optionFields);
    const out = create(wire.OptionsSchema);
    if (o.ttlSeconds !== undefined) {
      if (!Number.isInteger(o.ttlSeconds) || o.ttlSeconds < 0 || o.ttlSeconds > maxTtl) {
        this.add(
          "options.ttlSeconds",
          `is ${describe(o.ttlSeconds)}`,
          `use whole seconds from 0 (now or never) to ${maxTtl} (four weeks)`,
        );
      } else {
        out.ttlS = BigInt(o.ttlSeconds);
      }
    }
    if (o.priority !== undefined) {
      if (o.priority !== "normal" && o.priority !== "high") {
        this.add("options.priority", `is ${quote(String(o.priority))}`, 'use "normal" or "high", or leave it out');
      }
      out.priority = o.priority;
    }
    if (o.collapseKey) {
      this.id("options.collapseKey", o.collapseKey);
      out.collapseKey = o.collapseKey;
    }
    for (const name of switches) {
      const value: unknown = o[name] ?? false;
      if (typeof value !== "boolean") {
        this.add(`options.${name}`, `is ${describe(value)}`, "use true or false");
      }
      out[name] = value === true;
    }
    for (const name of blocks) {
      out[name] = this.#block(`options.${name}`, o[name]);
    }
    return out;
  }

  #block(name: string, given: unknown): Uint8Array {
    if (given === undefined) {
      return nothing;
    }
    if (typeof given !== "object" || given === null || Array.isArray(given)) {
      this.add(name, `is ${describe(given)}`, "give the block of one platform, as FCM's HTTP v1 has it");
      return nothing;
    }
    const json = JSON.stringify(given);
    if (/(^|[^\\])(\\\\)*\\ud[89a-f]/.test(json)) {
      // JSON.stringify escapes half a pair, and no whole one
      this.add(name, "has half of a surrogate pair", "don't cut text inside a character");
    }
    return this.#bounded(name, json);
  }

  /** What the transport of the downstream's session cannot carry. The fields of raw blocks are left to the host. */
  fits(transport: Transport, to: To, options: wire.Options | undefined, data: Data | undefined): void {
    const mend = "leave it out, or use a session with fcm_v1";
    if (transport === "huawei") {
      this.add("session", "has Huawei's uplink alone, which brings messages up only", "use another session");
    }
    if (transport === "ccs" && to.case === "fid") {
      this.add("to.fid", "is set, but CCS knows no installation ids", "use the token, or a session with fcm_v1");
    }
    if (transport === "gateway" && (to.case === "topic" || to.case === "condition")) {
      this.add(
        `to.${to.case}`,
        "is set, but a gateway reaches single devices only",
        "send to each device, or use a session with fcm_v1",
      );
    }
    if (transport === "gateway" && options?.dryRun) {
      this.add("options.dryRun", "is set, but the gateway would deliver the message", mend);
    }
    const most = transport === "ccs" ? 2 : 4;
    if (to.case === "condition" && (operators(to.value) ?? 0) > most) {
      this.add("to.condition", `has more than ${most} operators`, "use fewer topics");
    }
    for (const name of blocks) {
      if (transport !== "fcm_v1" && options?.[name].length) {
        this.add(`options.${name}`, "is a block of FCM's HTTP v1", mend);
      }
    }
    for (const name of ["bal_id", "bal_seq", "bal_receipt"]) {
      if (transport !== "ccs" && data && Object.hasOwn(data, name)) {
        this.add(`data.${name}`, "is the host's own key", "choose another");
      }
    }
  }
}

/**
 * How many && and || a condition has; undefined if it is none.
 *
 *     expr  = unary { ( "&&" | "||" ) unary }
 *     unary = "!" unary | "(" expr ")" | "'" topic "'" "in" "topics"
 */
function operators(condition: string): number | undefined {
  const tokens = condition.match(/&&|\|\||[!()]|'[\w.~%-]+'\s*in\s+topics|\S/g) ?? [];
  let at = 0;
  let count = 0;
  const unary = (): boolean => {
    const token = tokens[at++] ?? "";
    return token === "!"
      ? unary()
      : token === "("
        ? expr() && tokens[at++] === ")"
        : token.startsWith("'") && token.length > 1;
  };
  const expr = (): boolean => {
    if (!unary()) {
      return false;
    }
    for (; tokens[at] === "&&" || tokens[at] === "||"; count++) {
      at++;
      if (!unary()) {
        return false;
      }
    }
    return true;
  };
  return expr() && at === tokens.length ? count : undefined;
}
