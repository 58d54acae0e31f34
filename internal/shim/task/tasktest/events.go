package tasktest

import "github.com/stretchr/testify/require"

var events = map[string]func(*bed){
	"in order": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		x.run(setup{args: []string{"sh", "-c", "exit 3"}, id: "one"})
		x.pause()
		x.resume()
		x.end()
		require.Equal(b, []string{
			"create", "start", "exec-added one", "exec-started one", "exit one 3",
			"paused", "resumed", "exit " + x.id + " 137", "delete",
		}, b.until(x.id, "delete"))
	},
	"in order, of short lives": func(b *bed) {
		for range often(10) {
			x := b.start(setup{args: []string{"true"}})
			x.wait()
			x.delete()
			require.Equal(b, []string{"create", "start", "exit " + x.id + " 0", "delete"}, b.until(x.id, "delete"))
		}
	},
	"in order, of short execs": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		for _, id := range []string{"one", "two", "three"} {
			x.run(setup{args: []string{"true"}, id: id})
			all := b.until(x.id, "exit "+id+" 0")
			require.Equal(b, []string{"exec-added " + id, "exec-started " + id, "exit " + id + " 0"}, all[len(all)-3:])
		}
		x.end()
	},
	"at the end of the service": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		b.undo()
		require.Contains(b, b.until(x.id, "exit "+x.id+" 137"), "start")
		x.pipes.close()
	},
}
