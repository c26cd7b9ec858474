package balhost;

import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.Deque;

/**
 * The process's stderr. Who logs does not wait for who reads: lines wait here, and one thread
 * writes them. Lines that find no room are dropped, and a line says how many.
 */
final class LogFile {
  private static final int ROOM = 1 << 20; // bytes that wait

  private final OutputStream out;

  // Guarded by this.
  private final Deque<byte[]> lines = new ArrayDeque<>();
  private int size;
  private int dropped;
  private boolean writing;
  private boolean broken; // nobody reads any more: nothing is kept

  LogFile(OutputStream out) {
    this.out = out;
    var t = new Thread(this::run, "balhost-log");
    t.setDaemon(true);
    t.start();
  }

  static LogFile stderr() {
    return new LogFile(new FileOutputStream(java.io.FileDescriptor.err));
  }

  synchronized void write(String line) {
    if (broken) {
      return;
    }
    var bytes = line.getBytes(StandardCharsets.UTF_8);
    if (dropped > 0 || size + bytes.length > ROOM) {
      dropped++;
      return;
    }
    lines.add(bytes);
    size += bytes.length;
    notifyAll();
  }

  /** Waits until all lines are written, for so long at most. */
  synchronized void flush(long millis) {
    long end = System.nanoTime() + millis * 1_000_000;
    try {
      while (writing || !lines.isEmpty()) {
        long left = (end - System.nanoTime()) / 1_000_000;
        if (left <= 0) {
          return;
        }
        wait(left);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private synchronized byte[] next() throws InterruptedException {
    writing = false;
    notifyAll();
    while (lines.isEmpty()) {
      if (dropped > 0) {
        var text = dropped + " lines dropped: the host did not read them";
        dropped = 0;
        writing = true;
        return Log.line("warn", text).getBytes(StandardCharsets.UTF_8);
      }
      wait();
    }
    var line = lines.poll();
    size -= line.length;
    writing = true;
    return line;
  }

  private void run() {
    try {
      for (; ; ) {
        out.write(next());
      }
    } catch (IOException | InterruptedException e) {
      synchronized (this) {
        broken = true;
        lines.clear();
        writing = false;
        notifyAll();
      }
    }
  }
}
