package container

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode"
)

// What an error has of a container's words.
const (
	tailLines = 10
	tailLine  = 200      // bytes of a line
	tailBytes = 16 << 10 // that are looked at
)

// lastLines is the end of the container's log, as far as it can be had soon,
// for people to read. ctx may have ended.
func (c *Container) lastLines(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	r, err := c.Logs(ctx, &LogOptions{Current: true, Tail: tailLines, Gap: "[output is missing]"})
	if err != nil {
		return ""
	}
	defer r.Close()
	kept := newMargins(tailBytes)
	_, _ = io.Copy(kept, r) // what there is of it
	text := kept.first
	if len(kept.last) > 0 {
		text = kept.last
	}
	said := strings.TrimSpace(plain(text))
	if said == "" {
		return ""
	}
	lines := strings.Split(said, "\n")
	lines = lines[max(0, len(lines)-tailLines):]
	for i, line := range lines {
		if len(line) > tailLine {
			line = strings.ToValidUTF8(line[:tailLine], "") + "..."
		}
		lines[i] = "\t" + line
	}
	return strings.Join(lines, "\n")
}

// escapes are the sequences that steer a terminal (ECMA-48, 5.4; OSC is 8.3.89).
var escapes = regexp.MustCompile("\x1b(\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(\x07|\x1b\\\\)?|[@-Z\\\\^_])")

// plain is text of a stranger's without what could do something to a terminal.
func plain(text []byte) string {
	text = escapes.ReplaceAll(bytes.ToValidUTF8(text, []byte("?")), nil)
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return -1
	}, string(text))
}
