package wayout

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
)

// helperEnv has the test binary be a process in a network of its own, which does
// what its standard input says until that ends.
const helperEnv = "CTOR_TEST_WAYOUT"

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) == "" {
		os.Exit(m.Run())
	}
	fmt.Println("ready")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		what, n := lines.Text(), 0
		if _, err := fmt.Sscanf(lines.Text(), "%s %d", &what, &n); err != nil {
			fmt.Println(err)
			continue
		}
		if err := attacks[what](n); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println("done")
	}
}

// A box is a process in a network of its own.
type box struct {
	*os.File // pidfd
	in       io.WriteCloser
	out      *bufio.Reader
}

func start(t testing.TB) *box {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("it needs root")
	}
	fd := -1
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), helperEnv+"=1")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, PidFD: &fd}
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	b := &box{os.NewFile(uintptr(fd), "pidfd"), stdin, bufio.NewReader(out)}
	t.Cleanup(func() { stdin.Close(); _ = cmd.Wait(); b.Close() })
	b.expect(t, "ready")
	return b
}

func (b *box) expect(t testing.TB, want string) {
	t.Helper()
	line, err := b.out.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, want, strings.TrimSpace(line))
}

// attack has the process do something n times, and waits until it has; it keeps
// what it has opened.
func (b *box) attack(t testing.TB, what string, n int) {
	t.Helper()
	_, err := fmt.Fprintln(b.in, what, n)
	require.NoError(t, err)
	b.expect(t, "done")
}

// process starts one that does nothing, and gives its pidfd.
func process(t testing.TB) *os.File { return start(t).File }

func open(t testing.TB, dial Dialer) (*os.File, *Way) {
	b, w := openBox(t, dial)
	return b.File, w
}

func openBox(t testing.TB, dial Dialer) (*box, *Way) {
	t.Helper()
	b := start(t)
	w, err := Open(b.File, dial, nil, nil)
	skipUnavailable(t, err)
	t.Cleanup(func() { require.NoError(t, w.Close()) })
	return b, w
}

// skipUnavailable skips the test where the kernel has no ways out.
func skipUnavailable(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, errdefs.ErrUnavailable) {
		t.Skip(err)
	}
	require.NoError(t, err)
}
