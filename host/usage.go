package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"balhost/host/internal/mend"
)

// usageError is an error of the command line.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

// usagef makes a usageError.
func usagef(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// arguments accepts least to most arguments.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch n := len(args); {
		case n > most && most == 0:
			return usagef("%q is one too many: want %s", args[0], cmd.UseLine())
		case n > most:
			return usagef("%q is one too many: want %s", args[most], cmd.UseLine())
		case n < least:
			return usagef("something is missing: want %s", cmd.UseLine())
		}
		return nil
	}
}

// wrongFlag turns cobra's error about a flag into our words.
func wrongFlag(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := mend.Near(unknown.GetSpecifiedName(), names); near != "" {
			return usagef("%v; did you mean --%s?", err, near)
		}
	case errors.As(err, &missing):
		return usagef("--%s needs a value: %s", missing.GetFlag().Name, wanted(missing.GetFlag()))
	case errors.As(err, &invalid) && invalid.GetFlag().Value.Type() == "JSON":
		return usagef("--%s is not JSON (%v); write for example --%[1]s '{\"k\":\"v\"}'", invalid.GetFlag().Name, invalid.Unwrap())
	case errors.As(err, &invalid):
		return usagef("--%s %s: want %s", invalid.GetFlag().Name, invalid.GetValue(), wanted(invalid.GetFlag()))
	}
	return err
}

// wanted describes the value of a flag.
func wanted(f *pflag.Flag) string {
	name, _ := pflag.UnquoteUsage(f)
	switch f.Value.Type() {
	case "int", "int64", "uint64":
		return "a whole number"
	case "float64":
		return "a number"
	case "bool":
		return "true or false"
	case "duration":
		return "a time such as 30s, 15m or 720h"
	case "time":
		return "a duration such as 10m, or a date such as 2026-12-24T18:00:00Z"
	case "past":
		return "how long ago, such as 2h, or a date such as 2026-12-24T18:00:00Z"
	case "durationSlice":
		return "times such as 5ms or 5ms,80ms"
	case "stringToString":
		return name
	}
	return "a " + name
}
