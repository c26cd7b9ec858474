// balhost.ts lets a web page send upstream messages to a balhost gateway, and get what
// comes down. A message waits in a queue on disk until the gateway says that it is stored. Its id is
// made when it is queued, and never changes, so nothing is lost and nothing counts
// twice. One tab, the leader, talks to the gateway for all tabs of the page.

export type Data = Record<string, unknown>;
export interface Message { message_id: string; data: Data; expires: number }
export interface Receipt { original_message_id: string; status: string; timestamp: number }
export interface Push { message_id: string; data?: Data; notification?: Data }

/** What is on disk: what waits, oldest first, and the ids that came down. */
export interface State { queue: Message[]; receipts: Receipt[]; seen: string[] }

/** A place for the state. It resolves when the change is on disk, all of it or nothing. */
export interface Store { update<T>(change: (s: State) => T): Promise<T> }

/** Why a message was not sent. The numbers are those of Firebase's SendException. */
export const ErrorCode = { unknown: 0, invalidParameters: 1, size: 2, ttlExceeded: 3, tooManyMessages: 4 } as const;
export class SendError extends Error { constructor(readonly code: number, why: string) { super(why); } }

export interface Options {
  url: string;                                    // of the gateway: https://host:port
  from: string;                                   // who this device is
  category: string;                               // the app's package name
  token(fresh: boolean): Promise<string>;         // the credential; fresh: the last one was refused
  onMessage?(p: Push): void | Promise<void>;      // each message once, in the leader tab, before it is acked
  onMessageSent?(id: string): void;               // the gateway has stored it
  onSendError?(id: string, code: number, why: string): void;
  onState?(state: string): void;                  // for people: connected, waiting, stopped
  store?: Store;                                  // IndexedDB
  WebSocket?: typeof WebSocket;                   // where there is none
}

const empty = (): State => ({ queue: [], receipts: [], seen: [] });
const sleep = (ms: number) => new Promise<void>(wake => setTimeout(wake, ms));
const jitter = (failures: number, most: number) => Math.random() * Math.min(most, 1000 * 2 ** (failures - 1));
const codeOf = (error?: string) => error === "TOO_BIG" ? ErrorCode.size : error ? ErrorCode.invalidParameters : ErrorCode.unknown;
const final = [1008, 1009, 4403, 4408, 4409]; // connecting again would not help

export class Balhost {
  private readonly store: Store;
  private readonly others = new BroadcastChannel("balhost");
  private line: Promise<unknown> = Promise.resolve(); // one thing after the other
  private stopped = false;
  private fresh = false;
  private wake = () => {};
  private close = () => {};

  constructor(private readonly o: Options) {
    this.store = o.store ?? indexedDBStore("balhost " + o.from);
    this.others.onmessage = () => this.wake();
  }

  /** Queues a message, and resolves with its id when it is on disk. */
  async send(data: Data, ttl = 86_400): Promise<string> {
    const message = { message_id: crypto.randomUUID(), data, expires: Date.now() + ttl * 1000 };
    if (new TextEncoder().encode(JSON.stringify(data)).length > 60_000) throw new SendError(ErrorCode.size, "over 60,000 bytes");
    await this.store.update(s => {
      if (s.queue.length >= 20) throw new SendError(ErrorCode.tooManyMessages, "20 messages wait");
      s.queue.push(message);
    });
    this.changed();
    return message.message_id;
  }

  /** Queues a receipt: DISPLAYED or OPENED, of a message that came. */
  async receipt(id: string, status: string): Promise<void> {
    await this.store.update(s => { s.receipts = [...s.receipts, { original_message_id: id, status, timestamp: Date.now() }].slice(-100); });
    this.changed();
  }

  /** Gives the app what came by a push, once, and queues the receipt that it asks for. */
  async pushed(data: Data): Promise<void> {
    const id = String(data.bal_id);
    await this.take({ message_id: id, data });
    if (data.bal_receipt) await this.receipt(id, "MESSAGE_SENT_TO_DEVICE");
  }

  /** Talks to the gateway until stop, in this tab or in the one that leads. */
  async start(): Promise<void> {
    const lead = () => this.lead();
    await (globalThis.navigator?.locks ? navigator.locks.request("balhost " + this.o.from, lead) : lead());
  }

