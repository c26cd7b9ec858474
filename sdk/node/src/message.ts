import type * as wire from "./wire/balhost/plugin/v1/plugin_pb.js";
import { Reject, textOf } from "./errors.js";

/** A JSON object whose values are all strings: nothing else travels to a device. */
export type Data = Readonly<Record<string, string>>;

/** How a session's messages travel. `Transport` of a host newer than this SDK may be another text. */
export type Transport = "ccs" | "fcm_v1" | "gateway" | "huawei" | (string & {});

/** Where a downstream goes. `token`, `fid`, `topic` and `condition` make one. */
export type Target =
  { readonly token: string } | { readonly fid: string } | { readonly topic: string } | { readonly condition: string };

/** One device by its registration token, or a device group by its notification key. */
export const token = (token: string): Target => ({ token });

/** One installation of an app by its Firebase installation id. A session with CCS does not take it. */
export const fid = (fid: string): Target => ({ fid });

/** The subscribers of a topic; the name has no "/topics/" before it. */
export const topic = (topic: string): Target => ({ topic });

/** Devices by a boolean expression over topics, such as `'a' in topics && 'b' in topics`. */
export const condition = (condition: string): Target => ({ condition });

/** A message to a device, a topic or a condition. */
export interface Downstream {
  to: Target;
  data?: Data;
  notification?: Data;
  /** FCM's delivery options. Left out: FCM's defaults. */
  options?: Options;
  /** Messages of one group go out one after the other. */
  group?: string;
  /** 1 to 255 bytes without control characters. Left out: the SDK makes one. */
  messageId?: string;
  /** Left out: the session of the event; outside of a handler the host's only session. */
  session?: string;
  /** For the plugin itself: any JSON. It comes back in the outcome, and never leaves the host. At most 64 KiB. */
  context?: unknown;
  /** It waits until then, and its TTL begins then. A number is Unix time in milliseconds. */
  notBefore?: Date | number;
  /** It takes the place of the plugin's older one with the same `replace`, session and target, if that has not gone out. */
  replace?: string;
  /**
   * The span that makes it, as W3C's Trace Context writes it. Left out: in a handler the span of the attempt; outside of
   * one the host decides. What is no traceparent is left out.
   */
  traceparent?: string;
}

/** FCM's delivery options. */
export interface Options {
  /** Whole seconds, 0 (now or never) to 2419200. Left out: four weeks. */
  ttlSeconds?: number;
  priority?: "normal" | "high";
  /** Of several with one key that wait for a device, the last one reaches it. */
  collapseKey?: string;
  /** FCM checks the message, and delivers nothing. */
  dryRun?: boolean;
  receiptRequested?: boolean;
  contentAvailable?: boolean;
  mutableContent?: boolean;
  /** Raw blocks of FCM's HTTP v1, their fields in snake_case. Only for a session with `fcm_v1`. */
  android?: object;
  apns?: object;
  webpush?: object;
}

/** Where a timer comes: in the lane of a device's upstreams, or in one of the plugin's own. */
export type Lane = { readonly device: string; readonly session?: string } | { readonly named: string };

/** The lane of a device's upstreams. Without a session: that of the event; outside of a handler the host's only one. */
export const inLaneOf = (device: string, session?: string): Lane => ({ device, session });

/** A lane of the plugin's own, for timers that should come one after the other. Its name is 1 to 512 bytes. */
export const inLane = (named: string): Lane => ({ named });

/** One key of the plugin's state. `value` is as JSON.parse gives it. */
export interface Item<T = any> {
  key: string;
  value: T;
}

