export type Data = Record<string, unknown>;
export interface Message {
    message_id: string;
    data: Data;
    expires: number;
}
export interface Receipt {
    original_message_id: string;
    status: string;
    timestamp: number;
}
export interface Push {
    message_id: string;
    data?: Data;
    notification?: Data;
}
/** What is on disk: what waits, oldest first, and the ids that came down. */
export interface State {
    queue: Message[];
    receipts: Receipt[];
    seen: string[];
}
/** A place for the state. It resolves when the change is on disk, all of it or nothing. */
export interface Store {
    update<T>(change: (s: State) => T): Promise<T>;
}
/** Why a message was not sent. The numbers are those of Firebase's SendException. */
export declare const ErrorCode: {
    readonly unknown: 0;
    readonly invalidParameters: 1;
    readonly size: 2;
    readonly ttlExceeded: 3;
    readonly tooManyMessages: 4;
};
export declare class SendError extends Error {
    readonly code: number;
    constructor(code: number, why: string);
}
export interface Options {
    url: string;
    from: string;
    category: string;
    token(fresh: boolean): Promise<string>;
    onMessage?(p: Push): void | Promise<void>;
    onMessageSent?(id: string): void;
    onSendError?(id: string, code: number, why: string): void;
    onState?(state: string): void;
    store?: Store;
    WebSocket?: typeof WebSocket;
}
export declare class Balhost {
    private readonly o;
    private readonly store;
    private readonly others;
    private line;
    private stopped;
    private fresh;
    private wake;
    private close;
    constructor(o: Options);
    /** Queues a message, and resolves with its id when it is on disk. */
    send(data: Data, ttl?: number): Promise<string>;
    /** Queues a receipt: DISPLAYED or OPENED, of a message that came. */
    receipt(id: string, status: string): Promise<void>;
    /** Gives the app what came by a push, once, and queues the receipt that it asks for. */
    pushed(data: Data): Promise<void>;
    /** Talks to the gateway until stop, in this tab or in the one that leads. */
    start(): Promise<void>;
    stop(): void;
    private changed;
    private lead;
    private token;
    /** One WebSocket, from opening to its end. */
    private socket;
    /** Sends what waits over HTTP, and resolves with the milliseconds to wait, when it can't go on. */
    private flush;
    /** What waits. What is too old for its time_to_live is reported, and left out. */
    private waiting;
    private stored;
    private refused;
    /** Takes what was answered out of the queue. True: it was a message, and waited. */
    private drop;
    /** Gives the app a message, unless it has it. The last 200 ids are known. */
    private take;
}
/** The state in IndexedDB: it outlives the page and the browser. */
export declare function indexedDBStore(name: string): Store;
/** The state in memory, for tests, and for pages that may forget. */
export declare function memoryStore(state?: State): Store;
