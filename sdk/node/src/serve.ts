import * as grpc from "@grpc/grpc-js";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { textOf } from "./errors.js";
import { bridgeConsole, JsonLog } from "./log.js";
import { checkPlugin, type Plugin } from "./plugin.js";
import { PluginServer } from "./server.js";

const cookie = "5b1f0c2e8a6d4937b0c4d2f1e6a97358";
const protocol = "1|2|unix"; // go-plugin's handshake, the protocol's version, the network
const orphanGrace = 2900; // milliseconds that the host has to stop a plugin whose connection has ended; with lastGrace under 5 s

/**
 * Runs a plugin for the host that started this process. It is the last call in a plugin's main module. Only the host
 * ends a plugin; signals don't while the host is connected, so don't handle them, and don't call process.exit.
 */
export function serve(plugin: Plugin): void {
  try {
    checkPlugin(plugin);
  } catch (err) {
    leave(1, `the plugin can't run: ${textOf(err)}`);
  }
  if (process.env.BALHOST_PLUGIN !== cookie) {
    leave(2, byHand(plugin));
  }
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", () => {}); // the host is gone, and nobody reads
  }
  const log = new JsonLog(plugin.name, (line) => process.stderr.write(line));
  bridgeConsole(log);
  const server = new PluginServer(plugin, log, () => {
    // The host stops this process now, unless the host was killed.
    setTimeout(() => {
      log.warn("the connection to the host has ended, and the host has not stopped this process: exiting");
      process.exit(1);
    }, orphanGrace);
  });
  ignoreSignals(server, log);
  try {
    listen(server);
  } catch (err) {
    leave(1, `plugin ${plugin.name} can't run: ${textOf(err)}`);
  }
}

/** Listens in the folder that the host has made for this process, and then says so. */
function listen(server: PluginServer): void {
  const folder = process.env.PLUGIN_UNIX_SOCKET_DIR;
  if (!folder) {
    throw new Error("PLUGIN_UNIX_SOCKET_DIR is not set: a host sets it");
  }
  const path = join(folder, "plugin.sock");
  const read = (name: string) => readFileSync(join(folder, name));
  const pair = { private_key: read("plugin.key"), cert_chain: read("plugin.crt") };
  const credentials = grpc.ServerCredentials.createSsl(read("host.crt"), [pair], true);
  server.grpc.bindAsync(`unix:${path}`, credentials, (err) => {
    if (err) {
      leave(1, `listen at ${path}: ${err.message}`);
    }
    process.stdout.write(`${protocol}|${path}|grpc\n`);
  });
}

/**
 * Service managers and terminals send these signals to the host's children too. The host drains the plugin then. Before
 * the host is connected, and after, they end the process.
 */
function ignoreSignals(server: PluginServer, log: JsonLog): void {
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (server.phase !== "serving") {
        process.exit(1);
      }
      log.debug("signal ignored: the host decides when to stop", { state: signal });
    });
  }
}

function byHand({ name, version = "" }: Plugin): string {
  return `${name} ${version} is a plugin of balhost. It does nothing when you start it by hand.
Put it into the plugins folder of a host as a folder named "${name}". A running host starts it at once:

	npx balhost-bundle ${process.argv[1] ?? "main.js"} …/plugins/${name}

Then "balhost status" shows it.`;
}

function leave(status: number, why: string): never {
  process.stderr.write(why + "\n");
  process.exit(status);
}
