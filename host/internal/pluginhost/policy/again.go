package policy

// A version that did not start may have been slow, or may have lacked what lies outside
// of it. So it is refused for a while only.

// setAside refuses a version that did not start, for a while: it was slow, or something
// that it needs was missing.
func (p *Policy) setAside(f Facts, v Version, reason string) {
	was, _ := p.Record.refusal(v)
	c := RefusedContent{Reason: reason, Tries: was.Tries + 1}
	if !v.Options.Recreate { // else what serves would have to end for each try
		c.Again = f.Now.Add(min(p.times.Again<<min(was.Tries, 16), p.times.AgainMax))
	}
	p.refuseAs(f, v, c)
}

// Again has the content that is wanted started now, if it waits for another try. It
// reports whether it does. One that is refused for good stays so.
func (p *Policy) Again() bool {
	waits := p.Record.pardon(func(c RefusedContent) bool { return c.SHA256 == p.content && c.Tries > 0 })
	p.do.Save = p.do.Save || waits
	if !p.retry.IsZero() {
		waits = true
	}
	p.calm()
	return waits
}