/** One message from a device. */
export class Upstream {
  readonly #from: wire.Upstream;
  /** @internal */
  constructor(
    from: wire.Upstream,
    /** 1 at the first attempt. */
    readonly attempt: number,
  ) {
    this.#from = from;
  }
  /** The host's id of this message; the same at each attempt. */
  get id(): string {
    return this.#from.id;
  }
  /** Name of the session in config.hcl that the message came through. */
  get session(): string {
    return this.#from.session;
  }
  /** The device: its registration token; through a gateway, what its credential says. */
  get from(): string {
    return this.#from.device;
  }
  /** The app's package name or bundle id; empty if CCS sent none. */
  get category(): string {
    return this.#from.category;
  }
  /** The device's id of the message, unique for that device only. */
  get messageId(): string {
    return this.#from.messageId;
  }
  /** When the host stored the message. */
  get received(): Date {
    return new Date(Number(this.#from.receivedMs));
  }
  /** The payload's data as JSON.parse gives it; undefined if there was none. Check it: the device wrote it. */
  get data(): any {
    return parse(this.dataText, "data");
  }
  /** The payload's data as it came, byte by byte; empty if there was none. */
  get dataText(): string {
    const { data, raw, dataStart, dataEnd } = this.#from;
    const inside = data.length === 0 && dataStart < dataEnd && dataEnd <= raw.length;
    return utf8(inside ? raw.subarray(dataStart, dataEnd) : data);
  }
  /** The whole payload as it came. */
  get raw(): Uint8Array {
    return this.#from.raw;
  }
}

/** How a downstream ended: FCM or the device took it; it was refused for good; its TTL passed; it was canceled. */
export type OutcomeStatus = "acked" | "failed" | "expired" | "canceled" | (string & {});

/** Tells how one downstream ended. */
export class Outcome {
  readonly id: string;
  readonly session: string;
  /** Of the downstream, as are `group`, `to` and `context`. */
  readonly messageId: string;
  readonly group: string;
  readonly to: Target;
  readonly status: OutcomeStatus;
  /** Of "canceled": CANCELED or REPLACED. Of "failed": the error code of FCM, or of the host. */
  readonly code: string;
  readonly description: string;
  /** Not empty: use this token instead of the old one. */
  readonly newToken: string;
  /** Of "failed": the target does not exist any more, so forget it. */
  readonly gone: boolean;
  /** How often the downstream was sent. */
  readonly attempts: number;
  readonly #context: Uint8Array;
  /** @internal */
  constructor(
    from: wire.Outcome,
    /** Of this event; 1 at the first attempt. */
    readonly attempt: number,
  ) {
    this.id = from.id;
    this.session = from.session;
    this.messageId = from.messageId;
    this.group = from.group;
    this.to = targetOf(from.to);
    this.status = from.status;
    this.code = from.code;
    this.description = from.description;
    this.newToken = from.newToken;
    this.gone = from.gone;
    this.attempts = from.attempts;
    this.#context = from.context;
  }
  /** As given to `send`; undefined if there was none. */
  get context(): any {
    return parse(utf8(this.#context), "context");
  }
}

/** Tells that a device has got a downstream. */
export class Receipt {
  readonly id: string;
  readonly session: string;
  /** The `messageId` of the downstream. */
  readonly originalMessageId: string;
  readonly device: string;
  readonly category: string;
  /** For example MESSAGE_SENT_TO_DEVICE. */
  readonly status: string;
  /** Undefined: not known. */
  readonly sentAt: Date | undefined;
  /** @internal */
  constructor(
    from: wire.Receipt,
    /** Of this event; 1 at the first attempt. */
    readonly attempt: number,
  ) {
    this.id = from.id;
    this.session = from.session;
    this.originalMessageId = from.originalMessageId;
    this.device = from.device;
    this.category = from.category;
    this.status = from.status;
    this.sentAt = from.sentMs === 0n ? undefined : new Date(Number(from.sentMs));
  }
}

/** A timer is due: a handler of the plugin has set it. */
export class Timer {
  readonly id: string;
  /** Of the event that set it, or as named then, as is `device`; empty: none. */
  readonly session: string;
  readonly device: string;
  readonly key: string;
  /** What it was set for. */
  readonly due: Date;
  readonly #data: Uint8Array;
  /** @internal */
  constructor(
    from: wire.Timer,
    /** Of this event; 1 at the first attempt. */
    readonly attempt: number,
  ) {
    this.id = from.id;
    this.session = from.session;
    this.device = from.device;
    this.key = from.key;
    this.due = new Date(Number(from.dueMs));
    this.#data = from.data;
  }
  /** As given to `schedule`; undefined if there was none. */
  get data(): any {
    return parse(utf8(this.#data), "data");
  }
}

/** The text of bytes in UTF-8. */
export function utf8(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
}

/** Parses what came with an event. What is not JSON now will not be at a later attempt. */
function parse(text: string, field: string): any {
  if (text === "") {
    return undefined;
  }
  try {
    return JSON.parse(text);
  } catch (err) {
    throw new Reject(`the event's ${field} is not JSON: ${textOf(err)}`);
  }
}

export function targetOf(to: wire.Target | undefined): Target {
  const of = to?.to;
  return (of?.case === undefined ? { token: "" } : { [of.case]: of.value }) as Target;
}
