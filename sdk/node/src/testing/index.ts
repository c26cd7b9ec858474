/**
 * A host for the tests of plugin authors. It runs a plugin in the test's own process, without gRPC, and frames go through
 * protobuf as in a real host. The test gives the plugin events, and looks at what it has sent and stored.
 *
 * It commits as the real host does: a handler's downstreams, timers and state when it returns, all or nothing. If another
 * commit has changed what the handler has read, the handler runs again. There are no devices, no disk and no lanes: each
 * event goes to the plugin at once.
 *
 *     test("echo", async (t) => {
 *       const h = await TestHost.start(t, echo());
 *       const r = await h.upstream({ from: "ann", data: { say: "hi" } });
 *       assert.equal(r.status, "done");
 *       assert.deepEqual(r.sent[0].data, { say: "hi" });
 *     });
 */
export { refusal, TestHost } from "./host.js";
export type {
  Given,
  HostOptions,
  OutcomeEvent,
  ReceiptEvent,
  Result,
  Scenario,
  Status,
  TimerEvent,
  UpstreamEvent,
} from "./host.js";
export type { Sent, SetTimer } from "./store.js";
