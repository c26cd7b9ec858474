package config

import (
	"fmt"
	"strings"
	"testing"
)

// Without a block nothing is traced. What is wrong with one is said without its headers.
func TestTracing(t *testing.T) {
	parse := func(block string) (*Tracing, error) {
		cfg, err := Parse("config.hcl", []byte(least+block), noEnv)
		return cfg.Tracing, err
	}
	if tr, err := parse(""); tr != nil || err != nil {
		t.Errorf("%+v %v", tr, err)
	}
	if tr, err := parse("tracing {\n}"); err != nil || tr.Endpoint != "" || tr.Sample != 0.01 || tr.Headers != nil {
		t.Errorf("%+v %v", tr, err)
	}
	tr, err := parse("tracing {\n endpoint = \"https://otlp.example.com/base/\"\n sample = \"0.5\"\n headers = { \"x-key\" = \"hunter2\" }\n}")
	if err != nil || tr.Endpoint != "https://otlp.example.com/base" || tr.Sample != 0.5 || tr.Headers.Reveal()["x-key"] != "hunter2" {
		t.Errorf("%+v %v", tr, err)
	}
	if strings.Contains(fmt.Sprintf("%v %+v", tr, tr), "hunter2") {
		t.Errorf("it shows a header: %+v", tr)
	}
	for block, want := range map[string]string{
		`endpoint = "127.0.0.1:4318"`:                                  "is no URL",
		`endpoint = "grpc://collector:4317"`:                           "is no URL",
		`endpoint = "http://collector:4318/v1/traces"`:                 "leave out /v1/traces",
		`endpoint = "http://hunter2:hunter2@collector:4318"`:           "what a login needs goes into headers",
		`endpoint = "http://collector:99999"`:                          "port",
		`sample = 1.5`:                                                 "1.5 is out of range",
		`sample = -1`:                                                  "-1 is out of range",
		`sample = "often"`:                                             "want a number from 0 to 1",
		`headers = ["hunter2"]`:                                        "want an object",
		`headers = { "x y" = "hunter2" }`:                              `"x y" can't be a header's name`,
		`headers = { x = " hunter2" }`:                                 "begins or ends with a space",
		"endpoint = \"http://c:4318\"\n headers = { x = \"hunter2\" }": "without encryption",
		`sampel = 1`:                                                   "sampel",
	} {
		if _, err := parse("tracing {\n " + block + "\n}"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", block, err)
		} else if first, _, _ := strings.Cut(err.Error(), "\n"); strings.Contains(first, "hunter2") {
			t.Errorf("%s: shows a secret: %s", block, first)
		}
	}
}
