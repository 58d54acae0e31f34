// Command deathsignal asks to be killed with its parent, says so, and ends when its
// input does.
package main

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

func main() {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		panic(err)
	}
	fmt.Println("set")
	_, _ = io.Copy(io.Discard, os.Stdin)
	fmt.Println("alive")
}
