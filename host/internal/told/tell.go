// Package told has the sentences and figures in which a person is told how a host is: what
// is wrong with a plugin or a session, each with what to do, and durations, sizes and
// counts. The commands and the page use the same ones. It escapes nothing: who shows a
// sentence does that, because it may have text of devices and plugins in it. Start at
// [Plugin].
package told

import "fmt"

// lines are sentences, the most important ones first.
type lines []string

func (l *lines) add(format string, args ...any) { *l = append(*l, fmt.Sprintf(format, args...)) }
