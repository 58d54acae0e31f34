package netlink

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// heirEnv makes this test's program one that has a socket outlive its other descriptors.
const heirEnv = "CTOR_TEST_OUTLIVE"

func TestMain(m *testing.M) {
	if os.Getenv(heirEnv) == "" {
		os.Exit(m.Run())
	}
	const last = 4 // beside one with a lower number
	err := (&Socket{fd: last}).Outlive()
	if err == nil {
		_, err = unix.FcntlInt(5, unix.F_DUPFD_CLOEXEC, 100) // and one with a higher
		unix.Close(5)
	}
	fmt.Println(err)
	select {}
}

// A socket that is to outlive the others does, whatever their numbers are.
func TestOutlive(t *testing.T) {
	for range 20 {
		var ours [3]int
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), heirEnv+"=1")
		for i := range ours {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			require.NoError(t, err)
			defer unix.Close(pair[0])
			ours[i] = pair[0]
			theirs := os.NewFile(uintptr(pair[1]), "theirs")
			defer theirs.Close()
			cmd.ExtraFiles = append(cmd.ExtraFiles, theirs)
		}
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		for _, f := range cmd.ExtraFiles {
			require.NoError(t, f.Close())
		}
		said := make([]byte, 64)
		n, err := out.Read(said)
		require.NoError(t, err)
		require.Equal(t, "<nil>\n", string(said[:n]))

		require.NoError(t, cmd.Process.Kill())
		n, err = unix.Read(ours[1], said)
		require.NoError(t, err)
		require.Zero(t, n, "the last is closed")
		for _, i := range []int{0, 2} {
			n, _, err := unix.Recvfrom(ours[i], said, unix.MSG_DONTWAIT)
			require.NoError(t, err, "it was closed before")
			require.Zero(t, n)
		}
		require.Error(t, cmd.Wait())
	}
}
