package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/image"
)

// progress prints how layers get on: on a terminal a line for each, redrawn in
// place, elsewhere a line for each change of phase.
type progress struct {
	to       io.Writer
	terminal bool
	lines    []digest.Digest // in the order of their printing
	phases   map[digest.Digest]image.Phase
}

func newProgress(to io.Writer) *progress {
	p := &progress{to: to, phases: map[digest.Digest]image.Phase{}}
	if f, ok := to.(*os.File); ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		p.terminal = err == nil
	}
	return p
}

// phases in docker's words.
var phases = map[image.Phase]string{
	image.Waiting:    "Pulling fs layer",
	image.Fetching:   "Downloading",
	image.Fetched:    "Download complete",
	image.Extracting: "Extracting",
	image.Complete:   "Pull complete",
	image.Exists:     "Already exists",
}

// show is an image.PullOptions.Progress.
func (p *progress) show(s image.Progress) {
	last, known := p.phases[s.Layer]
	if !known {
		p.lines = append(p.lines, s.Layer)
	}
	p.phases[s.Layer] = s.Phase
	line := fmt.Sprintf("%s: %s", s.Layer.Encoded()[:12], phases[s.Phase])
	if !p.terminal {
		if s.Phase != last {
			fmt.Fprintln(p.to, line)
		}
		return
	}
	if s.Phase == image.Fetching || s.Phase == image.Extracting {
		line += " " + bar(s.Bytes, s.Total)
	}
	if !known {
		fmt.Fprintln(p.to, line)
		return
	}
	p.redraw(s.Layer, line)
}

// redraw goes up to a layer's line, writes it anew, and comes back.
func (p *progress) redraw(layer digest.Digest, line string) {
	up := 0
	for n, l := range p.lines {
		if l == layer {
			up = len(p.lines) - n
		}
	}
	fmt.Fprintf(p.to, "\x1b[%dA\r\x1b[2K%s\r\x1b[%dB", up, line, up)
}

// bar is docker's: "[=====>    ]  1.2MB/3.4MB".
func bar(n, total int64) string {
	const width = 30
	done := 0
	if total > 0 {
		done = int(width * min(n, total) / total)
	}
	b := strings.Repeat("=", done)
	if done < width {
		b += ">" + strings.Repeat(" ", width-done-1)
	}
	return fmt.Sprintf("[%s] %9s/%s", b, size(n), size(total))
}

func size(n int64) string {
	switch {
	case n < 1_000:
		return fmt.Sprintf("%dB", n)
	case n < 1_000_000:
		return fmt.Sprintf("%.1fkB", float64(n)/1e3)
	case n < 1_000_000_000:
		return fmt.Sprintf("%.1fMB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.2fGB", float64(n)/1e9)
}
