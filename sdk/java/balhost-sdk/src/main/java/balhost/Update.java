package balhost;

/** A function that {@link Host#update} may run several times. It does nothing outside its Tx. */
@FunctionalInterface
public interface Update {
  /** Reads and changes by the Tx. When it throws, nothing is committed. */
  void run(Tx tx) throws Exception;
}
