package message

import (
	"errors"
	"fmt"
	"strings"
)

// How many && and || a condition may have: CCS's limit (ccs-protocol.md §3.1), and
// that of five topics in FCM's HTTP v1 (fcm-v1-and-gateway.md A2).
const (
	maxOperatorsCCS = 2
	maxOperators    = 4
)

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
	operators int      // read so far
	topics    []string // read so far
}

// readCondition reads all of s, or says what is wrong with it.
func readCondition(s string) (*condition, error) {
	c := &condition{rest: s}
	if err := c.expr(); err != nil {
		return nil, err
	}
	if c.space(); c.rest != "" {
		return nil, fmt.Errorf("has %.20q where && or || should be", c.rest)
	}
	return c, nil
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
	c.topics = append(c.topics, name)
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
