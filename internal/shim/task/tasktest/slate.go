package tasktest

import (
	"os"

	"github.com/stretchr/testify/require"
)

// inherited has a process tell what it has inherited.
const inherited = `cd /proc; grep -E '^(Umask|Sig(Blk|Ign)|Cpus_allowed|NoNewPrivs)' self/status; cat self/oom_score_adj self/personality; ulimit -a; ls self/fd; echo done`

// slates are of what a process inherits from its shim (package slate): nothing
// but what that has been given, whichever process it is.
var slates = map[string]func(*bed){
	"a container's processes begin alike": func(b *bed) {
		x := b.start(setup{args: []string{"sh", "-c", inherited + "; exec sleep 1000"}})
		x.says("done\n")
		first := x.sofar()
		status, second := x.run(setup{args: []string{"sh", "-c", inherited}})
		require.Zero(b, status)
		require.Equal(b, first, second)
		require.Contains(b, first, "Umask:\t0022\n")
		require.Contains(b, first, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n")
		own, err := os.ReadFile("/proc/self/oom_score_adj")
		require.NoError(b, err)
		require.Contains(b, first, "\n"+string(own)+"00000000\n", "the shim's OOM score, no personality")
		require.Contains(b, first, "\n0\n1\n2\n3\ndone\n", "no descriptors but that of the list")
		x.end()
	},
}
