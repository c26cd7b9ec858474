// Package devicesim is a virtual device: the app's side of the gateway, for tests,
// development and benchmarks. It does what the apps in examples/devices do. Upstreams wait
// in a queue, get their ids there, and keep them over all retries. At most 20 are un-acked. They
// go oldest first, over HTTP ([Device.Upload]) or a WebSocket ([Device.Connect]), one way at
// a time. What comes down, by the socket or by FCM, reaches the app once: the
// device remembers the last 200 ids. Faults makes it a bad device.
//
// It keeps the device's half of P1 (an upstream leaves the queue only when its ack came)
// and of P3 (an ack for each downstream, the same id twice is one message).
// Connect and Upload own all goroutines, and wait for them.
//
// Spec: fcm-v1-and-gateway.md C2, C3, D. Start at [New] and [Device.Connect].
package devicesim
