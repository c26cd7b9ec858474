// Package web is the web example for devices, as balhost dev serves it: a chat page and
// the library that it uses. balhost.js is made of balhost.ts by "make web". Start at
// balhost.ts.
package web

import "embed"

// Files are the page and its scripts.
//
//go:embed index.html page.js balhost.js
var Files embed.FS
