package config

import (
	"errors"
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/zclconf/go-cty/cty"
)

// units of a size, from the largest to the smallest.
var units = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", gib}, {"MiB", mib}, {"KiB", kib}, {"B", 1}}

// parseSize reads "64MiB" or "0B". It accepts no fraction, and no unit such as "MB",
// which has two meanings.
func parseSize(s string) (int64, bool) {
	for _, u := range units {
		digits, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 63)
		return int64(n) * u.bytes, err == nil && int64(n) <= math.MaxInt64/u.bytes
	}
	return 0, false
}

// ParseSize is parseSize for the command line.
func ParseSize(s string) (n int64, ok bool) { return parseSize(s) }

// size writes a number of bytes in the form that parseSize reads.
func size(n int64) string {
	for _, u := range units {
		if n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

// writable is an error for numbers that would take megabytes of digits in JSON.
func writable(v cty.Value) error {
	if v.Type() != cty.Number || v.IsNull() || !v.IsKnown() {
		return nil
	}
	if f := v.AsBigFloat(); f.IsInf() || new(big.Float).Abs(f).Cmp(big.NewFloat(math.MaxFloat64)) > 0 || f.MantExp(nil) < -1074 {
		return errors.New("a number is too large or too small to be one in JSON")
	}
	return nil
}
