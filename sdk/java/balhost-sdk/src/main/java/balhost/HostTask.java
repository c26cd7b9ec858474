package balhost;

/** What a plugin does outside of events, with its host. */
@FunctionalInterface
public interface HostTask {
  /** Does it. When it must end, its thread is interrupted. */
  void run(Host host) throws Exception;
}
