import { create, fromBinary, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { Link } from "../link.js";
import { JsonLog } from "../log.js";
import { manifest } from "../manifest.js";
import { Metrics } from "../metrics.js";
import { checkPlugin, type Plugin } from "../plugin.js";
import * as wire from "../wire/balhost/plugin/v1/plugin_pb.js";

/** What an instance is started with. */
export interface Start {
  plugin: Plugin;
  configure: wire.ConfigureRequest;
  log(line: string): void;
  /** Answers a call of the plugin. */
  answer(call: wire.Call): Promise<wire.Reply>;
}

/** Stands for one process of a plugin. */
export class Instance {
  readonly #link: Link;
  readonly #metrics: Metrics;
  #answer: Start["answer"];
  #last = 0n;
  #out = new Map<bigint, (result: wire.Result | undefined) => void>(); // deliveries without a result
  #over = false;

  /** Starts a plugin as a host does: Describe, Session, Configure. */
  static async open(start: Start): Promise<Instance> {
    checkPlugin(start.plugin);
    manifest(start.plugin, ["offsets", "metrics"]);
    const instance = new Instance(start);
    const why = await instance.#link.configure(start.configure);
    if (why !== "") {
      instance.cut();
      throw new Error(why);
    }
    return instance;
  }

  private constructor({ plugin, log, answer }: Start) {
    this.#answer = answer;
    const json = new JsonLog(plugin.name, log);
    this.#metrics = new Metrics(plugin, json);
    this.#link = new Link(plugin, json, (frame, written) => {
      const bytes = toBinary(wire.PluginFrameSchema, frame);
      setImmediate(() => {
        this.#hear(fromBinary(wire.PluginFrameSchema, bytes));
        written();
      });
    });
    void this.#link.ended.then(() => this.#end());
  }

  send(frame: MessageInitShape<typeof wire.HostFrameSchema>): void {
    if (!this.#over) {
      this.#link.receive(
        fromBinary(wire.HostFrameSchema, toBinary(wire.HostFrameSchema, create(wire.HostFrameSchema, frame))),
      );
    }
  }

  /** Gives an event to the plugin, and waits for the result; undefined: the instance has ended. */
  deliver(d: wire.Delivery): { delivery: bigint; result: Promise<wire.Result | undefined> } {
    const delivery = ++this.#last;
    const result = new Promise<wire.Result | undefined>((resolve) => {
      if (this.#over) {
        resolve(undefined);
      } else {
        this.#out.set(delivery, resolve);
        this.send({ deliver: [{ ...d, delivery }] });
      }
    });
    return { delivery, result };
  }

  /** What a scrape of the host gets of the plugin's own metrics. */
  metrics(): Promise<string> {
    return this.#metrics.text();
  }

  /** Asks the plugin to end, and waits until it has. */
  async drain(timeoutMs: number): Promise<void> {
    this.send({ drain: { reason: "test", timeoutMs } });
    await this.#link.ended;
  }

  /** Ends the instance as a kill does: what the plugin does from now on is lost. */
  cut(): void {
    this.#link.lost("broken");
    this.#end();
  }

  #end(): void {
    this.#over = true;
    for (const resolve of this.#out.values()) {
      resolve(undefined);
    }
    this.#out.clear();
  }

  #hear(f: wire.PluginFrame): void {
    if (this.#over) {
      return;
    }
    for (const call of f.call) {
      void this.#answer(call).then((reply) => this.send({ reply: [reply] }));
    }
    for (const delivery of f.done) {
      this.#finish(create(wire.ResultSchema, { delivery, code: wire.Result_Code.DONE }));
    }
    for (const result of f.result) {
      this.#finish(result);
    }
  }

  #finish(result: wire.Result): void {
    this.#out.get(result.delivery)?.(result);
    this.#out.delete(result.delivery);
  }
}
