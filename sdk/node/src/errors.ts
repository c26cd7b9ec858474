/** This call can never work. The text says why, and what to do. */
export class InvalidError extends Error {
  override readonly name = "InvalidError";
}

/** The host can't do it now: its disk is filling up, or it is stopping. The same call may work later. */
export class UnavailableError extends Error {
  override readonly name = "UnavailableError";
  /** Of `host.send`: the id of the downstream. Send it again with this `messageId`, and it is sent once. */
  messageId?: string;
}

/** Thrown in a handler: the event goes to the dead letters at once, with this reason. No later attempt could succeed. */
export class Reject extends Error {
  override readonly name = "Reject";
  constructor(reason: unknown = "the plugin rejected the event") {
    super(textOf(reason), { cause: reason });
  }
}

/** Thrown in a handler: the event comes again, not before this time has passed. The attempt counts. */
export class Retry extends Error {
  override readonly name = "Retry";
  /**
   * @param after milliseconds, at most a week; less than 0: the host decides, as after any other error
   * @param reason stands in the host's log
   */
  constructor(
    readonly after: number,
    reason: unknown = "the plugin asked for a retry",
  ) {
    super(textOf(reason), { cause: reason });
  }
}

/** Why a handler's or a call's signal was aborted. */
export class EndedError extends Error {
  override readonly name = "AbortError";
}

export const disconnected = () => new UnavailableError("the connection to the host has ended");

/** The text of whatever was thrown. */
export function textOf(thrown: unknown): string {
  if (thrown instanceof Error) {
    return thrown.message || thrown.name;
  }
  return typeof thrown === "string" ? thrown : `thrown: ${String(thrown)}`;
}
