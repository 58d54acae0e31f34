// Package foreign is what the programs share that run the test suites of others
// against this library: the images that such suites pull, made here, and what came
// of the tests.
package foreign

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// Outcome is what came of the tests, by their names. Parts of a test count with
// it.
type Outcome struct {
	Passed, Failed, Skipped []string
	Parts                   []string // of those that failed
}

var verdict = regexp.MustCompile(`(?:^|\x16)(\s*)--- (PASS|FAIL|SKIP): (\S+)`)

// Follow reads what a test binary prints. name gives the name by which a test counts,
// "" if it does not; nil leaves the names as they are.
func Follow(r io.Reader, name func(string) string) (*Outcome, error) {
	var o Outcome
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if m := verdict.FindStringSubmatch(line); m != nil {
			test := m[3]
			if name != nil {
				test = name(test)
			}
			if test != "" {
				o.note(m[2], test)
			}
		}
		if err == io.EOF {
			return &o, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (o *Outcome) note(verdict, test string) {
	part := strings.Contains(test, "/")
	switch {
	case verdict == "FAIL" && part:
		o.Parts = append(o.Parts, test)
	case part:
	case verdict == "PASS":
		o.Passed = append(o.Passed, test)
	case verdict == "FAIL":
		o.Failed = append(o.Failed, test)
	default:
		o.Skipped = append(o.Skipped, test)
	}
}

// Add adds what came of others.
func (o *Outcome) Add(more *Outcome) {
	o.Passed, o.Failed = append(o.Passed, more.Passed...), append(o.Failed, more.Failed...)
	o.Skipped, o.Parts = append(o.Skipped, more.Skipped...), append(o.Parts, more.Parts...)
}

// Tell says what came out, and reports whether nothing failed that may not. may gives
// the reason why a test may fail, "" if it may not.
func (o *Outcome) Tell(w io.Writer, may func(test string) (why string)) bool {
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", len(o.Passed), len(o.Failed), len(o.Skipped))
	slices.Sort(o.Skipped)
	for _, t := range o.Skipped {
		fmt.Fprintf(w, "skipped  %s\n", t)
	}
	good := true
	slices.Sort(o.Failed)
	for _, t := range o.Failed {
		why := may(t)
		if why == "" {
			good, why = false, "not expected"
		}
		fmt.Fprintf(w, "failed   %s: %s\n", t, why)
		for _, p := range o.Parts {
			if strings.HasPrefix(p, t+"/") {
				fmt.Fprintf(w, "         %s\n", p)
			}
		}
	}
	return good && len(o.Passed)+len(o.Failed) > 0
}
