package stdio

import (
	"fmt"
	"os"
)

// Path names an open pipe for another process of this host, which may open the
// end that f is: while f is open. So a pipe needs no name in a file system, and
// a program that is killed leaves none there.
func Path(f *os.File) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()) }
