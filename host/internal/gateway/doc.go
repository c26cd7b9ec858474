// Package gateway is where devices connect to, over HTTPS and WebSocket, since Google
// takes no upstreams any more. It stores what they send before it answers (P1, P6), and
// hands downstreams to those that are connected, within their own window (P3). The plugin
// sees what it saw from CCS. Spec: fcm-v1-and-gateway.md, parts C and E. Start at
// [Gateway.Run].
package gateway
