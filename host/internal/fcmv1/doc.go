// Package fcmv1 x.
package fcmv1
