package balhost;

import balhost.plugin.v1.Manifest;
import java.util.HashSet;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.function.Consumer;
import java.util.regex.Pattern;

/**
 * A plugin: its name, what it takes, and its handlers.
 *
 * <pre>{@code
 * public static void main(String[] args) {
 *   Plugin.named("echo")
 *       .version("1.0.0")
 *       .categories("com.example.echo")
 *       .upstream((tx, m) -> tx.send(Downstream.to(token(m.from())).data(m.data())))
 *       .serve();
 * }
 * }</pre>
 *
 * <p>The host promises to a handler: each event reaches it, again and again, until it has returned
 * or has rejected the event; what it did through its {@link Tx} is committed together with the end
 * of the event, all or nothing; and events of one lane come one after the other. So a handler keeps
 * no books of its own.
 *
 * <p>Handlers run on threads of their own, at most {@link #maxInFlight} at once. When a handler's
 * time is up, its thread is interrupted. Return soon then: its lane waits, and if a quarter of
 * maxInFlight handlers don't return, the host kills the plugin as hung.
 */
public final class Plugin {
  private static final Pattern NAME = Pattern.compile("[A-Za-z0-9][A-Za-z0-9_-]{0,63}");
  private static final int MOST_IN_FLIGHT = 1 << 16;

  private final String name;
  private String version = "";
  private List<String> categories = List.of();
  private String order = "device";
  private int maxInFlight = 256;
  private Config<?> config = new Config<>(null, c -> {});
  Handler<Upstream> upstream;
  Handler<Outcome> outcome;
  Handler<Receipt> receipt;
  Handler<Timer> timer;
  HostTask start;
  HostTask run;
  StopTask stop;
  Callable<String> metrics;

  /** What a plugin does at its end. */
  @FunctionalInterface
  public interface StopTask {
    /** Does it. */
    void run() throws Exception;
  }

  private record Config<C extends Record>(C defaults, Consumer<C> use) {
    void read(String object) {
      use.accept(Settings.read(object, defaults));
    }
  }

  private Plugin(String name) {
    this.name = name;
  }

  /**
   * A plugin with this name. It must be the name of the file or folder that the host starts. It has
   * letters, digits, '_' and '-', 64 at most, and begins with a letter or digit. Lanes, state and
   * outcomes belong to it.
   */
  public static Plugin named(String name) {
    return new Plugin(name);
  }

  /** The plugin's name. */
  public String name() {
    return name;
  }

  /** Shown in the host's status. */
  public Plugin version(String text) {
    version = text;
    return this;
  }

  /** The apps whose upstreams it takes; "*" takes what no other plugin claims. */
  public Plugin categories(String... names) {
    categories = List.of(names);
    return this;
  }

  /** The apps whose upstreams it takes. */
  public List<String> categories() {
    return categories;
  }

  /** Upstreams of one device come one after the other. So it is if nothing is said. */
  public Plugin orderByDevice() {
    order = "device";
    return this;
  }

  /**
   * Upstreams with an equal value at the path come one after the other.
   *
   * @param path names in the payload joined by dots, as in "data.room". A payload that has nothing
   *     or null there goes to its device's lane
   */
  public Plugin orderByKey(String path) {
    order = "key:" + path;
    return this;
  }

  /** Upstreams come in no order. */
  public Plugin orderNone() {
    order = "none";
    return this;
  }

  /** How many handlers may run at once: 1 to 65536; 256 if nothing is said. */
  public Plugin maxInFlight(int n) {
    maxInFlight = n;
    return this;
  }

  int maxInFlight() {
    return maxInFlight;
  }

  /**
   * Takes the plugin's config object, before {@code start}. A key that the record does not have, or
   * of another type, is an error that stops the start.
   *
   * @param defaults a record with the values of what config.hcl does not say.
   *     {@code @SerializedName("max_members")} names a component's key
   * @param use gets the record
   */
  public <C extends Record> Plugin config(C defaults, Consumer<C> use) {
    config = new Config<>(defaults, use);
    return this;
  }

  void configure(String object) {
    config.read(object);
  }

  /** Handles the messages of devices. */
  public Plugin upstream(Handler<Upstream> handler) {
    upstream = handler;
    return this;
  }

