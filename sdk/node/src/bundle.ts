// balhost-bundle MAIN [MODULE…] FOLDER makes a plugin's folder. Each module becomes one file with all that it imports, so
// the folder needs nothing but Node. MAIN calls serve; the others are for Workers.
import { chmodSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, extname, join, resolve } from "node:path";
import process from "node:process";
import { build } from "esbuild";

// Modules in CommonJS, as gRPC's, find Node's own modules by require.
const banner =
  'import { createRequire as balhostRequire } from "node:module";\nconst require = balhostRequire(import.meta.url);';

const modules = process.argv.slice(2);
const folder = modules.pop();
if (folder === undefined || modules.length === 0) {
  process.stderr.write(
    "balhost-bundle MAIN [MODULE…] FOLDER\n\n  balhost-bundle main.ts /srv/balhost/plugins/weather\n",
  );
  process.exit(2);
}
try {
  await make(modules, resolve(folder));
} catch (err) {
  if (!(err as { errors?: unknown }).errors) {
    // esbuild has shown its own
    process.stderr.write(`balhost-bundle: ${(err as Error).message}\n`);
  }
  process.exitCode = 1;
}

/** Makes the folder beside its place, under a name that the host ignores, and moves it in at once. */
async function make(modules: string[], folder: string): Promise<void> {
  const parent = dirname(folder);
  const fresh = join(parent, `.${basename(folder)}.new-${process.pid}`);
  const old = join(parent, `.${basename(folder)}.old-${process.pid}`);
  mkdirSync(fresh, { recursive: true });
  try {
    await build({
      entryPoints: modules,
      outdir: fresh,
      outExtension: { ".js": ".mjs" },
      entryNames: "[name]",
      bundle: true,
      platform: "node",
      target: "node20",
      format: "esm",
      banner: { js: banner },
      legalComments: "none",
      logLevel: "warning",
      // A debugger finds the sources where they are, not beside the copy that the host runs.
      ...(process.env.BALHOST_DEBUG ? { sourcemap: "inline" as const, sourceRoot: `${folder}/` } : {}),
    });
    const main = basename(modules[0]!, extname(modules[0]!));
    writeFileSync(
      join(fresh, "plugin"),
      `#!/bin/sh\nexec node \${BALHOST_DEBUG:+--inspect=127.0.0.1:9229} "\${0%/*}/${main}.mjs"\n`,
    );
    chmodSync(join(fresh, "plugin"), 0o755);
    if (existsSync(folder)) {
      renameSync(folder, old);
    }
    renameSync(fresh, folder);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
    rmSync(old, { recursive: true, force: true });
  }
}
