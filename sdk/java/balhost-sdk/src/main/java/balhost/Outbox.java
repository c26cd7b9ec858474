package balhost;

import balhost.plugin.v1.Call;
import balhost.plugin.v1.PluginFrame;
import balhost.plugin.v1.Result;
import balhost.plugin.v1.RunFailure;
import com.google.protobuf.MessageLite;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;

/**
 * What waits to be written to the host. Nobody who puts something here waits. One thread takes all
 * that is ready and writes it as one frame.
 */
final class Outbox {
  /** Where a frame is cut, as the host cuts its own. One item may be larger. */
  private static final int MAX_ITEMS = 64;

  private static final int MAX_BYTES = 256 << 10;
  private static final int MAX_DONE = 256;

  // Guarded by this.
  private final Queue<Long> done = new ArrayDeque<>();
  private final Queue<Result> results = new ArrayDeque<>();
  private final Queue<Call> calls = new ArrayDeque<>();
  private final List<Long> abandoned = new ArrayList<>();
  private final List<Long> extended = new ArrayList<>();
  private int credit;
  private long pong;
  private RunFailure failure;
  private boolean drained;
  private boolean closed;
  private boolean idle; // the writer waits

  synchronized void done(long delivery) {
    done.add(delivery);
    wake();
  }

  synchronized void result(Result r) {
    results.add(r);
    wake();
  }

  synchronized void call(Call c) {
    calls.add(c);
    wake();
  }

  synchronized void abandon(long call) {
    abandoned.add(call);
    wake();
  }

  synchronized void extend(List<Long> deliveries) {
    extended.addAll(deliveries);
    wake();
  }

  synchronized void credit(int n) {
    credit = n;
    wake();
  }

  synchronized void pong(long number) {
    pong = number;
    wake();
  }

  synchronized void failure(RunFailure f) {
    failure = f;
    wake();
  }

  /** The answer to a drain. It goes after all else. */
  synchronized void drained() {
    drained = true;
    wake();
  }

  /** Ends {@link #take} once all is written. */
  synchronized void close() {
    closed = true;
    notifyAll();
  }

  private void wake() {
    if (idle) {
      idle = false;
      notifyAll();
    }
  }

  /** Waits for the next frame; null: closed, and all is taken. One thread may call it. */
  PluginFrame take() throws InterruptedException {
    boolean waited = false;
    synchronized (this) {
      while (empty()) {
        if (closed) {
          return null;
        }
        idle = true;
        wait();
        waited = true;
      }
    }
    if (waited) {
      Thread.yield(); // others that are ready put theirs first: fewer and fuller frames
    }
    synchronized (this) {
      return cut();
    }
  }

  private boolean empty() {
    return done.isEmpty()
        && results.isEmpty()
        && calls.isEmpty()
        && abandoned.isEmpty()
        && extended.isEmpty()
        && credit == 0
        && pong == 0
        && failure == null
        && !drained;
  }

  private PluginFrame cut() {
    var f = PluginFrame.newBuilder().setCredit(credit).setPong(pong).addAllExtend(extended);
    if (failure != null) {
      f.setRunFailure(failure);
    }
    credit = 0;
    pong = 0;
    failure = null;
    extended.clear();
    for (int n = 0; n < MAX_DONE && !done.isEmpty(); n++) {
      f.addDone(done.poll());
    }
    int room = MAX_BYTES;
    for (int n = 0; fits(results, n, room); n++) {
      room -= results.peek().getSerializedSize();
      f.addResult(results.poll());
    }
    for (int n = 0; room > 0 && fits(calls, n, room); n++) {
      room -= calls.peek().getSerializedSize();
      f.addCall(calls.poll());
    }
    if (calls.isEmpty()) { // an abandoned call goes before
      f.addAllAbandon(abandoned);
      abandoned.clear();
    }
    if (done.isEmpty() && results.isEmpty() && calls.isEmpty()) {
      f.setDrained(drained);
      drained = false;
    }
    return f.build();
  }

  /** Whether the first of the queue goes into a frame that has n of them, and this much room. */
  private static boolean fits(Queue<? extends MessageLite> queue, int n, int room) {
    return !queue.isEmpty()
        && n < MAX_ITEMS
        && (room == MAX_BYTES || queue.peek().getSerializedSize() <= room);
  }
}
