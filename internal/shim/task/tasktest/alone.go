package tasktest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func short() bool { return testing.Short() }

// often is how often a test does what may fail now and then.
func often(n int) int {
	if short() {
		n /= 5
	}
	return n
}

// stock is what the process has, of what must not grow.
type stock struct{ fds, goroutines, zombies int }

func (b *bed) stock() stock {
	b.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	require.NoError(b, err)
	s := stock{fds: len(fds), goroutines: runtime.NumGoroutine()}
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, l := range lists {
		text, _ := os.ReadFile(l)
		for pid := range strings.FieldsSeq(string(text)) {
			st, _ := os.ReadFile("/proc/" + pid + "/stat")
			if _, after, _ := strings.Cut(string(st), ") "); strings.HasPrefix(after, "Z") {
				s.zombies++
			}
		}
	}
	return s
}

// same does something twice, and wants the second time to leave no more than
// the first, which may fill caches.
func (b *bed) same(what string, do func()) {
	b.Helper()
	do()
	b.soon("zombies", func() bool { return b.stock().zombies == 0 })
	before := b.stock()
	do()
	var now stock
	fine := assert.Eventually(b, func() bool {
		now = b.stock()
		return now.fds <= before.fds && now.goroutines <= before.goroutines+2 && now.zombies == 0 // Eventually has two
	}, 10*time.Second, 10*time.Millisecond)
	if !fine {
		stacks := make([]byte, 1<<20)
		b.Fatalf("%s leaves something: %+v, before %+v\n%s", what, now, before, stacks[:runtime.Stack(stacks, true)])
	}
}

var alone = map[string]func(*bed){
	"500 lives": func(b *bed) {
		const rounds = 250
		n := 0
		b.same("a life", func() {
			for range rounds {
				n++
				require.NoError(b, b.life(fmt.Sprint("life", n), n%100))
			}
		})
	},
	"lives out of memory": func(b *bed) {
		b.same("a life out of memory", func() {
			for range 5 {
				x := b.start(hungry(limited(32 << 20)))
				x.line("now")
				b.until(x.id, "oom")
				x.end()
			}
		})
	},
	"terminal execs": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		b.same("a terminal exec", func() {
			for range 10 {
				status, _ := x.run(setup{args: []string{"sh", "-c", "tty; exit 2"}, tty: true, stdin: true})
				require.EqualValues(b, 2, status)
			}
		})
		x.end()
	},
	"failed creates and execs": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		b.same("a failure", func() {
			for _, tty := range []bool{false, true} {
				for range 3 {
					_, err := b.tryCreate(b.ctx, setup{args: []string{"nosuch"}, tty: tty, stdin: true})
					require.Error(b, err)
					e := x.add(setup{args: []string{"nosuch"}, tty: tty, stdin: true})
					require.Error(b, e.tryStart(b.ctx))
					e.delete()
				}
			}
		})
		x.end()
	},
	"orphans in the host's pid namespace": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}, edit: hostPids})
		b.same("an orphan", func() {
			// They end while the container lives, and nobody else waits for them.
			x.run(setup{args: []string{"sh", "-c", "for i in 1 2 3 4 5; do sh -c 'setsid sleep 0.02 &' ; done"}})
		})
		x.end()
	},
	"cancelled execs": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		// From the first one on that fails, orphans are looked for; a cancelled one may
		// succeed.
		e := x.add(setup{args: []string{"nosuch"}})
		require.Error(b, e.tryStart(b.ctx))
		e.delete()
		b.same("a cancelled exec", func() { execsCancelled(b, x) })
		x.end()
	},
}
