package balhost;

import balhost.plugin.v1.Device;
import balhost.plugin.v1.Schedule;

/**
 * In which lane a timer comes: after and before which other events.
 *
 * @param session of the device's lane
 * @param device whose lane it is, or ""
 * @param name of a lane of the plugin's own, or ""
 */
public record Lane(String session, String device, String name) {
  /**
   * The lane of a device's upstreams. The empty session is the event's, outside of a handler the
   * host's only one. If the plugin's order is by key, it is the lane of those upstreams of the
   * device that have no key.
   */
  public static Lane ofDevice(String session, String device) {
    return new Lane(session, device, "");
  }

  /** A lane of the plugin's own, for timers that come one after the other. 1 to 512 bytes. */
  public static Lane named(String name) {
    return new Lane("", "", name);
  }

  void into(Schedule.Builder schedule) {
    if (name.isEmpty()) {
      schedule.setDevice(Device.newBuilder().setSession(session).setDevice(device));
    } else {
      schedule.setNamed(name);
    }
  }
}
