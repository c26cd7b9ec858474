import { create } from "@bufbuild/protobuf";
import * as wire from "./wire/balhost/plugin/v1/plugin_pb.js";

// Where a frame is cut: larger ones cost latency and save nothing. One item may be larger than maxBytes.
const maxItems = 64;
const maxDone = 256;
const maxBytes = 256 << 10;
const perItem = 128;

/** Writes one frame, and calls written when the next one may follow. */
export type WriteFrame = (frame: wire.PluginFrame, written: () => void) => void;

/** One item of a list, and about how many bytes it takes. */
interface Weighed<T> {
  item: T;
  bytes: number;
}

/**
 * The one writer of the plugin's frames. What comes in one turn of the event loop, or while a write is under way, goes
 * out as one frame: a frame of 16 results costs little more than one of 1.
 */
export class Writer {
  #write: WriteFrame;
  #done: bigint[] = [];
  #results: Weighed<wire.Result>[] = [];
  #calls: Weighed<wire.Call>[] = [];
  #abandon: bigint[] = [];
  #extend: bigint[] = [];
  #rest: { credit?: number; pong?: bigint; runFailure?: wire.RunFailure } = {};
  #drained = false;
  #planned = false; // a flush comes in this turn of the loop
  #busy = false; // a write is under way
  #closed: (() => void) | undefined;
  #over = false; // what comes now is dropped

  constructor(write: WriteFrame) {
    this.#write = write;
  }

  done(delivery: bigint): void {
    this.#done.push(delivery);
    this.#plan();
  }

  result(result: wire.Result, bytes: number): void {
    this.#results.push({ item: result, bytes: bytes + perItem });
    this.#plan();
  }

  call(call: wire.Call, bytes: number): void {
    this.#calls.push({ item: call, bytes: bytes + perItem });
    this.#plan();
  }

  abandon(call: bigint): void {
    this.#abandon.push(call);
    this.#plan();
  }

  extend(deliveries: bigint[]): void {
    this.#extend = deliveries;
    this.#plan();
  }

  /** Of these the last one counts. */
  tell(rest: { credit?: number; pong?: bigint; runFailure?: wire.RunFailure }): void {
    Object.assign(this.#rest, rest);
    this.#plan();
  }

  /** Writes what there is, with drained at its end, and then no more. Later frames are dropped. */
  close(end: { drained: boolean }): Promise<void> {
    this.#drained = end.drained;
    return new Promise((resolve) => {
      this.#closed = resolve;
      this.#plan();
    });
  }

  #plan(): void {
    if (!this.#planned && !this.#busy && !this.#over) {
      this.#planned = true;
      setImmediate(() => {
        this.#planned = false;
        this.#flush();
      });
    }
  }

  #flush(): void {
    const frame = this.#cut();
    if (frame === undefined) {
      this.#over = this.#closed !== undefined;
      this.#closed?.();
      return;
    }
    this.#busy = true;
    this.#write(frame, () => {
      this.#busy = false;
      this.#plan();
    });
  }

  /** Takes what goes into the next frame; undefined: nothing is left. Drained goes after all else. */
  #cut(): wire.PluginFrame | undefined {
    const empty = this.#done.length + this.#results.length + this.#calls.length + this.#abandon.length === 0;
    if (empty && this.#extend.length === 0 && Object.keys(this.#rest).length === 0 && !this.#drained) {
      return undefined;
    }
    const frame = create(wire.PluginFrameSchema, { ...this.#rest, extend: this.#extend });
    this.#rest = {};
    this.#extend = [];
    frame.done = this.#done.splice(0, maxDone);
    const room = { bytes: maxBytes };
    frame.result = front(this.#results, room);
    frame.call = front(this.#calls, room);
    if (this.#calls.length === 0) {
      frame.abandon = this.#abandon; // an abandoned call goes before
      this.#abandon = [];
    }
    if (this.#done.length + this.#results.length + this.#calls.length === 0) {
      frame.drained = this.#drained;
      this.#drained = false;
    }
    return frame;
  }
}

/** Takes items off the front of a list: at least one while there is room. */
function front<T>(list: Weighed<T>[], room: { bytes: number }): T[] {
  let n = 0;
  for (; n < list.length && n < maxItems && room.bytes > 0; n++) {
    const bytes = list[n]!.bytes;
    if (room.bytes < maxBytes && bytes > room.bytes) {
      room.bytes = 0;
      break;
    }
    room.bytes -= bytes;
  }
  return list.splice(0, n).map((weighed) => weighed.item);
}
