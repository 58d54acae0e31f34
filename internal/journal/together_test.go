package journal

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// writerEnv makes this test's program one that writes a journal, in the directory that
// it names, until it is killed.
const writerEnv = "CTOR_TEST_JOURNAL"

func TestMain(m *testing.M) {
	dir := os.Getenv(writerEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	for j := At(dir); ; {
		count := 0
		if _, err := j.Change(func(p *Past) {
			p.Lives, p.Restarts = p.Lives+1, p.Restarts+1
			count = p.Lives
		}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(count)
	}
}

// Each of several journals of a container, as a program and its shim have them, makes
// changes that the others' don't undo.
func TestTogether(t *testing.T) {
	const writers, each = 4, 25
	dir := t.TempDir()
	done := make(chan error)
	for range writers {
		go func() {
			j := At(dir)
			for range each {
				if _, err := j.Change(func(p *Past) { p.Restarts++ }); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range writers {
		require.NoError(t, <-done)
	}
	require.Equal(t, writers*each, At(dir).Read().Restarts)
}

// What undo takes back is one change, and not what came after it.
func TestUndo(t *testing.T) {
	for name, j := range map[string]*Journal{"directory": At(t.TempDir()), "memory": InMemory()} {
		t.Run(name, func(t *testing.T) {
			undo, err := j.Begin(time.Now(), "me")
			require.NoError(t, err)
			_, err = j.Change(func(p *Past) { p.Stopped, p.Owner = true, "you" })
			require.NoError(t, err)
			undo()
			require.Equal(t, Past{Owner: "you", Stopped: true}, j.Read())
		})
	}
}

// A program that is killed in the middle of a change leaves a journal that has all of
// it or nothing, and no lock.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	kills := 20
	if testing.Short() {
		kills = 3
	}
	for range kills {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), writerEnv+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewReader(out)
		last := 0
		for range 1 + rand.IntN(20) {
			line, err := lines.ReadString('\n')
			require.NoError(t, err)
			last, err = strconv.Atoi(strings.TrimSpace(line))
			require.NoError(t, err)
		}
		require.NoError(t, cmd.Process.Kill())
		require.Error(t, cmd.Wait())
		p := At(dir).Read()
		require.GreaterOrEqual(t, p.Lives, last)
		require.Equal(t, p.Lives, p.Restarts)
		// Whatever it had begun, the next change is made.
		_, err = At(dir).Change(func(p *Past) { p.Lives, p.Restarts = p.Lives+1, p.Restarts+1 })
		require.NoError(t, err)
		require.Equal(t, p.Lives+1, At(dir).Read().Lives)
	}
}

// Of several that would tell the same, one does.
func TestTellOnce(t *testing.T) {
	dir := t.TempDir()
	count := make(chan int, 100)
	done := make(chan struct{})
	for range 4 {
		go func() {
			j := At(dir)
			for n := range 10 {
				j.Tell(n+1, func() { count <- n + 1 })
			}
			done <- struct{}{}
		}()
	}
	for range 4 {
		<-done
	}
	close(count)
	last := 0
	for n := range count {
		require.Greater(t, n, last)
		last = n
	}
	require.Equal(t, 10, last)
}
