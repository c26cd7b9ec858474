// balhost-bundle: a plugin's folder, made beside its place and moved in at once.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const at = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const bundle = (...args: string[]) => spawnSync(process.execPath, [at("bundle.js"), ...args], { encoding: "utf8" });

test("a folder needs nothing beside it, and takes the place of the old one", (t) => {
  const parent = mkdtempSync(join(tmpdir(), "balhost-"));
  t.after(() => rmSync(parent, { recursive: true }));
  const folder = join(parent, "echo");
  mkdirSync(folder);
  writeFileSync(join(folder, "old"), "");
  const made = bundle(at("examples/echo/main.ts"), at("examples/chatroom/chatroom.ts"), folder);
  assert.equal(made.status, 0, made.stderr);
  assert.deepEqual(readdirSync(parent), ["echo"]);
  assert.deepEqual(readdirSync(folder).sort(), ["chatroom.mjs", "main.mjs", "plugin"]);
  const byHand = spawnSync(join(folder, "plugin"), { encoding: "utf8", env: { PATH: process.env.PATH } });
  assert.match(byHand.stderr, /^echo 1\.0\.0 is a plugin of balhost/);
  assert.equal(byHand.status, 2);
});

test("what can't be bundled leaves the old folder as it is", (t) => {
  const parent = mkdtempSync(join(tmpdir(), "balhost-"));
  t.after(() => rmSync(parent, { recursive: true }));
  const folder = join(parent, "echo");
  mkdirSync(folder);
  writeFileSync(join(parent, "main.ts"), 'import "no-such-module";');
  const made = bundle(join(parent, "main.ts"), folder);
  assert.equal(made.status, 1);
  assert.match(made.stderr, /no-such-module/);
  assert.deepEqual(readdirSync(parent).sort(), ["echo", "main.ts"]);
  assert.equal(bundle().status, 2);
});
