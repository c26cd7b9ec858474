/**
 * Plugins of balhost in JavaScript and TypeScript. A plugin is an object with handlers, and its main module gives it to
 * `serve`. Test it with `balhost/testing`. Start at `Plugin` and `Tx`.
 */
export { InvalidError, Reject, Retry, UnavailableError } from "./errors.js";
export type { CallOptions, Host } from "./host.js";
export type { Facts, Log } from "./log.js";
export { condition, fid, inLane, inLaneOf, token, topic } from "./message.js";
export type { Data, Downstream, Item, Lane, Options, OutcomeStatus, Target, Transport } from "./message.js";
export type { Outcome, Receipt, Timer, Upstream } from "./message.js";
export { orderByDevice, orderByKey, orderNone } from "./plugin.js";
export type { Order, Plugin } from "./plugin.js";
export { serve } from "./serve.js";
export type { Page, Tx } from "./tx.js";