  stop(): void {
    this.stopped = true;
    this.close();
    this.wake();
    this.others.close();
  }

  private changed() {
    this.wake();
    if (!this.stopped) this.others.postMessage("changed");
  }

  private async lead() {
    for (let failures = 1; !this.stopped; failures++) {
      const end = await this.socket().catch(() => ({ code: 0, wait: 0, welcomed: false }));
      if (final.includes(end.code)) { this.o.onState?.("stopped: " + end.code); return; }
      if (end.welcomed) failures = 1;
      let wait = end.wait * 1000 + (end.code === 4429 ? 30_000 : 0);
      if (!end.welcomed && end.code !== 4401 && !this.stopped) wait = Math.max(wait, await this.flush().catch(() => 0)); // perhaps a proxy lets HTTP through
      this.fresh = end.code === 4401 || this.fresh;
      if (this.stopped) return;
      this.o.onState?.("waiting");
      await Promise.race([sleep(wait + jitter(failures, 60_000)), new Promise<void>(stop => { this.close = stop; })]);
    }
  }

  private async token() {
    const fresh = this.fresh;
    this.fresh = false;
    return this.o.token(fresh);
  }

  /** One WebSocket, from opening to its end. */
  private async socket(): Promise<{ code: number; wait: number; welcomed: boolean }> {
    const { url, from, category } = this.o, token = await this.token();
    const received = (await this.store.update(s => s.seen)).slice(-100);
    const ws = new (this.o.WebSocket ?? WebSocket)(url.replace(/^http/, "ws") + "/v1/ws", "balhost.v1");
    const written = new Set<string>();
    let limit = 0, ping = 25, wait = 0, code = 0, draining = false, silence: ReturnType<typeof setTimeout> | undefined;
    const write = (f: object) => { if (ws.readyState === ws.OPEN) ws.send(JSON.stringify(f)); };
    const heard = () => { clearTimeout(silence); silence = setTimeout(() => ws.close(), (ping + 10) * 1000); };
    const key = (r: { original_message_id?: string; status?: string; message_id?: string }) => r.original_message_id ? r.original_message_id + " " + r.status : r.message_id ?? "";
    const fill = async () => {
      if (draining || !limit) return;
      const { queue, receipts } = await this.waiting();
      for (const r of receipts) if (!written.has(key(r)) && written.size < limit) { written.add(key(r)); write({ type: "receipt", ...r }); }
      for (const { message_id, data, expires } of queue) {
        if (written.has(message_id)) continue;
        if (written.size >= limit) break;
        written.add(message_id);
        write({ type: "upstream", message_id, data, time_to_live: Math.ceil((expires - Date.now()) / 1000) });
      }
    };
    const handle = async (f: any) => {
      switch (f.type) {
        case "welcome":
          limit = f.max_unacked; ping = f.ping;
          this.o.onState?.("connected");
          break;
        case "downstream":
          await this.take(f);
          write({ type: "ack", message_id: f.message_id }); // after the app has it
          return;
        case "ack":
          await this.stored(f);
          written.delete(key(f));
          break;
        case "nack":
          if (f.temporary) { wait = f.retry_after ?? 0; draining = true; ws.close(); return; } // nothing later is stored either
          written.delete(key(f));
          await this.refused(f, f.error, f.description);
          break;
        case "drain":
          draining = true; wait = f.retry_after ?? 0;
          if (!written.size) ws.close();
          return;
        case "ping":
          write({ type: "pong" });
          return;
      }
      if (draining && !written.size) ws.close();
      await fill();
    };
    const next = (work: () => Promise<unknown>) => { this.line = this.line.then(work).catch(() => ws.close()); };
    this.wake = () => next(fill);
    this.close = () => ws.close();
    return new Promise(end => {
      ws.onopen = () => write({ type: "hello", token, from, category, receive_max: 20, received });
      ws.onmessage = e => { heard(); next(() => handle(JSON.parse(e.data))); };
      ws.onclose = e => { code = e.code; clearTimeout(silence); this.wake = this.close = () => {}; end({ code, wait, welcomed: limit > 0 }); };
      heard();
    });
  }

