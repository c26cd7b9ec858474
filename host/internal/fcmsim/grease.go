package fcmsim

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
)

// grease adds to a JSON body what no client knows, and puts the details of an error
// into another order. What isn't JSON stays as it is.
func grease(body []byte, rnd *rand.Rand) []byte {
	var o map[string]any
	if json.Unmarshal(body, &o) != nil {
		return body
	}
	if e, ok := o["error"].(map[string]any); ok {
		details, _ := e["details"].([]any)
		unknown := map[string]any{"@type": fmt.Sprintf("%sgoogle.example.v%d.Grease", types, rnd.IntN(9)), "errorCode": rnd.IntN(1000), "reason": nil}
		details = append(details, unknown)
		rnd.Shuffle(len(details), func(i, j int) { details[i], details[j] = details[j], details[i] })
		e["details"] = details
		e["grease"] = []any{rnd.IntN(10), "x"}
	}
	o[fmt.Sprintf("grease%d", rnd.IntN(10))] = map[string]any{"name": 1}
	out, err := json.Marshal(o)
	if err != nil {
		return body
	}
	return out
}

// maxGzip is the most spaces that are compressed.
const maxGzip = 64 << 20

// compress is body, with spaces after it up to size, as gzip.
func compress(body []byte, size int64) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out) // a bytes.Buffer takes all
	z.Write(body)
	io.CopyN(z, blanks{}, min(size, maxGzip)-int64(len(body)))
	z.Close()
	return out.Bytes()
}

// blanks is a reader of spaces without an end.
type blanks struct{}

func (blanks) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}
