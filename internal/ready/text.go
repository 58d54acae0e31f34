package ready

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"unicode"

	"github.com/ctorhq/ctor/internal/stdio"
)

// What an error has of a container's words.
const (
	TailLines = 10
	tailLine  = 200      // bytes of a line
	tailBytes = 16 << 10 // that are looked at
)

// Tail is the end of a log, for people to read.
func Tail(log io.Reader) string {
	kept := stdio.Margins{N: tailBytes}
	_, _ = io.Copy(&kept, log) // what there is of it
	said := strings.TrimSpace(plain(kept.End()))
	if said == "" {
		return ""
	}
	lines := strings.Split(said, "\n")
	lines = lines[max(0, len(lines)-TailLines):]
	for i, line := range lines {
		lines[i] = "\t" + cut(line, tailLine)
	}
	return strings.Join(lines, "\n")
}

// Brief makes one line of a container's text.
func Brief(text string) string {
	return cut(strings.Join(strings.Fields(plain([]byte(text))), " "), 2*tailLine)
}

// cut shortens a text to some bytes.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}

// escapes are the sequences that steer a terminal (ECMA-48, 5.4; OSC is 8.3.89).
var escapes = regexp.MustCompile("\x1b(\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(\x07|\x1b\\\\)?|[@-Z\\\\^_])")

// plain is a container's text without what could steer a terminal.
func plain(text []byte) string {
	text = escapes.ReplaceAll(bytes.ToValidUTF8(text, []byte("?")), nil)
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return -1
	}, string(text))
}
