package config

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

// The blocks of a session that are its transport.
const (
	ccsBlock   = "ccs"
	fcmV1Block = "fcm_v1"
)

// keysOf are the names of the keys and blocks in each of them.
var keysOf = map[string][]string{ccsBlock: names(fileCCS{}), fcmV1Block: names(fileFCMv1{})}

func names(block any) (all []string) {
	schema, _ := gohcl.ImpliedBodySchema(block)
	for _, a := range schema.Attributes {
		all = append(all, a.Name)
	}
	for _, b := range schema.Blocks {
		all = append(all, b.Type)
	}
	return all
}

// instead is what does a key's work in the other block.
var instead = map[string]string{
	"address": "endpoint", "server_key": "credentials, the text of a service account's key file", "tls": "ca_file", "max_connections": "connections",
	"credentials": "server_key", "endpoint": "address", "ca_file": "tls { ca_file = … }",
}

// transports puts the keys of each session into the block that they belong to, and
// reports those that were written elsewhere. Up to now all keys of ccs stood directly in
// the session: such a session is one problem, which shows what to write. The values are
// then checked as if it had been written.
func (c *checker) transports(file *hclsyntax.Body) {
	for _, session := range file.Blocks {
		if session.Type != "session" {
			continue
		}
		c.gather(session)
		for _, block := range session.Body.Blocks {
			if keysOf[block.Type] != nil {
				c.strangers(block)
			}
		}
	}
}

// gather moves keys that stand directly in the session into its block. If there is none,
// it is made.
func (c *checker) gather(session *hclsyntax.Block) {
	body := session.Body
	loose := looseKeys(body)
	if !slices.ContainsFunc(loose, func(name string) bool { return inEither(name) }) {
		return // what is unknown is reported by its name
	}
	to := home(body, loose)
	block, had := blockOf(body, to), true
	if block == nil {
		had = false
		at := session.DefRange()
		block = &hclsyntax.Block{Type: to, Body: &hclsyntax.Body{Attributes: hclsyntax.Attributes{}, SrcRange: at, EndRange: at}, TypeRange: at, OpenBraceRange: at, CloseBraceRange: at}
	}
	for name, a := range body.Attributes {
		if name == "sender_id" {
			continue
		}
		if _, twice := block.Body.Attributes[name]; !twice {
			block.Body.Attributes[name] = a
		}
		delete(body.Attributes, name)
	}
	var stay hclsyntax.Blocks
	for _, b := range body.Blocks {
		switch {
		case keysOf[b.Type] != nil || !inEither(b.Type):
			stay = append(stay, b)
		case blockOf(block.Body, b.Type) == nil:
			block.Body.Blocks = append(block.Body.Blocks, b)
		}
	}
	body.Blocks = stay
	if !had {
		body.Blocks = append(body.Blocks, block)
	}
	if c.anyForm {
		return
	}
	what := fmt.Sprintf("has keys of %s directly in it; they stand in a block %s now", to, to)
	if had {
		what = fmt.Sprintf("has keys outside of its block %s: %s", to, strings.Join(loose, ", "))
	}
	c.problem(session.DefRange(), "session %q %s: write it as below", strings.Join(session.Labels, " "), what)
	c.problems[len(c.problems)-1].Write = c.rewritten(session)
}

// strangers reports the keys of a block that belong to the other, or to the session.
func (c *checker) strangers(block *hclsyntax.Block) {
	other := ccsBlock
	if block.Type == ccsBlock {
		other = fcmV1Block
	}
	report := func(name string, at hcl.Range) bool {
		switch {
		case name == "sender_id":
			c.problem(at, "sender_id stands in the session, not in its block %s: move the line up", block.Type)
		case slices.Contains(keysOf[block.Type], name) || !slices.Contains(keysOf[other], name):
			return false
		case instead[name] != "":
			c.problem(at, "%s is a key of %s: in %s write %s", name, other, block.Type, instead[name])
		default:
			c.problem(at, "%s is a key of %s, and %s has nothing like it: remove it", name, other, block.Type)
		}
		return true
	}
	maps.DeleteFunc(block.Body.Attributes, func(name string, a *hclsyntax.Attribute) bool { return report(name, a.SrcRange) })
	block.Body.Blocks = slices.DeleteFunc(block.Body.Blocks, func(b *hclsyntax.Block) bool { return report(b.Type, b.DefRange()) })
}

func inEither(name string) bool {
	return slices.Contains(keysOf[ccsBlock], name) || slices.Contains(keysOf[fcmV1Block], name)
}

// looseKeys are the keys and blocks that stand directly in a session and aren't its own.
func looseKeys(body *hclsyntax.Body) (loose []string) {
	for name := range body.Attributes {
		if name != "sender_id" {
			loose = append(loose, name)
		}
	}
	for _, b := range body.Blocks {
		if inEither(b.Type) {
			loose = append(loose, b.Type)
		}
	}
	slices.Sort(loose)
	return slices.Compact(loose)
}

// home is the block that loose keys belong into: the one that is there, or else the one
// that knows more of them.
func home(body *hclsyntax.Body, loose []string) string {
	hasCCS, hasFCM := blockOf(body, ccsBlock) != nil, blockOf(body, fcmV1Block) != nil
	known := func(block string) (n int) {
		for _, name := range loose {
			if slices.Contains(keysOf[block], name) {
				n++
			}
		}
		return n
	}
	if hasFCM && !hasCCS || hasFCM == hasCCS && known(fcmV1Block) > known(ccsBlock) {
		return fcmV1Block
	}
	return ccsBlock
}

func blockOf(body *hclsyntax.Body, kind string) *hclsyntax.Block {
	if i := slices.IndexFunc(body.Blocks, func(b *hclsyntax.Block) bool { return b.Type == kind }); i >= 0 {
		return body.Blocks[i]
	}
	return nil
}

// longestRewritten bounds what a problem shows of a session, in bytes.
const longestRewritten = 4 << 10

// rewritten is a session as it is to be written, in the file's own words.
func (c *checker) rewritten(session *hclsyntax.Block) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "session %q ", strings.Join(session.Labels, " "))
	c.rewriteBody(&b, session.Body)
	if b.Len() > longestRewritten {
		return ""
	}
	return strings.ToValidUTF8(string(hclwrite.Format(b.Bytes())), "")
}

func (c *checker) rewriteBody(b *bytes.Buffer, body *hclsyntax.Body) {
	b.WriteString("{\n")
	for _, a := range slices.SortedFunc(maps.Values(body.Attributes), func(a, b *hclsyntax.Attribute) int {
		return cmp.Compare(a.SrcRange.Start.Byte, b.SrcRange.Start.Byte)
	}) {
		fmt.Fprintf(b, "%s = %s\n", a.Name, c.expression(a))
	}
	for i, block := range body.Blocks {
		if i > 0 || len(body.Attributes) > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(b, "%s ", block.Type)
		for _, label := range block.Labels {
			fmt.Fprintf(b, "%q ", label)
		}
		c.rewriteBody(b, block.Body)
	}
	b.WriteString("}\n")
}

// expression is the text of a value in the file. A secret that a person wrote there,
// instead of using env() or file(), is not shown.
func (c *checker) expression(a *hclsyntax.Attribute) string {
	call, isCall := unwrapped(a.Expr).(*hclsyntax.FunctionCallExpr)
	if secretKey.MatchString(a.Name+" =") && !(isCall && (call.Name == "env" || call.Name == "file")) {
		return `"…" # as it is now; better: env("NAME") or file("path")`
	}
	return string(bytes.TrimSpace(c.src[a.EqualsRange.End.Byte:a.SrcRange.End.Byte]))
}
