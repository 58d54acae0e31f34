package wayout

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/netns"
)

// pasta starts passt's pasta for a namespace of its own, and gives a process of that
// and the address at which this host's loopback is found there.
func pasta(b *testing.B) (*os.File, string) {
	if _, err := exec.LookPath("pasta"); err != nil {
		b.Skip(err)
	}
	cmd := exec.Command("pasta", "--runas", "0", "--netns-only", "--config-net", "-t", "none", "-u", "none", "--", "sh", "-c", "ip -4 route show default; exec cat")
	in, err := cmd.StdinPipe()
	require.NoError(b, err)
	out, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	line := make([]byte, 1000)
	n, err := out.Read(line)
	require.NoError(b, err)
	fields := strings.Fields(string(line[:n])) // "default via ADDRESS dev ..."
	require.Greater(b, len(fields), 2)
	child, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
	require.NoError(b, err)
	pid, err := strconv.Atoi(strings.Fields(string(child))[0])
	require.NoError(b, err)
	fd, err := unix.PidfdOpen(pid, 0)
	require.NoError(b, err)
	p := os.NewFile(uintptr(fd), "pidfd")
	b.Cleanup(func() { p.Close() })
	return p, fields[2]
}

// Bytes through a way out and through pasta, by turns. It is run by hand, where
// pasta (package passt) is installed.
func BenchmarkPasta(b *testing.B) {
	const size = 128 << 20
	l := served(b, func(c net.Conn) {
		chunk := make([]byte, 128<<10)
		for range size / len(chunk) {
			if _, err := c.Write(chunk); err != nil {
				return
			}
		}
	})
	_, port, _ := net.SplitHostPort(l.Addr().String())
	other, gateway := pasta(b)
	mine, _ := open(b, to(l))
	var took [2][]time.Duration
	b.SetBytes(size)
	for b.Loop() {
		for _, i := range rand.Perm(2) {
			c, err := netns.Dial(b.Context(), []*os.File{mine, other}[i], "tcp", net.JoinHostPort([]string{"192.0.2.80", gateway}[i], port))
			require.NoError(b, err)
			began := time.Now()
			n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 128<<10))
			require.NoError(b, err)
			require.EqualValues(b, size, n)
			took[i] = append(took[i], time.Since(began))
			c.Close()
		}
	}
	b.ReportMetric(float64(slices.Min(took[1]))/float64(slices.Min(took[0])), "of-pasta")
	b.ReportMetric(float64(median(took[1]))/float64(median(took[0])), "of-pasta-median")
}