  /** Sends what waits over HTTP, and resolves with the milliseconds to wait, when it can't go on. */
  private async flush(): Promise<number> {
    for (let tried = false; ;) {
      const { queue, receipts } = await this.waiting(), { url, from, category } = this.o;
      const batch = queue.slice(0, 4); // of 60,000 bytes at most, in a body of 256 KiB
      if (!batch.length && !receipts.length) return 0;
      const messages = batch.map(m => ({ message_id: m.message_id, from, category, data: m.data, time_to_live: Math.ceil((m.expires - Date.now()) / 1000) }));
      const [path, body] = batch.length ? ["/v1/upstream", { messages }] : ["/v1/receipts", { receipts: receipts.slice(0, 20).map(r => ({ from, ...r })) }];
      const answer = await fetch(url + path, {
        method: "POST", headers: { "Content-Type": "application/json", Authorization: "Bearer " + await this.token() }, body: JSON.stringify(body),
      });
      const said = await answer.json().catch(() => ({}));
      if (answer.status === 401 && !tried) { tried = this.fresh = true; continue; }
      if ([401, 408, 429].includes(answer.status) || answer.status >= 500) return (Number(answer.headers.get("Retry-After")) || 0) * 1000;
      tried = false;
      if (!answer.ok) for (const r of batch.length ? batch : receipts.slice(0, 20)) await this.refused(r, said.error, said.description);
      else for (const [i, r] of said.results.entries()) {
        const what = batch.length ? batch[i] : receipts[i];
        await (r.status === "refused" ? this.refused(what, r.error, r.description) : this.stored(what));
      }
    }
  }

  /** What waits. What is too old for its time_to_live is reported, and left out. */
  private async waiting(): Promise<State> {
    const { late, state } = await this.store.update(s => {
      const late = s.queue.filter(m => m.expires <= Date.now());
      s.queue = s.queue.filter(m => m.expires > Date.now());
      return { late, state: s };
    });
    for (const m of late) this.o.onSendError?.(m.message_id, ErrorCode.ttlExceeded, "its time is over");
    return state;
  }

  private async stored(f: Partial<Message & Receipt>) {
    if (await this.drop(f)) this.o.onMessageSent?.(f.message_id!);
  }

  private async refused(f: Partial<Message & Receipt>, error?: string, why?: string) {
    if (await this.drop(f)) this.o.onSendError?.(f.message_id!, codeOf(error), `${error}: ${why}`);
  }

  /** Takes what was answered out of the queue. True: it was a message, and waited. */
  private drop(f: Partial<Message & Receipt>): Promise<boolean> {
    return this.store.update(s => {
      const before = s.queue.length;
      s.queue = s.queue.filter(m => m.message_id !== f.message_id);
      s.receipts = s.receipts.filter(r => r.original_message_id !== f.original_message_id || r.status !== (f.status ?? r.status));
      return s.queue.length < before;
    });
  }

  /** Gives the app a message, unless it has it. The last 200 ids are known. */
  private async take(p: Push) {
    if (await this.store.update(s => s.seen.includes(p.message_id))) return;
    await this.o.onMessage?.(p);
    await this.store.update(s => { s.seen = [...s.seen, p.message_id].slice(-200); });
  }
}

/** The state in IndexedDB: it outlives the page and the browser. */
export function indexedDBStore(name: string): Store {
  const db = new Promise<IDBDatabase>((ok, no) => {
    const open = indexedDB.open(name, 1);
    open.onupgradeneeded = () => { open.result.createObjectStore("state"); };
    open.onsuccess = () => ok(open.result);
    open.onerror = () => no(open.error);
  });
  return {
    async update(change) {
      const tx = (await db).transaction("state", "readwrite", { durability: "strict" }), all = tx.objectStore("state");
      return new Promise((ok, no) => {
        let out: any, thrown: unknown;
        const get = all.get("all");
        get.onsuccess = () => {
          const state: State = get.result ?? empty();
          try { out = change(state); all.put(state, "all"); } catch (e) { thrown = e; tx.abort(); }
        };
        tx.oncomplete = () => ok(out);
        tx.onabort = () => no(thrown ?? tx.error);
      });
    },
  };
}

/** The state in memory, for tests, and for pages that may forget. */
export function memoryStore(state = empty()): Store {
  return { async update(change) { const copy = structuredClone(state), out = change(copy); state = copy; return structuredClone(out); } };
}