  /** Is told how each downstream of this plugin ended. Its lanes are not those of upstreams. */
  public Plugin outcome(Handler<Outcome> handler) {
    outcome = handler;
    return this;
  }

  /** Is told when a device has a downstream for which a receipt was requested. */
  public Plugin receipt(Handler<Receipt> handler) {
    receipt = handler;
    return this;
  }

  /** Is told when a timer is due that this plugin has set with {@link Tx#schedule}. */
  public Plugin timer(Handler<Timer> handler) {
    timer = handler;
    return this;
  }

  /**
   * Prepares the plugin, once, after its config. If it throws, the plugin does not start, and the
   * host shows the text. An older instance of the plugin may still serve meanwhile.
   */
  public Plugin start(HostTask task) {
    start = task;
    return this;
  }

  /**
   * Is for work that no event starts, such as polling; for what must happen at a time, a timer is
   * better, because it survives a crash. It never runs in two instances at once. When the plugin
   * stops, its thread is interrupted. If it returns, it is not started again; if it throws, it is,
   * after 1 s to 60 s.
   */
  public Plugin run(HostTask task) {
    run = task;
    return this;
  }

  /** Is done once at the end, when {@code run} and all handlers have ended. */
  public Plugin stop(StopTask task) {
    stop = task;
    return this;
  }

  /**
   * Returns metrics of the plugin's own, as Prometheus's text: {@code registry::scrape} of
   * Micrometer makes it. The host asks when it is scraped, and gives them on with the label plugin.
   * It waits a second, and takes 1 MiB and 2,000 series at most, no label named plugin, and no
   * names that begin with balhost_, go_, process_ or scrape_, and none called up, which
   * Prometheus makes itself. Calls don't overlap.
   */
  public Plugin metrics(Callable<String> text) {
    metrics = text;
    return this;
  }

  /**
   * Serves the host that has started this process, until it stops the plugin. It does not return:
   * the process exits. Started by hand, it prints what to do instead.
   */
  public void serve() {
    Serving.main(this);
  }

  Manifest manifest() {
    return Manifest.newBuilder()
        .setName(name)
        .setVersion(version)
        .addAllCategories(categories)
        .setOrder(order)
        .setUpstream(upstream != null)
        .setOutcome(outcome != null)
        .setReceipt(receipt != null)
        .setTimer(timer != null)
        .build();
  }

  /** Throws what is wrong with the plugin, and what to do about it. */
  void check() {
    if (!NAME.matcher(name).matches()) {
      throw wrong(
          "its name has only letters, digits, '_' and '-', 64 at most, and begins with a letter or"
              + " digit");
    }
    if (upstream == null && outcome == null && receipt == null && timer == null && run == null) {
      throw wrong(
          "it does nothing: give it at least one of upstream, outcome, receipt, timer and run");
    }
    if (maxInFlight < 1 || maxInFlight > MOST_IN_FLIGHT) {
      throw wrong("maxInFlight is " + maxInFlight + ": use 1 to " + MOST_IN_FLIGHT);
    }
    if (Check.bytes(version) > 128) {
      throw wrong("its version has " + Check.bytes(version) + " bytes: at most 128");
    }
    if (!categories.isEmpty() && upstream == null) {
      throw wrong("it claims categories but has no upstream handler: add one, or claim none");
    }
    if (categories.size() > 1000) {
      throw wrong("it claims " + categories.size() + " categories: at most 1000");
    }
    var seen = new HashSet<String>();
    for (var c : categories) {
      if (c.isEmpty() || Check.bytes(c) > 256 || !c.equals(c.strip())) {
        throw wrong(
            "category " + Check.quoted(c) + ": write an app's package name or bundle id, or \"*\"");
      }
      if (!seen.add(c)) {
        throw wrong("it claims category " + Check.quoted(c) + " twice");
      }
    }
    if (Check.bytes(order) > 260
        || order.startsWith("key:") && (order + ".").matches(".*[:.]\\..*")) {
      throw wrong("order " + Check.quoted(order) + ": names joined by dots, for example data.room");
    }
  }

  private InvalidException wrong(String text) {
    return new InvalidException("plugin " + Check.quoted(name) + ": " + text);
  }
}
