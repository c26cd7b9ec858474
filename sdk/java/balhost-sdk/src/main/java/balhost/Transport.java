package balhost;

/** How a session's downstreams travel. */
public enum Transport {
  /** Cloud Connection Server (XMPP). */
  CCS("ccs"),
  /** FCM's HTTP v1. */
  FCM_V1("fcm_v1"),
  /** Sockets of devices that are connected to the host's gateway, and nothing else. */
  GATEWAY("gateway"),
  /** Huawei's uplink alone: nothing can be sent. */
  HUAWEI("huawei"),
  /** One that this SDK does not know. The host checks what is sent there. */
  OTHER("");

  final String wire;

  Transport(String wire) {
    this.wire = wire;
  }

  static Transport ofWire(String name) {
    if (name.isEmpty()) {
      return CCS; // a host from before there were several does not say it
    }
    for (var t : values()) {
      if (t.wire.equals(name)) {
        return t;
      }
    }
    return OTHER;
  }
}
