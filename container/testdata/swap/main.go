// Swap is a hostile program in a container: as fast as it can it has pairs of
// names change places, of which one is a directory or a file and the other a
// link that leads out, until its time is over.
//
//	swap 20s name link [name link]...
package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	limit, err := time.ParseDuration(os.Args[1])
	if err != nil {
		panic(err)
	}
	fmt.Println("ready")
	for end := time.Now().Add(limit); time.Now().Before(end); {
		for pairs := os.Args[2:]; len(pairs) > 1; pairs = pairs[2:] {
			// One of them may be gone, or the program just now in it.
			_ = unix.Renameat2(unix.AT_FDCWD, pairs[0], unix.AT_FDCWD, pairs[1], unix.RENAME_EXCHANGE)
		}
	}
}
