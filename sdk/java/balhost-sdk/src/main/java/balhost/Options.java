package balhost;

import java.time.Duration;

/**
 * FCM's delivery options. Begin with {@link #NONE}: {@code
 * Options.NONE.ttl(Duration.ZERO).priority("high")}.
 *
 * @param ttl how long the downstream may wait, in whole seconds; zero: now or never; null: four
 *     weeks
 * @param priority "normal", "high" or ""
 * @param collapseKey a newer downstream with this key replaces an older one; "": none
 * @param dryRun FCM checks the downstream, and delivers nothing
 * @param receiptRequested the plugin's receipt handler hears when the device has it
 * @param contentAvailable wakes an app on Apple's devices
 * @param mutableContent lets an app on Apple's devices change the notification
 * @param android the raw block of FCM's HTTP v1, an object; only for sessions with fcm_v1
 * @param apns as android
 * @param webpush as android
 */
public record Options(
    Duration ttl,
    String priority,
    String collapseKey,
    boolean dryRun,
    boolean receiptRequested,
    boolean contentAvailable,
    boolean mutableContent,
    Json android,
    Json apns,
    Json webpush) {
  /** No option is set. */
  public static final Options NONE =
      new Options(null, "", "", false, false, false, false, Json.NONE, Json.NONE, Json.NONE);

  /** With this ttl; null: four weeks. */
  public Options ttl(Duration d) {
    return new Options(
        d,
        priority,
        collapseKey,
        dryRun,
        receiptRequested,
        contentAvailable,
        mutableContent,
        android,
        apns,
        webpush);
  }

  /** With this priority: "normal" or "high". */
  public Options priority(String p) {
    return new Options(
        ttl,
        p,
        collapseKey,
        dryRun,
        receiptRequested,
        contentAvailable,
        mutableContent,
        android,
        apns,
        webpush);
  }

  /** With this collapse key. */
  public Options collapseKey(String key) {
    return new Options(
        ttl,
        priority,
        key,
        dryRun,
        receiptRequested,
        contentAvailable,
        mutableContent,
        android,
        apns,
        webpush);
  }

  /** As a dry run. */
  public Options asDryRun() {
    return new Options(
        ttl,
        priority,
        collapseKey,
        true,
        receiptRequested,
        contentAvailable,
        mutableContent,
        android,
        apns,
        webpush);
  }

  /** With a receipt. */
  public Options withReceipt() {
    return new Options(
        ttl,
        priority,
        collapseKey,
        dryRun,
        true,
        contentAvailable,
        mutableContent,
        android,
        apns,
        webpush);
  }

  /** With contentAvailable. */
  public Options withContentAvailable() {
    return new Options(
        ttl,
        priority,
        collapseKey,
        dryRun,
        receiptRequested,
        true,
        mutableContent,
        android,
        apns,
        webpush);
  }

  /** With mutableContent. */
  public Options withMutableContent() {
    return new Options(
        ttl,
        priority,
        collapseKey,
        dryRun,
        receiptRequested,
        contentAvailable,
        true,
        android,
        apns,
        webpush);
  }

  /** With a raw block for Android. */
  public Options android(Object block) {
    return new Options(
        ttl,
        priority,
        collapseKey,
        dryRun,
        receiptRequested,
        contentAvailable,
        mutableContent,
        Json.of(block),
        apns,
        webpush);
  }

  /** With a raw block for Apple's devices. */
  public Options apns(Object block) {
    return new Options(
        ttl,
        priority,
        collapseKey,
        dryRun,
        receiptRequested,
        contentAvailable,
        mutableContent,
        android,
        Json.of(block),
        webpush);
  }

  /** With a raw block for web apps. */
  public Options webpush(Object block) {
    return new Options(
        ttl,
        priority,
        collapseKey,
        dryRun,
        receiptRequested,
        contentAvailable,
        mutableContent,
        android,
        apns,
        Json.of(block));
  }
}
