package config

import (
	"fmt"
	"os"
	"path/filepath"

	"balhost/host/internal/regular"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// The parser recurses and needs up to 9 KB of stack for each level. Go can't
// recover from a stack overflow. These bounds keep the parser far from it (P10).
const (
	maxFile    = 64 << 10 // bytes of config.hcl, and of what file() reads
	maxNesting = 100      // open brackets, braces, parentheses and templates
)

// Load reads and checks the file at path. The error is an *[Error], except when the
// file can't be read.
func Load(path string) (Config, error) {
	src, err := regular.Read(path, maxFile)
	if err != nil {
		return Config{}, fmt.Errorf("read config: %w", err)
	}
	return Parse(path, src, os.LookupEnv)
}

// LoadData reads data_dir and the ledger block, for commands that run without a host. They
// need no secrets. An unknown key is an error here: it may be a misspelled data_dir. The
// sessions may have the older form, as for LoadAdmin.
func LoadData(path string) (Config, error) {
	return loadPart(path, func(c *checker, f file) Config {
		return Config{File: path, DataDir: c.path(f.DataDir, "data"), Ledger: c.ledger(orEmpty(f.Ledger))}
	})
}

func loadPart[T any](path string, part func(*checker, file) T) (none T, err error) {
	src, err := regular.Read(path, maxFile)
	if err != nil {
		return none, fmt.Errorf("read config: %w", err)
	}
	c, err := newChecker(path, src, os.LookupEnv)
	if err != nil {
		return none, err
	}
	c.anyForm = true
	f, ok := c.decode()
	if !ok {
		return none, c.err()
	}
	out := part(c, f)
	return out, c.err()
}

// Parse checks src as if it were read from path; lookup gives the environment.
// Relative paths start at path's folder.
func Parse(path string, src []byte, lookup func(string) (string, bool)) (Config, error) {
	c, err := newChecker(path, src, lookup)
	if err != nil {
		return Config{}, err
	}
	f, ok := c.decode()
	if !ok {
		return Config{}, c.err()
	}
	cfg := c.config(f)
	cfg.File = path
	c.folders(f, cfg)
	if err := c.err(); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

func newChecker(path string, src []byte, lookup func(string) (string, bool)) (*checker, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find config's folder: %w", err)
	}
	c := &checker{src: src, name: path, dir: filepath.Dir(abs)}
	c.ctx = &hcl.EvalContext{Functions: functions(c.dir, lookup)}
	return c, nil
}

// nesting reports brackets that are nested more than maxNesting deep.
func (c *checker) nesting() {
	tokens, _ := hclsyntax.LexConfig(c.src, c.name, hcl.InitialPos) // the parser reports what is wrong with them
	depth := 0
	for _, token := range tokens {
		switch token.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			depth++
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenTemplateSeqEnd:
			depth--
		}
		if depth > maxNesting {
			c.problem(token.Range, "nested more than %d deep", maxNesting)
			return
		}
	}
}

// decode reads the syntax and finds the keys; ok is false when it doesn't parse.
func (c *checker) decode() (f file, ok bool) {
	if c.nesting(); len(c.problems) > 0 {
		return f, false
	}
	syntax, diags := hclsyntax.ParseConfig(c.src, c.name, hcl.InitialPos)
	if diags.HasErrors() {
		c.add(diags)
		return f, false
	}
	c.transports(syntax.Body.(*hclsyntax.Body))
	c.add(gohcl.DecodeBody(syntax.Body, c.ctx, &f))
	return f, true
}
