import assert from "node:assert/strict";
import { test } from "node:test";
import { token } from "balhost";
import { TestHost } from "balhost/testing";
import { echo } from "./echo.js";

test("each message goes back to its device", async (t) => {
  const h = await TestHost.start(t, echo());
  const r = await h.upstream({ from: "ann", data: { say: "hi" } });
  assert.equal(r.status, "done", r.reason);
  assert.equal(r.sent.length, 1);
  assert.deepEqual(r.sent[0]?.to, token("ann"));
  assert.deepEqual(r.sent[0]?.data, { say: "hi" });
});

// The same event a second time, as after a crash, makes the same downstream. Its id is made of the event's id, so the host
// stores it once.
test("twice is once", async (t) => {
  const h = await TestHost.start(t, echo());
  for (let i = 0; i < 2; i++) {
    const r = await h.upstream({ id: "e1", from: "ann", data: { say: "hi" } });
    assert.equal(r.status, "done", r.reason);
  }
  assert.deepEqual(
    h.sent().map((d) => d.messageId),
    ["e1-1"],
  );
});
