import { InvalidError } from "./errors.js";
import { quote } from "./limits.js";
import type { Transport } from "./message.js";

const maxFormer = 1000; // names that are kept, the newest

/** The host's sessions, as it told them last. */
export class Sessions {
  names: readonly string[] = [];
  #transports: readonly string[] = [];
  #former: readonly string[] = []; // told earlier: the host takes those of a session that was renamed

  set(names: readonly string[], transports: readonly string[]): void {
    const former = new Set([...this.#former, ...this.names]);
    this.#former = [...former].filter((name) => !names.includes(name)).slice(-maxFormer);
    this.names = names;
    this.#transports = transports; // of these names; an old host tells none, and its sessions are all CCS
  }

  /** The transport of a session; of "" that of the only one. Undefined: the host has told of no such session. */
  transport(name: string): Transport | undefined {
    const at = name === "" && this.names.length === 1 ? 0 : this.names.indexOf(name);
    return at < 0 ? undefined : this.#transports[at] || "ccs";
  }

  /**
   * Refuses a session that the host does not have. The host decides about names that it told earlier, and about that of
   * the event.
   */
  check(what: string, session: string, ofEvent: string): void {
    const { names } = this;
    if (session === ofEvent && session !== "") {
      return;
    }
    if (
      session === ""
        ? names.length > 1
        : names.length > 0 && !names.includes(session) && !this.#former.includes(session)
    ) {
      const wrong =
        session === "" ? "it names no session, and the host has several" : `the host has no session ${quote(session)}`;
      throw new InvalidError(`${what}: ${wrong}: set session to one of ${names.map(quote).join(", ")}`);
    }
  }
}
