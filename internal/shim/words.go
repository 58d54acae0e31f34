package shim

import (
	"io"
	"os"
	"strings"

	"github.com/ctorhq/ctor/internal/shim/link"
)

// LastWords is what a shim that has ended has written to its log of why: a line.
// "" is that it wrote none, or that another program has started it.
func (s *Shim) LastWords() string {
	if s.process == nil {
		return ""
	}
	f, err := os.Open(s.process.log)
	if err != nil {
		return ""
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return ""
	}
	// The beginning, of a crash, which has much to say; and else the end.
	const most = 64 << 10
	b, _ := io.ReadAll(io.NewSectionReader(f, max(s.process.before, st.Size()-most), most))
	return lastWords(string(b))
}

func lastWords(log string) string {
	var last string
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			return line
		}
		if line != "" {
			last = line
		}
	}
	return strings.TrimPrefix(last, link.Name+": ")
}
