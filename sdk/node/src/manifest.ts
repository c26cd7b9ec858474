import { create } from "@bufbuild/protobuf";
import { orderByDevice, type Plugin } from "./plugin.js";
import * as wire from "./wire/balhost/plugin/v1/plugin_pb.js";

/** What this SDK knows beside the first version of the contract, with this plugin. */
const capabilities = (p: Plugin) => (p.metrics === undefined ? ["offsets"] : ["offsets", "metrics"]);

/** The plugin's answer to Describe. */
export function manifest(p: Plugin, ofHost: readonly string[]): wire.Manifest {
  return create(wire.ManifestSchema, {
    name: p.name,
    version: p.version ?? "",
    capabilities: capabilities(p).filter((c) => ofHost.includes(c)),
    categories: [...(p.categories ?? [])],
    order: p.order ?? orderByDevice,
    upstream: p.upstream !== undefined,
    outcome: p.outcome !== undefined,
    receipt: p.receipt !== undefined,
    timer: p.timer !== undefined,
  });
}
