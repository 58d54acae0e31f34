// Package verbatim finds strings that JSON can't say. The kernel's strings
// (arguments, variables, paths) are any bytes, those of JSON are text, and
// package json writes another character for each byte that is not: what reads
// it gets other strings than were meant.
package verbatim

import (
	"bytes"
	"fmt"

	"github.com/containerd/errdefs"
)

// lost is what package json writes for a byte that is not UTF-8. A U+FFFD that
// was meant it writes as it is, so the two can be told apart.
var lost = []byte(`\ufffd`)

// near is how much of what stands before such a byte an error shows.
const near = 60

// Check refuses what package json has written of strings that are not UTF-8. It
// says where the first one is.
func Check(encoded []byte) error {
	for from := 0; ; {
		i := bytes.Index(encoded[from:], lost)
		if i < 0 {
			return nil
		}
		at := from + i
		slashes := len(encoded[:at]) - len(bytes.TrimRight(encoded[:at], `\`))
		if slashes%2 == 0 {
			return fmt.Errorf("a string is not UTF-8, and what is told in JSON must be, in %s: %w",
				bytes.ToValidUTF8(encoded[max(0, at-near):at+len(lost)], nil), errdefs.ErrInvalidArgument)
		}
		from = at + len(lost) // a backslash that was meant, and letters
	}
}
