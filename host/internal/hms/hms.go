// Package hms reads what Huawei's servers deliver: uplinks of devices, and receipts. It
// checks their signatures. It is pure. Spec: fcm-v1-and-gateway.md E.
package hms
