import { InvalidError } from "./errors.js";
import type { Transport } from "./message.js";

/** The host's sessions, as it told them last. */
export class Sessions {
  names: readonly string[] = [];
  #transports: readonly string[] = [];

  set(names: readonly string[], transports: readonly string[]): void {
    this.names = names;
    this.#transports = transports; // of these names; an old host tells none, and its sessions are all CCS
  }

  /** The transport of a session; of "" that of the only one. Undefined: the host has told of no such session. */
  transport(name: string): Transport | undefined {
    const at = name === "" && this.names.length === 1 ? 0 : this.names.indexOf(name);
    return at < 0 ? undefined : this.#transports[at] || "ccs";
  }

  /** Refuses a downstream without a session where the host has several. */
  checkNamed(session: string): void {
    if (session === "" && this.names.length > 1) {
      throw new InvalidError(
        `send: it names no session, and the host has several: set session to one of ${this.names.join(", ")}`,
      );
    }
  }
}
