package spec

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the kernel takes for a script's interpreter.
func TestInterpreter(t *testing.T) {
	long := "/" + strings.Repeat("x", 252)
	for head, want := range map[string]string{
		"#!/bin/sh\n":                   "/bin/sh",
		"#! \t/bin/sh -e x\nmore":       "/bin/sh",
		"#!/bin/sh\t-e\n":               "/bin/sh",
		"#!/bin/sh\r\n":                 "/bin/sh\r",
		"#!/bin/a\vb\f\n":               "/bin/a\vb\f",
		"#!/bin/sh\x00more\n":           "/bin/sh",
		"#!/bin/sh":                     "/bin/sh",
		"#!sh\n":                        "sh",
		"#!":                            "",
		"#!\n/bin/sh\n":                 "",
		"#!  \t\n":                      "",
		"#!" + long + "\n":              long,
		"#!" + long + " ":               long,
		"#!" + long + "x":               "",
		"#!/bin/sh " + long[:246]:       "/bin/sh",
		"#!" + strings.Repeat(" ", 254): "",
	} {
		require.Equal(t, want, interpreter([]byte(head)), "%q", head)
	}
}
