package message

import (
	"errors"
	"fmt"
	"strings"
)

// maxOperators is how many && and || a condition may have (ccs-protocol.md §3.1).
const maxOperators = 2

// isTopic reports whether s can be a topic's name.
func isTopic(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_.~%", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// condition reads a boolean expression over topics:
//
//	expr  = unary { ( "&&" | "||" ) unary }
//	unary = "!" unary | "(" expr ")" | "'" topic "'" "in" "topics"
type condition struct {
	rest      string
	operators int
}

func checkCondition(s string) error {
	c := condition{rest: s}
	if err := c.expr(); err != nil {
		return err
	}
	if c.space(); c.rest != "" {
		return fmt.Errorf("has %.20q where && or || should be", c.rest)
	}
	if c.operators > maxOperators {
		return fmt.Errorf("has %d operators, and CCS takes at most %d", c.operators, maxOperators)
	}
	return nil
}

func (c *condition) expr() error {
	for {
		if err := c.unary(); err != nil {
			return err
		}
		if !c.is("&&") && !c.is("||") {
			return nil
		}
		c.operators++
	}
}

func (c *condition) unary() error {
	switch {
	case c.is("!"):
		return c.unary()
	case c.is("("):
		if err := c.expr(); err != nil {
			return err
		}
		if !c.is(")") {
			return errors.New("lacks a closing parenthesis")
		}
		return nil
	case !c.is("'"):
		return fmt.Errorf("has %.20q where a 'topic' should be", c.rest)
	}
	name, rest, ok := strings.Cut(c.rest, "'")
	if !ok || !isTopic(name) {
		return fmt.Errorf("has %.20q, which is not a topic's name", name)
	}
	if c.rest = rest; !c.is("in") || !c.is("topics") {
		return fmt.Errorf("lacks \"in topics\" after '%s'", name)
	}
	return nil
}

// is reports whether word is next, after white space, and skips it then.
func (c *condition) is(word string) bool {
	c.space()
	rest, ok := strings.CutPrefix(c.rest, word)
	if ok {
		c.rest = rest
	}
	return ok
}

func (c *condition) space() { c.rest = strings.TrimLeft(c.rest, " \t\r\n") }
