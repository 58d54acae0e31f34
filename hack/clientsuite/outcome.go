package main

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// outcome is what came of the tests, by their names. Parts of a test count with
// it.
type outcome struct {
	passed, failed, skipped []string
	parts                   []string // of those that failed
}

var verdict = regexp.MustCompile(`(?:^|\x16)(\s*)--- (PASS|FAIL|SKIP): (\S+)`)

// follow reads what a test binary prints.
func follow(r io.Reader) (*outcome, error) {
	var o outcome
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if m := verdict.FindStringSubmatch(line); m != nil {
			o.note(m[2], m[3])
		}
		if err == io.EOF {
			return &o, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (o *outcome) note(verdict, test string) {
	part := strings.Contains(test, "/")
	switch {
	case verdict == "FAIL" && part:
		o.parts = append(o.parts, test)
	case part:
	case verdict == "PASS":
		o.passed = append(o.passed, test)
	case verdict == "FAIL":
		o.failed = append(o.failed, test)
	default:
		o.skipped = append(o.skipped, test)
	}
}

// add adds what came of others.
func (o *outcome) add(more *outcome) {
	o.passed, o.failed = append(o.passed, more.passed...), append(o.failed, more.failed...)
	o.skipped, o.parts = append(o.skipped, more.skipped...), append(o.parts, more.parts...)
}

// tell says what came out, and reports whether nothing failed that may not.
func (o *outcome) tell(w io.Writer, may map[string]string) bool {
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", len(o.passed), len(o.failed), len(o.skipped))
	slices.Sort(o.skipped)
	for _, t := range o.skipped {
		fmt.Fprintf(w, "skipped  %s\n", t)
	}
	good := true
	slices.Sort(o.failed)
	for _, t := range o.failed {
		why, ok := may[t]
		if !ok {
			good, why = false, "not expected"
		}
		fmt.Fprintf(w, "failed   %s: %s\n", t, why)
		for _, p := range o.parts {
			if strings.HasPrefix(p, t+"/") {
				fmt.Fprintf(w, "         %s\n", p)
			}
		}
	}
	return good && len(o.passed)+len(o.failed) > 0
}
