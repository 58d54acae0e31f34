package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/ctorhq/ctor/build"
)

// board shows the steps of a build. On a terminal, those that are done stand above
// those that run, which are drawn anew.
type board struct {
	mu    sync.Mutex
	to    io.Writer
	width func() int // nil: each event is a line
	steps []*step    // that are known and not done, in their order
	drawn int        // lines that are drawn anew
	done  chan struct{}
	clock sync.WaitGroup
}

type step struct {
	number  int
	name    string
	state   build.State
	begun   time.Time
	partial string   // of a line of output
	last    []string // lines of output
}

// shown is how many lines of a step's output are.
const shown = 4

func newBoard(to io.Writer, width func() int) *board {
	b := &board{to: to, width: width, done: make(chan struct{})}
	if width == nil {
		return b
	}
	b.clock.Go(func() { // times go on where nothing is told
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				b.mu.Lock()
				b.draw("")
				b.mu.Unlock()
			case <-b.done:
				return
			}
		}
	})
	return b
}

// close leaves what is done.
func (b *board) close() {
	close(b.done)
	b.clock.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.steps = nil
	if b.width != nil {
		b.draw("")
	}
}

// tell is for build.Options.Progress.
func (b *board) tell(p build.Progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.Remark != "" {
		b.say(fmt.Sprintf("  ! %s:%d: %s", p.File, p.Line, p.Remark))
		return
	}
	s := b.step(p)
	if p.Output != nil {
		b.output(s, string(p.Output))
		return
	}
	s.state = p.State
	switch p.State {
	case build.Running:
		s.begun = time.Now()
		b.say("")
	case build.Done, build.Cached, build.Failed:
		b.finish(s, p)
	}
}

// step finds the one that is told of.
func (b *board) step(p build.Progress) *step {
	for _, s := range b.steps {
		if s.number == p.Step {
			return s
		}
	}
	s := &step{number: p.Step, name: plain(p.Name)}
	b.steps = append(b.steps, s)
	return s
}

func (b *board) output(s *step, text string) {
	lines := strings.Split(s.partial+text, "\n")
	s.partial = lines[len(lines)-1]
	for _, line := range lines[:len(lines)-1] {
		line = plain(line)
		s.last = append(s.last, line)
		s.last = s.last[max(0, len(s.last)-shown):]
		if b.width == nil {
			b.say(fmt.Sprintf("%3d | %s", s.number, line))
		}
	}
	b.say("")
}

// finish tells of the end of a step. Those that are the builder's own, and not the
// Dockerfile's, are told of only if they have failed.
func (b *board) finish(s *step, p build.Progress) {
	for n := range b.steps {
		if b.steps[n] == s {
			b.steps = append(b.steps[:n], b.steps[n+1:]...)
			break
		}
	}
	mark := map[build.State]string{build.Done: "+", build.Cached: "=", build.Failed: "x"}[p.State]
	switch {
	case strings.HasPrefix(s.name, "[internal]") && p.State != build.Failed:
		b.say("")
	case p.State == build.Cached:
		b.say(b.line(mark, s.name, "cached"))
	default:
		b.say(b.line(mark, s.name, p.Took.Round(10*time.Millisecond).String()))
	}
}

// line is that of a step, as wide as the terminal.
func (b *board) line(mark, name, end string) string {
	if b.width == nil {
		return fmt.Sprintf("  %s %s (%s)", mark, name, end)
	}
	room := max(10, b.width()-len(end)-6)
	return fmt.Sprintf("  %s %-*s %s", mark, room, cut(name, room), end)
}

// say adds a line for good; "" is none.
func (b *board) say(line string) {
	if b.width != nil {
		b.draw(line)
	} else if line != "" {
		fmt.Fprintln(b.to, line)
	}
}

// draw replaces the steps that run, with a line above them.
func (b *board) draw(above string) {
	var s strings.Builder
	if b.drawn > 0 {
		fmt.Fprintf(&s, "\x1b[%dA\x1b[J", b.drawn)
	}
	if above != "" {
		s.WriteString(above + "\n")
	}
	b.drawn = 0
	for _, st := range b.steps {
		if st.state != build.Running {
			continue
		}
		s.WriteString(b.line(">", st.name, time.Since(st.begun).Round(100*time.Millisecond).String()) + "\n")
		for _, line := range st.last {
			s.WriteString("\x1b[2m    | " + cut(line, b.width()-8) + "\x1b[m\n")
		}
		b.drawn += 1 + len(st.last)
	}
	_, _ = io.WriteString(b.to, s.String())
}

// plain is what may be shown of text that a step wrote: nothing that a terminal
// would do instead.
func plain(s string) string {
	if n := strings.LastIndexByte(strings.TrimRight(s, "\r\n"), '\r'); n >= 0 {
		s = s[n+1:] // a line that was written over
	}
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}

// cut makes text at most so long.
func cut(s string, most int) string {
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return string(r[:max(0, most-1)]) + "…"
}
