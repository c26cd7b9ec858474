package frame

// walk goes through b until the first array or object in it is closed. n is the length up to
// there; 0: it is not closed. deep is true if more than most of them are inside of one
// another; then n is 0. It holds for any bytes, also for such that are not JSON: what follows
// the n bytes, or begins with a bracket that closes, no JSON decoder reads.
func walk(b []byte, most int) (n int, deep bool) {
	depth, text := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '{' || c == '[':
			if depth++; depth > most {
				return 0, true
			}
		case c == '}' || c == ']':
			if depth--; depth <= 0 {
				return i + 1, false
			}
		}
	}
	return 0, false
}
