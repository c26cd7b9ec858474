package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// maxFile bounds config.hcl and what file() reads, in bytes. The parser
// recurses, so the bound also keeps hostile nesting off the end of the stack.
const maxFile = 256 << 10

// Load reads and checks the file at path. The error is an *[Error] unless the
// file could not be read at all.
func Load(path string) (Config, error) {
	src, err := readBounded(path)
	if err != nil {
		return Config{}, fmt.Errorf("read config: %w", err)
	}
	return Parse(path, src, os.LookupEnv)
}

// Parse checks src as if it had been read from path, with the environment
// given. Relative paths start at path's folder.
func Parse(path string, src []byte, lookup func(string) (string, bool)) (Config, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return Config{}, fmt.Errorf("find config's folder: %w", err)
	}
	c := &checker{src: src, name: path, dir: filepath.Dir(abs)}
	c.ctx = &hcl.EvalContext{Functions: functions(c.dir, lookup)}
	syntax, diags := hclsyntax.ParseConfig(src, path, hcl.InitialPos)
	if diags.HasErrors() {
		c.add(diags)
		return Config{}, c.err()
	}
	var f file
	c.add(gohcl.DecodeBody(syntax.Body, c.ctx, &f))
	cfg := c.config(f)
	cfg.File = path
	if err := c.err(); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

// readBounded reads a file of at most maxFile bytes.
func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("%s is longer than %d KiB", path, maxFile>>10)
	}
	return b, nil
}
