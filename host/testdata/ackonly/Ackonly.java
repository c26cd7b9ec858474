import balhost.Plugin;

/** A plugin for measurements: every handler is done at once. */
public final class Ackonly {
  public static void main(String[] args) {
    Plugin.named("ackonly").version("1.0.0").categories("com.example.bench").upstream((tx, m) -> {}).serve();
  }
}
